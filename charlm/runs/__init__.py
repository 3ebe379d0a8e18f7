"""Run directories: records, checkpoints, metrics, and models restored from them."""
