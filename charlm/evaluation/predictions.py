"""Predictions of a model at each token: cost, rank, entropy, and the most probable token."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from charlm.data.stored_ids import StoredIds
from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.evaluation.characters import display_character
from charlm.evaluation.scored_text import ScoredText
from charlm.evaluation.scoring import coded_nll, iter_target_logits
from charlm.execution.device import to_float64
from charlm.models.char_lm import CharLM
from charlm.progress import ProgressCallback, ignore
from charlm.results.costs import CharacterRecord

RecordSink = Callable[[list[CharacterRecord]], object]  # is called with consecutive records


class TokenPredictions(NamedTuple):
    """Predictions of the tokens of a window, each (time,), on the CPU.

    Attributes:
        nats: Cost of each token, float64.
        ranks: Rank of its probability, from 1; equal ones share the best rank.
        entropies: Entropy of the prediction in bits.
        likeliest: Id of the most probable token.
        targets: Id of the token.
    """

    nats: Tensor
    ranks: Tensor
    entropies: Tensor
    likeliest: Tensor
    targets: Tensor


@torch.inference_mode()  # in the generator only, not in the code that iterates over it
def iter_predictions(
    model: CharLM,
    ids: TokenIds | StoredIds,
    vocabulary: Vocabulary,
    count: ProgressCallback = ignore,
) -> Iterator[TokenPredictions]:
    """Iterate over the predictions of tokens in windows; the nats are those of `iter_token_nll`.

    Args:
        model: Model that reads.
        ids: (length, 1).
        vocabulary: Vocabulary of the model.
        count: Is called with numbers of tokens read.
    """
    for targets, logits in iter_target_logits(model, ids, count):
        log_probabilities = to_float64(logits).log_softmax(-1)
        of_targets = log_probabilities.gather(-1, targets[..., None].to(log_probabilities.device))
        probabilities = log_probabilities.exp()
        # Of a probability that rounds to 0, the logarithm is finite, so that no NaN arises.
        entropies = -(probabilities * log_probabilities).sum(-1) / math.log(2)
        predictions = (
            coded_nll(logits, targets, vocabulary),
            1 + (log_probabilities > of_targets).sum(-1),
            entropies,
            logits.argmax(-1),
            targets,
        )
        yield TokenPredictions(*(values[:, 0].cpu() for values in predictions))


def report_records(
    windows: Iterator[TokenPredictions], text: ScoredText, vocabulary: Vocabulary, sink: RecordSink
) -> Iterator[Tensor]:
    """Pass records of all tokens to a sink, and yield the nats of each window, (time, 1).

    Args:
        windows: Predictions of all tokens of the text.
        text: Text that is scored.
        vocabulary: Vocabulary of the model.
        sink: Receives the records of each window.
    """
    tokens = [_display_token(vocabulary, token) for token in vocabulary.tokens]
    likeliest: list[str | None] = [*tokens, None]  # the id after the last is the unknown token
    files = text.iter_file_ends()
    file_end, name = next(files)
    position = 0
    for window in windows:
        start = text.span[0] + position
        characters = list(_characters(text, vocabulary, start, window.targets, tokens))
        records = []
        for character, nats, rank, entropy, guess, target in zip(
            characters, *(values.tolist() for values in window), strict=True
        ):
            while position >= file_end:
                file_end, name = next(files)
            records.append(
                CharacterRecord(
                    position=position,
                    file=name,
                    character=character,
                    bits=nats / math.log(2),
                    rank=rank,
                    entropy=entropy,
                    likeliest=likeliest[guess],
                    is_unknown=target == vocabulary.unk_id,
                )
            )
            position += 1
        sink(records)
        yield window.nats[:, None]


def _characters(
    text: ScoredText, vocabulary: Vocabulary, start: int, targets: Tensor, tokens: list[str]
) -> Iterator[str]:
    """Return the tokens of a window as they are written; unknown ones are characters, too."""
    if vocabulary.kind == "bytes":
        return (tokens[target] for target in targets.tolist())
    return iter(text.encoding.text(start, start + len(targets)))


def _display_token(vocabulary: Vocabulary, token: int) -> str:
    if vocabulary.kind == "chars" or token < 0x80:
        return chr(token)
    return display_character(chr(0xDC00 + token))
