"""The n-gram as a baseline: its order is chosen on valid, and test is scored at every order."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from charlm.data.corpus import Corpus
from charlm.data.vocabulary import TokenIds
from charlm.evaluation import ngram
from charlm.results.baselines import BaselineDetails

SELECTION_TOKENS = 1 << 16  # of valid, which choose the order
SELECTION_SPANS = 32  # places that these are from, spread evenly
READ_SPANS = 8  # places that a run reads from, as in a batch of eight streams


def ngram_training_ids(corpus: Corpus) -> tuple[TokenIds, BaselineDetails]:
    """Return the last ids of train, as many as can be counted."""
    train = corpus.stored_split("train")
    counted = np.asarray(train[-ngram.MAX_TRAINING_TOKENS :])
    is_partial = len(counted) < len(train)
    return counted, BaselineDetails(training_tokens=len(counted), training_is_partial=is_partial)


def read_training_ids(corpus: Corpus, tokens: int) -> tuple[TokenIds, BaselineDetails]:
    """Return as many ids of train as a run has read, from places spread evenly."""
    train = corpus.stored_split("train")
    counted = min(tokens, ngram.MAX_TRAINING_TOKENS)
    length = max(1, counted // READ_SPANS)
    pieces = [train[start : start + length] for start in _starts(len(train), READ_SPANS)]
    ids = np.concatenate(pieces)
    return ids, BaselineDetails(training_tokens=len(ids), training_is_partial=True)


def measure_ngram(
    corpus: Corpus, train: TokenIds, details: BaselineDetails
) -> tuple[float, BaselineDetails]:
    """Return bits of the test split by the order that is best on valid, and those of all orders.

    Each token is predicted after those that precede it in its split.

    Args:
        corpus: Corpus with its splits.
        train: Ids that n-grams are counted on.
        details: What these are.
    """
    test = corpus.split("test").astype(np.int64)
    selection, begins = _selection(corpus.split("valid"))
    nats = ngram.token_nll_by_order(
        train,
        np.concatenate((selection, test)),
        np.arange(len(selection) + len(test)),
        corpus.vocabulary.size,
        begins=np.concatenate((begins, np.full(len(test), len(selection)))),
    )
    order = 2 + int(nats[1:, : len(selection)].mean(1).argmin())
    named = unknown_bits(corpus, test)
    bits = [math.fsum(costs) / math.log(2) + named for costs in nats[:, len(selection) :]]
    characters, num_bytes = corpus.encoding.count_characters_and_bytes(
        *corpus.record.splits["test"], corpus.vocabulary.kind
    )
    return bits[order - 1], msgspec.structs.replace(
        details,
        order=order,
        max_order=ngram.ORDER,
        is_at_edge=order == ngram.ORDER,
        selection_tokens=len(selection),
        bits_by_order=tuple(cost / (characters or num_bytes) for cost in bits),
    )


def unknown_bits(corpus: Corpus, ids: TokenIds) -> float:
    """Return bits to name the characters that the vocabulary lacks."""
    unk_id = corpus.vocabulary.unk_id
    unknown = 0 if unk_id is None else int((ids == unk_id).sum())
    return unknown * corpus.vocabulary.unk_cost_nats / math.log(2)


def _selection(valid: TokenIds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids of spans that are spread over valid, and where each id's span begins."""
    spans = SELECTION_SPANS if len(valid) > SELECTION_TOKENS else 1
    length = min(len(valid), SELECTION_TOKENS) // spans
    ids = np.concatenate([valid[start : start + length] for start in _starts(len(valid), spans)])
    return ids.astype(np.int64), np.repeat(np.arange(spans) * length, length)


def _starts(length: int, spans: int) -> list[int]:
    return [index * length // spans for index in range(spans)]
