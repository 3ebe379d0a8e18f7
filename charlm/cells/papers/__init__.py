"""Papers of the built-in cells, as a bibliography needs them, without importing PyTorch."""
