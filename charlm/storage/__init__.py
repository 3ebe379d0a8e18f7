"""Durable storage: atomic writes, JSON files, locks."""
