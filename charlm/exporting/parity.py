"""Comparison of an exported model with the plain loop, on random tokens of several lengths."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.errors import ConfigError
from charlm.models.char_lm import CharLM
from charlm.results.export import ParityCheck

LENGTHS = (1, 17, 64)  # tokens
TOLERANCES = {"float32": 1e-4, "float64": 1e-9}  # of logits, relative to the largest, or to 1

Dtype = Literal["float32", "float64"]
Logits = NDArray[np.floating]
ReadTokens = Callable[[list[int]], Logits]  # ids -> logits (length + 1, vocabulary size)


def loop_logits(model: CharLM, ids: Sequence[int]) -> Logits:
    """Return the logits before each id and after the last, (length + 1, vocabulary size)."""
    with torch.no_grad():
        state = model.initial_state(1)
        first = model.next_token_logits(state)
        following, _ = model(torch.tensor(ids)[:, None], state)
        logits: Logits = torch.cat((first, following[:, 0])).numpy()
    return logits


def reference_logits(model: CharLM, dtype: Dtype) -> list[tuple[list[int], Logits]]:
    """Return random ids of several lengths, each with the logits of the loop.

    Args:
        model: Model with the kernel `loop`, in float32.
        dtype: Numbers to compute with.
    """
    reference = model if dtype == "float32" else deepcopy(model).double()
    generator = np.random.default_rng(0)
    texts = [generator.integers(model.embed.num_embeddings, size=n).tolist() for n in LENGTHS]
    return [(ids, loop_logits(reference, ids)) for ids in texts]


def check_parity(
    references: list[tuple[list[int], Logits]],
    read_tokens: ReadTokens,
    reader: Literal["numpy", "onnxruntime"],
    dtype: Dtype,
) -> ParityCheck:
    """Return the largest difference of logits of a reader from those of the loop.

    Args:
        references: What `reference_logits` returned.
        read_tokens: Returns the logits of the exported model.
        reader: What reads it.
        dtype: Numbers that both compute with.

    Raises:
        ConfigError: They differ by more than the tolerance.
    """
    largest = 0.0
    for ids, expected in references:
        scale = max(1.0, float(np.abs(expected).max()))
        difference = np.abs(read_tokens(ids) - expected).max() / scale
        largest = float(np.maximum(largest, difference))  # NaN stays NaN
    tolerance = TOLERANCES[dtype]
    if not largest <= tolerance:
        raise ConfigError(
            f"cannot export the model: {reader} computes other logits in {dtype}, by "
            f"{largest:.1e}, and {tolerance:.0e} is allowed. Try a cell whose step is pure: it may "
            "depend on its arguments and weights alone"
        )
    return ParityCheck(
        reader=reader,
        dtype=dtype,
        lengths=LENGTHS,
        max_difference=largest,
        tolerance=tolerance,
    )
