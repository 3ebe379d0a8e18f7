"""Compression of files with the probabilities of a model, without loss."""
