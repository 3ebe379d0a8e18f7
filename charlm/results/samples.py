"""Generated texts: samples, log-probabilities of their tokens, overlaps with the training text."""

from typing import Literal

import msgspec


class TokenAlternative(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token that was possible."""

    text: str | None  # a byte outside of ASCII is written \xNN; None: the unknown token
    logprob: float  # in nats, by the model itself: temperature 1, nothing left out


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A generated token and the most probable ones in its place."""

    text: str  # a byte outside of ASCII is written \xNN
    logprob: float  # in nats, by the model itself: temperature 1, nothing left out
    top: tuple[TokenAlternative, ...]  # the most probable first


class VerbatimOverlap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a sample that stands verbatim in the training text, where it stands first."""

    length: int  # characters, or bytes if the vocabulary is of bytes
    text: str  # that both have
    start: int  # index of its first character (or byte) in the sample
    file: str  # name of the file of the training text; empty: lines were shuffled, or it is unknown
    offset: int  # characters (or bytes) before it in the file; without a file: in the split
    line: int  # counted from 1, in the file; without a file: in the split


class CoveredShare(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Share of a sample that is part of an overlap of some length."""

    min_length: int  # of an overlap, in characters (or bytes)
    share: float  # of the characters (or bytes) of the sample


class Novelty(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Overlap of a sample with the training split; the prompt is not compared."""

    longest: VerbatimOverlap | None  # the first of the longest; None: not one character
    covered: tuple[CoveredShare, ...]
    train_tokens: int  # length of the training split


class GeneratedSample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Result of `charlm sample --json`, one line per sample."""

    prompt: str  # text that the model read first
    text: str  # continuation of the prompt, without a stop string
    tokens: int  # of the text: characters, or bytes if the vocabulary is of bytes
    sample: int  # number of the sample, from 0
    seed: int  # seed of the random numbers
    kernel: str  # kernel that wrote the text: compiled, or loop for the cells' own steps
    finish_reason: Literal["length", "stop"]  # all tokens were generated, or a stop string came
    stop: str | None  # the stop string that came
    logprobs: tuple[TokenLogprob, ...] | None = None  # of each token of the text, with --logprobs
    novelty: Novelty | None = None  # with --novelty
