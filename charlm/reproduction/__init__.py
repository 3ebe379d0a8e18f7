"""Published numbers that charlm reproduces, each with its setting and tolerance."""
