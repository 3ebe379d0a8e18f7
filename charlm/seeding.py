"""TODO docstring."""

import hashlib


def derive_seed(seed: int, purpose: str, number: int = 0) -> int:
    """A seed for one purpose at one point of a run: independent streams, none to be carried.

    Because weights, order, dropout and sampling each draw from (seed, purpose, number) alone,
    nothing that happens in between (a validation, a stop) can change what is drawn next.
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{number}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
