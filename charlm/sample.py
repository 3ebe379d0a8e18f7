"""Let a model write: one character at a time, carrying its true state."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from charlm.alphabet import Alphabet
from charlm.config import stream
from charlm.errors import NonFinite
from charlm.model import CharLM


def pick(
    logits: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator
) -> int:
    """One id from logits (symbols,), in float64; temperature 0 takes the likeliest.

    top_k: only the k likeliest (0: all). top_p: only the fewest that together have this probability
    (Holtzman et al. 2020). Ties at the edge of top_k all stay.
    """
    logits = logits.double()
    largest = logits.max()
    if not math.isfinite(largest):
        raise NonFinite(
            "the model's expectations are not finite: its training had gone astray by then. "
            "Try --checkpoint best, or train again with a lower --learning-rate"
        )
    if temperature == 0:
        return int(logits.argmax())
    # The largest becomes 0 before the division, which therefore cannot overflow.
    chances = ((logits - largest) / temperature).softmax(-1)
    if 0 < top_k < len(chances):
        chances = chances.where(chances >= chances.topk(top_k).values[-1], 0.0)
    if top_p < 1:
        ordered, places = (chances / chances.sum()).sort(descending=True)
        enough = ordered.cumsum(0) - ordered >= top_p  # those likelier than it have it already
        enough[0] = False  # the likeliest always stays
        chances[places[enough]] = 0.0
    mass = chances.cumsum(0)
    drawn = torch.rand(1, generator=generator, dtype=torch.float64) * mass[-1]
    # right=True: a draw of exactly 0 must not fall on an id that has no chance
    place = int(torch.searchsorted(mass, drawn, right=True))
    return place if place < len(mass) else int(chances.nonzero()[-1])  # rounded up to the very end


@torch.inference_mode()  # of the walk, not of who reads it in between
def write(
    model: CharLM,
    alphabet: Alphabet,
    prompt: str,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    number: int = 0,
) -> Iterator[bytes]:
    """`length` symbols that follow the prompt, one by one, as UTF-8 (or single bytes).

    The text is a function of the arguments alone: sample `number` is the same however many are
    asked for. The escape is never written, as it stands for no particular character.
    """
    written = [alphabet.decode(np.array([place])) for place in range(len(alphabet.symbols))]
    generator = torch.Generator().manual_seed(stream(seed, "sample", number))
    model.eval()
    state = model.start(1)
    for symbol in alphabet.encode(prompt):
        _, state = model(torch.tensor([[symbol]]), state)
    logits = model.expect(state)[0]
    for _ in range(length):
        if alphabet.escape is not None:
            logits[alphabet.escape] = -torch.inf
        symbol = pick(logits, temperature, top_k, top_p, generator)
        yield written[symbol]
        following, state = model(torch.tensor([[symbol]]), state)
        logits = following[0, 0]
