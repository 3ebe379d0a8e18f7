"""Range coder of tokens: integer frequencies from the logits of a model.

The coder has 24 bits for a probability. Rare tokens therefore share one frequency, of at least
2^-16, and a second symbol says which of them it is. So tokens keep their probability down to about
2^-40, and a large vocabulary costs nothing.

Source:
    Martin (1979), "Range encoding: an algorithm for removing redundancy from a digitised message".
    The library is constriction: Bamler (2022), "Understanding Entropy Coding With Asymmetric
    Numeral Systems (ANS): a Statistician's Perspective".
"""

import importlib
import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.data.vocabulary import UNICODE_CODE_POINTS
from charlm.errors import ConfigError, DataError, DivergedError

RARE = 2.0**-16  # probability of tokens that share a frequency, and least size of that
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
        weights: Unnormalized probabilities, float64: of each token, then of the frequency that
            rare tokens share.
        symbols: Places in `weights` of what the first symbol may be: frequent tokens in order,
            then the last place if there are rare tokens.
        rare: Rare tokens in order.
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
        self.weights: Weights = np.empty(len(logits) + 1)
        tokens = self.weights[:-1]
        np.exp(self.scores, out=tokens)
        self.total = float(tokens.sum())
        np.maximum(tokens, SMALLEST, out=tokens)
        is_rare = tokens < RARE * self.total
        self.rare = is_rare.nonzero()[0]
        self.weights[-1] = max(float(tokens[self.rare].sum()), RARE * self.total)
        self.symbols = np.append(~is_rare, len(self.rare) > 0).nonzero()[0]

    def rare_weights(self) -> Weights:
        """Return the weights of rare tokens, and what their shared frequency has beyond them."""
        weights = self.weights[self.rare]
        return np.append(weights, max(self.weights[-1] - weights.sum(), 0.0))

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
        weights, symbols, rare = distribution.weights, distribution.symbols, distribution.rare
        place = int(symbols.searchsorted(token))
        if symbols[place] == token:
            self._append(place, weights[symbols])
        else:
            self._append(len(symbols) - 1, weights[symbols])
            self._append(int(rare.searchsorted(token)), distribution.rare_weights())

    def encode_code_point(self, code_point: int) -> None:
        """Append a code point; all have the same probability."""
        self.coder.encode(code_point // PLANE, self.model.Uniform(PLANES))
        self.coder.encode(code_point % PLANE, self.model.Uniform(PLANE))

    def words(self) -> NDArray[np.uint32]:
        """Return the code so far."""
        return self.coder.get_compressed()

    def _append(self, index: int, weights: Weights) -> None:
        if len(weights) > 1:  # the coder takes no certain events
            self.coder.encode(index, self.model.Categorical(weights, lazy=True))


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
        weights, symbols, rare = distribution.weights, distribution.symbols, distribution.rare
        place = int(symbols[self._next(weights[symbols])])
        if place < len(weights) - 1:
            return place
        place = self._next(distribution.rare_weights())
        if place == len(rare):
            raise DataError("the code is not one of this model")
        return int(rare[place])

    def decode_code_point(self) -> int:
        """Return the next code point."""
        plane = self._decode(self.model.Uniform(PLANES))
        return plane * PLANE + self._decode(self.model.Uniform(PLANE))

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing is left but what a complete code may leave."""
        return self.coder.maybe_exhausted()

    def _next(self, weights: Weights) -> int:
        return self._decode(self.model.Categorical(weights, lazy=True)) if len(weights) > 1 else 0

    def _decode(self, model: Any) -> int:
        try:
            return self.coder.decode(model)
        except (AssertionError, ValueError) as error:
            raise DataError("the code is not one of this model") from error
