"""HTML pages of reports: one file each that loads nothing and runs no script."""
