"""Reports as text, figures and HTML pages. Every sentence about results is made here."""
