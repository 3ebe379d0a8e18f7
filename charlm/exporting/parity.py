"""Comparison of an exported model with the plain loop, on random tokens of several lengths."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.errors import ConfigError
from charlm.models.char_lm import CharLM
from charlm.results.export import ParityCheck

LENGTHS = (1, 17, 128)  # tokens
TOLERANCES = {"float32": 1e-4, "float64": 1e-9}  # of logits, relative to the largest, or to 1

Logits = NDArray[np.floating]
ReadTokens = Callable[[list[int]], Logits]  # ids -> logits (length + 1, vocabulary size)


def random_texts(vocabulary_size: int) -> Iterator[list[int]]:
    """Yield ids of texts of several lengths, the same for each size of the vocabulary."""
    generator = np.random.default_rng(0)
    for length in LENGTHS:
        yield generator.integers(vocabulary_size, size=length).tolist()


def loop_logits(model: CharLM, ids: Sequence[int]) -> Logits:
    """Return the logits before each id and after the last, (length + 1, vocabulary size)."""
    with torch.no_grad():
        state = model.initial_state(1)
        first = model.next_token_logits(state)
        following, _ = model(torch.tensor(ids)[:, None], state)
        logits: Logits = torch.cat((first, following[:, 0])).numpy()
    return logits


def check_parity(
    model: CharLM,
    read_tokens: ReadTokens,
    reader: Literal["numpy", "onnxruntime"],
    dtype: Literal["float32", "float64"],
) -> ParityCheck:
    """Return the largest difference of logits of a reader from those of the loop.

    Args:
        model: Model with the kernel `loop`, in float32.
        read_tokens: Returns the logits of the exported model.
        reader: What reads it.
        dtype: Numbers that both compute with.

    Raises:
        ConfigError: They differ by more than the tolerance.
    """
    reference = model if dtype == "float32" else deepcopy(model).double()
    largest = 0.0
    for ids in random_texts(model.embed.num_embeddings):
        expected, found = loop_logits(reference, ids), read_tokens(ids)
        scale = max(1.0, float(np.abs(expected).max()))
        largest = max(largest, float(np.abs(found - expected).max()) / scale)
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
