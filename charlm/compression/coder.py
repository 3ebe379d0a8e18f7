"""Range coder of tokens: integer frequencies from the logits of a model.

The coder has 24 bits for a probability. Tokens are therefore coded in levels: tokens rarer than
2^-16 share one symbol, and the next level says which of them it is, down to 2^-32, and so on. So
every token keeps its probability, and a large vocabulary costs nothing.

Source:
    Martin (1979), "Range encoding: an algorithm for removing redundancy from a digitised message".
    The library is constriction: Bamler (2022), "Understanding Entropy Coding With Asymmetric
    Numeral Systems (ANS): a Statistician's Perspective".
"""

import importlib
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.errors import ConfigError, DataError, DivergedError
from charlm.results.text import UNICODE_CODE_POINTS

RARE = 2.0**-16  # ratio of the bounds of two levels
SMALLEST = 1e-300  # weight of a token whose weight is rounded to zero
PLANE = 1 << 16  # code points of one of the planes of Unicode
LN_2 = math.log(2)
PLANES = UNICODE_CODE_POINTS // PLANE
Weights = NDArray[np.float64]


@cache
def load_constriction() -> Any:
    """Return the library constriction.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        return importlib.import_module("constriction")
    except ModuleNotFoundError as error:
        raise ConfigError(
            "cannot code with a model: constriction is not installed. "
            "Try pip install 'charlm[codec]'"
        ) from error


class TokenDistribution:
    """Distribution of the next token, in the form in which both encoder and decoder use it.

    Attributes:
        scores: Logits minus the largest, float64 (vocabulary size,).
        weights: Unnormalized probabilities, float64 (vocabulary size,).
        total: Their sum.
    """

    def __init__(self, logits: NDArray[np.float32]) -> None:
        """Compute the distribution from logits (vocabulary size,).

        Raises:
            DivergedError: The logits are not finite.
        """
        self.scores = logits.astype(np.float64)
        largest = self.scores.max()
        if not math.isfinite(largest):
            raise DivergedError(
                "cannot code with this model: its logits are not finite, since training diverged. "
                "Try --checkpoint best, or train again with a lower --learning-rate"
            )
        self.scores -= largest
        self.weights: Weights = np.exp(self.scores)
        self.total = float(self.weights.sum())
        np.maximum(self.weights, SMALLEST, out=self.weights)

    def levels(self) -> Iterator[tuple[NDArray[np.intp], Weights]]:
        """Iterate over levels, from the most probable tokens to the rarest.

        Yields:
            Tokens of a level in order, and the weights of its symbols: of these tokens, of all
            rarer tokens together, and of nothing.
        """
        tokens = np.arange(len(self.weights))
        mass, bound = self.total, RARE * self.total
        while len(tokens):
            weights = self.weights[tokens]
            is_rare = weights < bound
            rare = is_rare.nonzero()[0]
            own = (~is_rare).nonzero()[0]
            # The coder would round a probability far below the bound.
            rest = max(float(weights[rare].sum()), bound) if len(rare) else 0.0
            symbols = np.empty(len(own) + 2)
            symbols[:-2] = weights[own]
            symbols[-2:] = rest, max(mass - float(symbols[:-2].sum()) - rest, 0.0)
            yield tokens[own], symbols
            tokens, mass, bound = tokens[rare], rest, bound * RARE

    def bits(self, token: int) -> float:
        """Return the bits of a token by the model's probability."""
        return (math.log(self.total) - float(self.scores[token])) / LN_2


class TokenEncoder:
    """Encoder of tokens and of the code points of unknown characters."""

    def __init__(self) -> None:
        """Start an empty code."""
        library = load_constriction()
        self.model, self.coder = library.stream.model, library.stream.queue.RangeEncoder()

    def encode(self, token: int, distribution: TokenDistribution) -> None:
        """Append a token."""
        for tokens, weights in distribution.levels():
            place = int(tokens.searchsorted(token))
            if place < len(tokens) and tokens[place] == token:
                self.coder.encode(place, self.model.Categorical(weights, lazy=True))
                return
            self.coder.encode(len(tokens), self.model.Categorical(weights, lazy=True))

    def encode_code_point(self, code_point: int) -> None:
        """Append a code point; all have the same probability."""
        self.coder.encode(code_point // PLANE, self.model.Uniform(PLANES))
        self.coder.encode(code_point % PLANE, self.model.Uniform(PLANE))

    def words(self) -> NDArray[np.uint32]:
        """Return the code so far."""
        return self.coder.get_compressed()


class TokenDecoder:
    """Decoder of what `TokenEncoder` wrote."""

    def __init__(self, words: NDArray[np.uint32]) -> None:
        """Start at the beginning of a code."""
        library = load_constriction()
        self.model, self.coder = library.stream.model, library.stream.queue.RangeDecoder(words)

    def decode(self, distribution: TokenDistribution) -> int:
        """Return the next token.

        Raises:
            DataError: The code is not one of this model.
        """
        for tokens, weights in distribution.levels():
            place = self._decode(self.model.Categorical(weights, lazy=True))
            if place < len(tokens):
                return int(tokens[place])
            if place > len(tokens):
                break
        raise DataError("the code is not one of this model")

    def decode_code_point(self) -> int:
        """Return the next code point."""
        plane = self._decode(self.model.Uniform(PLANES))
        return plane * PLANE + self._decode(self.model.Uniform(PLANE))

    @property
    def is_exhausted(self) -> bool:
        """Return whether nothing is left but what a complete code may leave."""
        return self.coder.maybe_exhausted()

    def _decode(self, model: Any) -> int:
        try:
            return self.coder.decode(model)
        except (AssertionError, ValueError) as error:
            raise DataError("the code is not one of this model") from error
