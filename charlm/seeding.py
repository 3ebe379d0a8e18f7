"""Derived random seeds: independent streams of random numbers without state to save."""

import hashlib


def derive_seed(seed: int, purpose: str, number: int = 0) -> int:
    """Return the seed for one purpose at one point of a run.

    Weights, data order, dropout and sampling each draw from (seed, purpose, number) alone. So a
    validation or a stop in between cannot change what is drawn next.

    Args:
        seed: Seed of the run.
        purpose: What is drawn, such as "dropout".
        number: Step or epoch.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
