"""Export of a model: weights, a graph as data, a reader in numpy, ONNX, and a model card."""
