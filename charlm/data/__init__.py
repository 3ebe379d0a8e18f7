"""Text data: sources, encoding, vocabulary, splits and batches."""
