"""Synthetic memory tasks with exact oracles, one file per task."""
