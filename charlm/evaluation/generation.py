"""Let a model write: one character at a time, carrying its true state."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from charlm.data.vocabulary import Vocabulary
from charlm.errors import DivergedError
from charlm.kernels.loop import SingleStep
from charlm.kernels.registry import SINGLE_STEP_KERNELS
from charlm.models.char_lm import CharLM
from charlm.seeding import derive_seed


def sample_token(
    logits: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator
) -> int:
    """One id from logits (symbols,), in float64; temperature 0 takes the likeliest.

    top_k: only the k likeliest (0: all). top_p: only the fewest that together have this probability
    (Holtzman et al. 2020). Ties at the edge of top_k all stay.
    """
    scores = logits.double().numpy()
    largest = scores.max()
    if not math.isfinite(largest):
        raise DivergedError(
            "the model's expectations are not finite: its training had gone astray by then. "
            "Try --checkpoint best, or train again with a lower --learning-rate"
        )
    if temperature == 0:
        return int(scores.argmax())
    # The largest becomes 0 before the division, which therefore cannot overflow.
    chances = np.exp((scores - largest) / temperature)
    if 0 < top_k < len(chances):
        chances[chances < np.partition(chances, -top_k)[-top_k]] = 0
    if top_p < 1:
        order = np.argsort(-chances, kind="stable")
        ordered = chances[order] / chances.sum()
        enough = np.cumsum(ordered) - ordered >= top_p  # those likelier than it have it already
        enough[0] = False  # the likeliest always stays
        chances[order[enough]] = 0
    mass = np.cumsum(chances)
    drawn = torch.rand((), generator=generator, dtype=torch.float64).item() * mass[-1]
    # side="right": a draw of exactly 0 must not fall on an id that has no chance
    place = int(np.searchsorted(mass, drawn, side="right"))
    return place if place < len(mass) else int(chances.nonzero()[0][-1])  # rounded up to the end


class IncrementalDecoder:
    """A model that reads one stream a character at a time and says what it expects next."""

    def __init__(self, model: CharLM) -> None:
        model.eval()
        self.model, start = model, model.initial_state(1)
        self.layers = list(zip(model.cells, model.layer_blocks, strict=True))
        stepper = SINGLE_STEP_KERNELS.get(model.kernel, SingleStep)
        self.steppers = [
            stepper(layer, state) for (layer, _), state in zip(self.layers, start, strict=False)
        ]
        # What the first layer reads, and what its cell makes of it, for each character at once.
        self.embeddings = model.input_projection(model.embed.weight)
        cell, block = self.layers[0]
        self.input_projections = cell.project_inputs(block.pre_cell(self.embeddings))
        self.next_logits = model.next_token_logits(start)[0]

    def advance(self, symbol: int) -> Tensor:
        """The logits (symbols,) of what follows this character and all those before it."""
        h, Wx = self.embeddings[symbol, None], self.input_projections[symbol, None]
        for place, (cell, block) in enumerate(self.layers):
            if place:
                Wx = cell.project_inputs(block.pre_cell(h))
            h = block.post_cell(h, None, self.steppers[place](Wx))
        self.next_logits = self.model.predict(self.model.norm(h))[0]
        return self.next_logits


@torch.inference_mode()  # of the walk, not of who reads it in between
def generate(
    model: CharLM,
    alphabet: Vocabulary,
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
    written = [alphabet.decode(np.array([place])) for place in range(len(alphabet.tokens))]
    generator = torch.Generator().manual_seed(derive_seed(seed, "sample", number))
    reader = IncrementalDecoder(model)
    logits = reader.next_logits
    for symbol in alphabet.encode(prompt):
        logits = reader.advance(symbol)
    for _ in range(length):
        if alphabet.unk_id is not None:
            logits[alphabet.unk_id] = -torch.inf
        symbol = sample_token(logits, temperature, top_k, top_p, generator)
        yield written[symbol]
        logits = reader.advance(symbol)
