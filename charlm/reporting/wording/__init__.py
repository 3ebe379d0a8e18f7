"""Sentences about results, the same on a terminal and in a page."""
