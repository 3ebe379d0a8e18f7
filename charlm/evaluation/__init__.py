"""Evaluation: exact scores, generation, n-grams and other baselines."""
