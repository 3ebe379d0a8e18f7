"""Closing delimiters: whether the model knows what is open (Karpathy et al., 2015)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.data.delimiters import MATCHING_OPENER, match_brackets
from charlm.data.vocabulary import ids_to_text, vocabulary_mask
from charlm.evaluation import ngram
from charlm.execution.device import to_float64
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.windows import Positions
from charlm.results.probe_limits import CountedAtEnd, Note, TooFewClosers
from charlm.results.probes import Curve, ProbeResult, ScalarResult

MIN_EVENTS = 200  # closers per mean
NUM_NOTHING_OPEN = 4096  # places where no bracket is open, at most
Floats = NDArray[np.float64]


class Predictions(NamedTuple):
    """Expectation of a model at some places, in nats."""

    closers: Floats  # (places, closers), log probability of each closing bracket
    log_odds: Floats  # (places,), of any closing bracket against everything else


@register_probe("closing-delimiters", cost=12)
@torch.inference_mode()
def closing_delimiters(context: ProbeContext, min_events: int = MIN_EVENTS) -> ProbeOutput:
    """Does the model still know which bracket is open, and that one is?

    Question: Where a bracket is closed, which of the closing brackets does the model expect most,
    by the distance to the opener? And does it expect one more than where nothing is open?

    Protocol: The model reads the text once with carried state. Brackets are matched with a stack,
    which is emptied at a closer that does not fit. The first figure is a forced choice: the share
    of closers that have the highest probability among the closing brackets, whatever else the model
    expects. The second one compares the odds of any closing bracket at a true closer with those at
    up to 4,096 places where nothing is open: the share of pairs with higher odds at the closer,
    which is the area under the curve of hits against false alarms. Neither changes if a constant is
    added to the logits of all closing brackets. The second figure is left out where there are fewer
    than 200 such places, as in a text that is one large bracket. Distances from d to 2d share a
    bin; a bin with fewer than 200 closers is merged with the next nearer one.

    Unit: Share of closers, and of pairs, by distance in characters (the geometric mean of a bin).
    Error bars are standard errors.

    Chance: In the first figure, the share of the most frequent closing bracket of each bin. In the
    second one, the line: a half. The n-gram sees the seven characters before and no opener further
    back: modified Kneser-Ney of order 8, counted on the training text (the last 2^24 characters
    of a long one), at the same places.

    Source: Karpathy, Johnson & Fei-Fei (2015), "Visualizing and Understanding Recurrent Networks",
    section 4.3, who show the cost of closers. Forced choice and odds are additions.
    """
    text = ids_to_text(context.ids, context.vocabulary)
    opener, closer = np.array(match_brackets(text), np.int64).reshape(-1, 2).T
    if len(closer) < min_events:
        raise ProbeNotApplicableError(TooFewClosers(len(closer), min_events))
    order = np.argsort(closer)
    opener, closer = opener[order], closer[order]
    nothing_open = places_outside(opener, closer, len(text), context)
    positions = np.concatenate((closer, nothing_open))
    context.expect(len(context.ids))
    is_closer = vocabulary_mask(context.vocabulary, lambda character: character in MATCHING_OPENER)
    counted_ids = context.train_ids[-ngram.MAX_TRAINING_TOKENS :]
    by_ngram = ngram.next_token_probabilities(
        counted_ids, context.ids, positions, context.vocabulary.size
    )
    predictions = {
        "": model_predictions(context, positions, is_closer),
        "n-gram": predict(torch.from_numpy(by_ngram).log(), is_closer),
    }
    true_closer = np.cumsum(is_closer)[context.ids[closer]] - 1
    distance = closer - opener
    bins = bin_by_distance(distance, min_events)
    choices: list[Curve] = []
    detections: list[Curve] = []
    numbers: list[ScalarResult] = []
    x = f"{context.unit}s since the opener"
    for name, prediction in predictions.items():
        correct = (prediction.closers[: len(closer)].argmax(1) == true_closer).astype(float)
        choices.append(binned_curve(name, distance, bins, correct))
        if not name:
            base_rate = float(np.bincount(true_closer).max() / len(closer))
            numbers.append(mean_with_interval("which bracket is closed", correct, base_rate))
        if len(nothing_open) < min_events:
            continue
        odds, false_odds = np.split(prediction.log_odds, [len(closer)])
        detected = share_below(np.sort(false_odds), odds)
        detections.append(binned_curve(name, distance, bins, detected))
        if not name:
            numbers.append(mean_with_interval("closer against nothing open", detected, 0.5))
    choices.append(base_rate_curve(distance, bins, true_closer))
    panel = ProbeResult(
        title="whether one is open",
        x=x,
        y="share of pairs with higher odds at the closer",
        chance=0.5,
        curves=detections,
    )
    notes: list[Note] = []
    if len(counted_ids) < len(context.train_ids):
        notes.append(CountedAtEnd("n-grams", len(counted_ids)))
    return ProbeOutput(
        ProbeResult(
            title="which bracket",
            x=x,
            y="share right, of closing brackets",
            curves=choices,
            panels=[panel] if detections else [],
            numbers=numbers,
            notes=notes,
        )
    )


def places_outside(
    opener: Positions, closer: Positions, length: int, context: ProbeContext
) -> Positions:
    """Return places where no bracket is open, evenly spread, ascending.

    A bracket may be open that is never closed, so none may stand in the 64 characters before.
    """
    change = np.zeros(length + 1, np.int64)
    np.add.at(change, opener + 1, 1)
    np.add.at(change, closer + 1, -1)
    text_is_bracket = vocabulary_mask(context.vocabulary, lambda c: c in "()[]{}")[context.ids]
    recent = np.cumsum(np.append(0, text_is_bracket))
    at = np.arange(length)
    is_outside = (np.cumsum(change)[:length] == 0) & (recent[at] == recent[np.maximum(at - 64, 0)])
    places = np.flatnonzero(is_outside)
    return places[np.linspace(0, len(places) - 1, min(NUM_NOTHING_OPEN, len(places))).astype(int)]


def model_predictions(
    context: ProbeContext, positions: Positions, is_closer: NDArray[np.bool_]
) -> Predictions:
    """Return what the model expects at these positions, from one pass over the text."""
    parts, rows, start = [], [], 0
    for ids, logits in context.iter_logits():
        chosen = np.flatnonzero((positions >= start) & (positions < start + len(ids)))
        at = torch.from_numpy(positions[chosen] - start).to(logits.device)
        parts.append(predict(to_float64(logits[at, 0]).log_softmax(-1).cpu(), is_closer))
        rows.append(chosen)
        start += len(ids)
    order = np.argsort(np.concatenate(rows), kind="stable")
    closers, log_odds = (np.concatenate(part)[order] for part in zip(*parts, strict=True))
    return Predictions(closers, log_odds)


def predict(log_probabilities: Tensor, is_closer: NDArray[np.bool_]) -> Predictions:
    """Return the closers' part of log probabilities, (places, vocabulary_size)."""
    mask = torch.from_numpy(is_closer)
    closers, others = log_probabilities[:, mask], log_probabilities[:, ~mask]
    log_odds = closers.logsumexp(1) - others.logsumexp(1)
    return Predictions(closers.numpy(), log_odds.numpy())


def share_below(others: Floats, values: Floats) -> Floats:
    """Return the share of the others, ascending, that each value exceeds; equal ones count half."""
    below, up_to = (np.searchsorted(others, values, side) for side in ("left", "right"))
    return (below + up_to) / 2 / len(others)


def bin_by_distance(distance: Positions, min_events: int) -> list[Positions]:
    """Return indices of the events of each bin, nearest first.

    Distances from 2^n to 2^(n+1) - 1 share a bin. A bin with too few events is merged with the
    next nearer one; if the nearest one has too few, with the next farther one.
    """
    exponent = np.floor(np.log2(distance)).astype(int)
    bins: list[Positions] = []
    pending = np.zeros(0, np.int64)
    for value in range(exponent.max(), -1, -1):
        pending = np.append(pending, np.flatnonzero(exponent == value))
        if len(pending) >= min_events:
            bins.append(pending)
            pending = pending[:0]
    bins[-1] = np.append(bins[-1], pending)
    return bins[::-1]


def binned_curve(
    name: str, distance: Positions, bins: Sequence[Positions], values: Floats
) -> Curve:
    """Return the mean of each bin with its standard error, at its geometric mean distance."""
    return Curve(
        name=name,
        x=[float(2 ** np.log2(distance[events]).mean()) for events in bins],
        y=[float(values[events].mean()) for events in bins],
        error=[float(values[events].std() / len(events) ** 0.5) for events in bins],
        count=[len(events) for events in bins],
    )


def base_rate_curve(
    distance: Positions, bins: Sequence[Positions], true_closer: Positions
) -> Curve:
    """Return the share of the most frequent closing bracket of each bin."""
    most_frequent = np.zeros(len(distance))
    for events in bins:
        most_frequent[events] = true_closer[events] == np.bincount(true_closer[events]).argmax()
    return binned_curve("most frequent closer", distance, bins, most_frequent)


def mean_with_interval(name: str, values: Floats, base_rate: float) -> ScalarResult:
    """Return the mean of the values with its 95 % interval."""
    mean, error = float(values.mean()), float(values.std() / len(values) ** 0.5)
    low, high = mean - 1.96 * error, mean + 1.96 * error
    return ScalarResult(
        name=name,
        value=mean,
        unit=f"of {len(values):,}",
        low=low,
        high=high,
        base_rate=base_rate,
    )
