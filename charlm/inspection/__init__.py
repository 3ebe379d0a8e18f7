"""Inspection of a trained model: bits per token, and activations of units and gates."""
