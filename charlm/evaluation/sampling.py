"""Random choice of tokens: temperature, top-k, top-p, min-p and allowed characters."""

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DivergedError, InvalidValueError
from charlm.evaluation.allowed_characters import allowed_mask, name_characters
from charlm.seeding import derive_seed

Scores = NDArray[np.float64]  # logits (streams, vocabulary size)
NUMBERS_AT_ONCE = 256  # random numbers that are drawn at once


class SamplingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Choice of tokens, applied in the order of these fields.

    Source:
        top_k: Fan et al. (2018), "Hierarchical Neural Story Generation".
        top_p: Holtzman et al. (2020), "The Curious Case of Neural Text Degeneration".
        min_p: Nguyen et al. (2024), "Turning Up the Heat: Min-p Sampling for Creative and Coherent
            LLM Outputs".
    """

    allow: str | None = None  # characters that may be generated, in the notation of `tr`; None: all
    temperature: float = 1.0  # divides the logits; 0 takes the most probable token
    top_k: int = 0  # sample from the k most probable tokens, ties included; 0: from all
    top_p: float = 1.0  # sample from the fewest tokens with this total probability
    min_p: float = 0.0  # sample from tokens with at least this share of the largest probability
    stop: tuple[str, ...] = ()  # strings that end a sample; they are no part of it
    seed: int = 0  # of the random numbers


def check_sampling(length: int, settings: SamplingSettings) -> None:
    """Raise InvalidValueError if a length or a setting is out of range, whatever the model is."""
    if length < 0:
        raise InvalidValueError(f"cannot generate {length} tokens. Try 0 or more")
    if not 0 <= settings.temperature < math.inf:
        raise InvalidValueError(
            f"cannot sample at --temperature {settings.temperature}: it is a finite number. "
            "Try 0 or more"
        )
    if settings.top_k < 0:
        raise InvalidValueError(f"cannot sample with --top-k {settings.top_k}. Try 0 or more")
    for name, value in (("--top-p", settings.top_p), ("--min-p", settings.min_p)):
        if not 0 <= value <= 1:
            raise InvalidValueError(f"cannot sample with {name} {value}: it is a share. Try 0 to 1")
    if settings.allow == "":
        raise InvalidValueError(
            "cannot sample with an empty --allow: no character is left. Try --allow 'a-z \\n'"
        )
    if "" in settings.stop:
        raise InvalidValueError(
            "cannot stop at an empty --stop: every text contains it. Leave it out"
        )


class TokenSampler:
    """Sampler of the next token of each stream.

    The token of a stream depends on its logits and its random number alone.
    """

    def __init__(self, vocabulary: Vocabulary, settings: SamplingSettings) -> None:
        """Find out which tokens may be generated.

        Raises:
            ConfigError: The model cannot write an allowed character or a stop string.
        """
        self.settings = settings
        is_allowed = allowed_mask(vocabulary, settings.allow)
        for string in settings.stop:
            check_stop(string, vocabulary, is_allowed)
        self.excluded = np.flatnonzero(~is_allowed)

    def choose(self, logits: Scores, numbers: Sequence[Iterator[float]]) -> list[int]:
        """Return a token of each stream.

        Args:
            logits: Unnormalized log-probabilities (streams, vocabulary size), float64.
            numbers: Random numbers in [0, 1) of each stream; one is taken, at temperature 0 none.

        Raises:
            DivergedError: The logits are not finite.
        """
        scores = logits.copy()
        scores[:, self.excluded] = -math.inf
        largest = scores.max(axis=1, keepdims=True)
        if not np.isfinite(largest).all():
            raise DivergedError(
                "cannot generate text: the logits are not finite, since training diverged. "
                "Try --checkpoint best, or train again with a lower --learning-rate"
            )
        if self.settings.temperature == 0:
            return list(map(int, scores.argmax(axis=1)))
        # The largest becomes 0 before the division, which therefore cannot overflow.
        scores -= largest
        with np.errstate(over="ignore"):  # to minus infinity: a weight of 0
            scores /= self.settings.temperature
        weights = np.exp(scores, out=scores)
        self._truncate(weights)
        cumulative = weights.cumsum(axis=1)
        drawn = np.array([next(stream) for stream in numbers])
        thresholds = drawn * cumulative[:, -1]
        # Up to and with the threshold: one of exactly 0 must not select a token of weight 0.
        tokens = (cumulative <= thresholds[:, None]).sum(axis=1).tolist()
        for row, token in enumerate(tokens):
            if token == len(weights[row]):  # rounded up
                tokens[row] = int(weights[row].nonzero()[0][-1])
        return list(tokens)

    def _truncate(self, weights: Scores) -> None:
        """Set the weights of improbable tokens to 0; the largest weight is 1 and stays."""
        top_k, top_p, min_p = self.settings.top_k, self.settings.top_p, self.settings.min_p
        if 0 < top_k < weights.shape[1]:
            bounds = np.partition(weights, -top_k, axis=1)[:, -top_k, None]
            weights[weights < bounds] = 0
        if top_p < 1:
            # Places in the flat array: numpy's functions for ranks of rows take twice as long.
            first = np.arange(len(weights))[:, None] * weights.shape[1]
            order = np.argsort(-weights, axis=1, kind="stable") + first
            flat = weights.reshape(-1)
            probabilities = flat[order] / weights.sum(axis=1, keepdims=True)
            is_excess = probabilities.cumsum(axis=1) - probabilities >= top_p
            is_excess[:, 0] = False  # the most probable token always stays
            flat[order[is_excess]] = 0
        if min_p > 0:
            weights[weights < min_p] = 0


def check_stop(string: str, vocabulary: Vocabulary, is_allowed: NDArray[np.bool_]) -> None:
    """Raise ConfigError if a stop string can never be generated."""
    is_possible = [
        token < len(is_allowed) and is_allowed[token] for token in vocabulary.encode(string)
    ]
    if all(is_possible):
        return
    if unknown := vocabulary.find_unknown(string):
        reason = f"the model does not know {name_characters(unknown)}"
    else:
        reason = "--allow leaves a character of it out"
    advice = "Try a string that it can write"
    if "\\" in string and vocabulary.find_unknown("\\"):
        advice = "In bash, a line end is --stop $'\\n'"
    raise ConfigError(f"cannot stop at --stop {string!r}: {reason}. {advice}")


def random_numbers(seed: int, sample_number: int) -> Iterator[float]:
    """Yield the random numbers in [0, 1) of a sample, float64."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "sample", sample_number))
    while True:
        yield from torch.rand(NUMBERS_AT_ONCE, generator=generator, dtype=torch.float64).tolist()


def log_probabilities(logits: Scores) -> Scores:
    """Return log-probabilities in nats (streams, vocabulary size)."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalized: Scores = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalized
