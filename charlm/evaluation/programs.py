"""Losses of a text as char-rnn, torch-rnn, nanoGPT and AWD-LSTM compute them.

They are for comparison with numbers that these programs have printed. Each reads a part of the
text only, or breaks it up, so that none is the length of a code. The batch sizes and lengths are
the defaults of the programs. The exact score is `scoring.score_text`.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.errors import DataError
from charlm.evaluation.scoring import coded_nll
from charlm.models.char_lm import CharLM
from charlm.progress import ProgressCallback, ignore
from charlm.results.costs import Program, ProgramScore

STREAMS, WINDOW = 50, 50  # of char-rnn and torch-rnn
BATCHES, WINDOWS_PER_BATCH, BLOCK_SIZE = 200, 64, 256  # of nanoGPT on Shakespeare
NANOGPT_SEED = 1337
AWD_VALIDATION_STREAMS, AWD_TEST_STREAMS = 10, 1
AWD_WINDOW = 70  # tokens read at once; the state is carried, so that it changes no number


class Batch(NamedTuple):
    """Tokens that are read side by side, and those to predict after each, (time, streams)."""

    inputs: TokenIds
    targets: TokenIds


class Layout(NamedTuple):
    """Streams and windows in which a program reads a text."""

    streams: int
    window: int | None  # tokens; None: the whole stream
    minimum: int  # tokens of the text


def check_length(tokens: int, program: Program, split: str | None = None) -> None:
    """Raise DataError if a text of so many tokens is shorter than a program needs."""
    minimum = _layout(program, split).minimum
    if tokens < minimum:
        raise DataError(
            f"cannot score as {program} does: the text has {tokens:,} tokens, and it needs "
            f"{minimum:,}. Try a longer text, or without --protocol"
        )


def _layout(program: Program, split: str | None) -> Layout:
    awd_streams = AWD_TEST_STREAMS if split in ("test", None) else AWD_VALIDATION_STREAMS
    return {
        "char-rnn": Layout(STREAMS, WINDOW, STREAMS * WINDOW),
        "torch-rnn": Layout(STREAMS, WINDOW, STREAMS * WINDOW + 1),
        "nanogpt": Layout(WINDOWS_PER_BATCH, BLOCK_SIZE, BLOCK_SIZE + 1),
        "awd": Layout(awd_streams, None, 2 * awd_streams),
    }[program]


@torch.inference_mode()
def score_as_program(
    model: CharLM,
    vocabulary: Vocabulary,
    ids: TokenIds,
    program: Program,
    split: str | None = None,
    seed: int | None = None,
    count: ProgressCallback = ignore,
) -> ProgramScore:
    """Return the loss of a text as a program computes it.

    Args:
        model: Model that scores.
        vocabulary: Vocabulary of the model; unknown tokens cost what they cost elsewhere.
        ids: Text, (length,).
        program: Name of the program.
        split: Split that the text is; AWD-LSTM reads "test" in one stream, others in ten.
        seed: Of the random windows of nanoGPT; default: 1337.
        count: Is called with numbers of tokens predicted.

    Raises:
        DataError: The text is shorter than the program needs.
    """
    seed = (NANOGPT_SEED if seed is None else seed) if program == "nanogpt" else None
    streams, window, _ = _layout(program, split)
    check_length(len(ids), program, split)
    was_training = model.training
    model.eval()
    try:
        if program == "nanogpt":
            losses = [
                float(nats.mean())
                for batch in random_windows(ids, seed or 0)
                for nats in _losses(model, vocabulary, [batch], count)
            ]
            loss, predictions = math.fsum(losses) / BATCHES, BATCHES * streams * BLOCK_SIZE
        else:
            if program == "awd":
                batches = awd_streams_of(ids, streams)
            else:
                batches = cut_streams(ids, wraps_around=program == "char-rnn")
            sums = [(float(n.sum()), n.numel()) for n in _losses(model, vocabulary, batches, count)]
            predictions = sum(size for _, size in sums)
            # AWD-LSTM divides by the tokens of a stream, one of which it does not predict.
            divisor = predictions + streams if program == "awd" else predictions
            loss = math.fsum(nats for nats, _ in sums) / divisor
    finally:
        model.train(was_training)
    return ProgramScore(
        program=program,
        nats_per_token=loss,
        bits_per_token=loss / math.log(2),
        streams=streams,
        window=window,
        predictions=predictions,
        text_tokens=len(ids),
        seed=seed,
    )


def cut_streams(ids: TokenIds, *, wraps_around: bool) -> list[Batch]:
    """Return 50 streams of whole windows of 50 tokens.

    Args:
        ids: Text, (length,). What does not fill a window of all streams is dropped.
        wraps_around: char-rnn predicts the first token after the last. torch-rnn needs the token
            after the last: where there is none, it drops the last windows.
    """
    area = STREAMS * WINDOW
    length = len(ids) // area * area
    if wraps_around:
        targets = np.append(ids[1:length], ids[0])
    else:
        length = (len(ids) - 1) // area * area
        targets = ids[1 : length + 1]
    return _windows(ids[:length].reshape(STREAMS, -1).T, targets.reshape(STREAMS, -1).T, WINDOW)


def awd_streams_of(ids: TokenIds, streams: int) -> list[Batch]:
    """Return streams of equal length; the first token of each is not predicted."""
    length = len(ids) // streams
    columns = ids[: length * streams].reshape(streams, length).T
    return _windows(columns[:-1], columns[1:], AWD_WINDOW)


def random_windows(ids: TokenIds, seed: int) -> Iterator[Batch]:
    """Yield batches of windows that begin anywhere."""
    generator = np.random.default_rng(seed)
    for _ in range(BATCHES):
        starts = generator.integers(len(ids) - BLOCK_SIZE, size=WINDOWS_PER_BATCH)
        indices = np.arange(BLOCK_SIZE)[:, None] + starts
        yield Batch(ids[indices], ids[indices + 1])


def _windows(inputs: TokenIds, targets: TokenIds, length: int) -> list[Batch]:
    starts = range(0, len(inputs), length)
    return [Batch(inputs[s : s + length], targets[s : s + length]) for s in starts]


def _losses(
    model: CharLM, vocabulary: Vocabulary, batches: list[Batch], count: ProgressCallback
) -> Iterator[Tensor]:
    """Yield the nats of the targets of consecutive batches, read from the initial state."""
    state = model.initial_state(batches[0].inputs.shape[1])
    device = state[0][0].device
    for batch in batches:
        inputs, targets = (
            torch.from_numpy(part.astype(np.int64)).to(device)
            for part in (batch.inputs, batch.targets)
        )
        logits, state = model(inputs, state)
        yield coded_nll(logits, targets, vocabulary)
        count(targets.numel())
