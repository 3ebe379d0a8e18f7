"""Costs of single characters, their sums by class, and scores beside the exact one."""

from typing import Literal

import msgspec

Program = Literal["char-rnn", "torch-rnn", "nanogpt", "awd"]


class CharacterRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A character, or byte, of a scored text: a line of `charlm eval --per-char`."""

    position: int  # index in the scored text, from 0
    file: str  # name of the file that it is in; empty: lines of files were shuffled
    character: str  # a byte that is not ASCII is written \xNN
    bits: float  # cost: negative log2-likelihood
    rank: int  # of its probability; 1: it was the most probable
    entropy: float  # of the prediction, in bits
    likeliest: str | None  # most probable character; None: the unknown token
    is_unknown: bool  # True if the vocabulary lacks it


class ClassCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cost of the characters of a class."""

    name: str  # such as "letters at word starts"
    characters: int
    bits: float  # of all of them
    bits_per_char: float | None  # None if there are none
    share_of_characters: float  # part of all characters, from 0 to 1
    share_of_bits: float  # part of all bits, from 0 to 1


class CostsByClass(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Costs of a text by the class of a character, and of letters by their place in the word."""

    classes: tuple[ClassCost, ...]  # every character is in one of them
    word_positions: tuple[ClassCost, ...]  # letters alone: first, second, ... of their word


class DynamicSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of dynamic evaluation."""

    rate: float = 0.004  # learning rate
    decay: float = 0.005  # part of the way back to the static weights, after each segment
    segment: int = 20  # tokens that are scored, then learnt, at a time


class DynamicScore(DynamicSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Score of a model that goes on learning from the text that it has scored."""

    protocol: Literal["dynamic"]  # never that of the exact score
    bits_per_char: float | None  # None if the bytes are not UTF-8
    bits_per_byte: float  # bits per byte of the text as UTF-8
    gradient_segments: int  # of the training split, which scale the updates


class ProgramScore(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Loss of a text as another program computes it, for comparison with its old numbers."""

    program: Program  # whose loss it is
    nats_per_token: float  # the loss that the program prints
    bits_per_token: float  # of a character, or a byte
    streams: int  # read side by side
    window: int | None  # tokens of a window; None: the whole stream
    predictions: int  # tokens that were predicted, repeated ones included
    text_tokens: int  # tokens of the text
    seed: int | None  # of random windows; None: nothing is random
