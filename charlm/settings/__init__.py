"""Parts of the run configuration: options, values with a form of their own, groups of fields."""
