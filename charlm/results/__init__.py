"""Typed results: one struct for every JSON file that charlm writes. Imports no torch."""
