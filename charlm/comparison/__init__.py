"""Comparison of cells at equal budgets: on a text, on a task, or of existing runs."""
