"""Closing delimiters: cost and accuracy of closers by distance (Karpathy et al., 2015)."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from charlm.data.delimiters import match_brackets, match_indented_blocks, match_quotes
from charlm.data.vocabulary import ids_to_text, vocabulary_mask
from charlm.evaluation import ngram
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.results.probes import Curve, ProbeResult, ScalarResult

DELIMITERS = {
    "brackets": match_brackets,
    "quotation marks": match_quotes,
    "blocks": match_indented_blocks,
}
METRICS = ("bits per closer", "top-1 accuracy")
MIN_EVENTS = 200  # closers per mean
Floats = NDArray[np.float64]
Positions = NDArray[np.int64]


@register_probe("closing-delimiters")
@torch.inference_mode()
def closing_delimiters(context: ProbeContext, min_events: int = MIN_EVENTS) -> ProbeOutput:
    """Does the model still know what is open when it must be closed?

    Question: What does a closing bracket, a closing quotation mark or the end of an indented block
    cost, by the distance to its opener, and how often is it the model's top prediction?

    Protocol: The model reads the text once with carried state. Brackets are matched with a stack,
    which is emptied at a closer that does not fit. Quotation marks are matched within a paragraph
    (straight single ones within a line) if marks of the kind alternate and none is left over;
    triple ones, as around a docstring, are left out. A block ends at the first character of a line
    that is indented less than the line before; its opener is the first character of the last line
    with the same or less indentation. For brackets and quotation marks, the true closer is scored.
    For a block, the end of the indentation is scored, whatever follows: the probability of
    everything but space and tab. Distances from d to 2d share a bin; a bin with fewer than 200
    closers is merged with the next nearer one.

    Unit: Bits per closer, and the share of closers that are the top prediction, by distance in
    characters (the geometric mean of a bin). Error bars are standard errors.

    Chance: The n-gram, which sees the seven characters before and no opener further back:
    interpolated Kneser-Ney of order 8, counted on the training text (the last 2^24 characters of a
    long one), at the same positions.

    Source: Karpathy, Johnson & Fei-Fei (2015), "Visualizing and Understanding Recurrent Networks",
    section 4.3, for brackets and quotation marks. The matching rules and the blocks are additions.
    """
    text = ids_to_text(context.ids, context.vocabulary)
    all_pairs = {
        name: np.array(match(text), np.int64).reshape(-1, 2) for name, match in DELIMITERS.items()
    }
    pairs = {name: pair for name, pair in all_pairs.items() if len(pair) >= min_events}
    too_few = {name: len(pair) for name, pair in all_pairs.items() if len(pair) < min_events}
    if not pairs:
        counts = ", ".join(f"{count:,} {name}" for name, count in too_few.items())
        raise ProbeNotApplicableError(
            f"the text closes {counts}, but {min_events:,} of a kind are needed"
        )
    positions = np.unique(np.concatenate([pair[:, 1] for pair in pairs.values()]))
    counted_ids = context.train_ids[-ngram.MAX_TRAINING_TOKENS :]
    predictions = {
        "": probabilities_at(context, positions),
        "n-gram": ngram.next_token_probabilities(
            counted_ids, context.ids, positions, context.vocabulary.size
        ),
    }
    ends_indentation = vocabulary_mask(context.vocabulary, lambda character: character not in " \t")
    panels: list[ProbeResult] = []
    numbers: list[ScalarResult] = []
    for name, pair in pairs.items():
        opener, closer = pair.T
        if name == "blocks":
            is_correct = ends_indentation[None]
        else:
            is_correct = np.eye(context.vocabulary.size, dtype=bool)[context.ids[closer]]
        rows = np.searchsorted(positions, closer)
        scores = {
            predictor: bits_and_hits(probabilities[rows], is_correct)
            for predictor, probabilities in predictions.items()
        }
        distance = closer - opener
        bins = bin_by_distance(distance, min_events)
        for metric, label in enumerate(METRICS):
            curves = [
                binned_curve(predictor, distance, bins, values[metric])
                for predictor, values in scores.items()
            ]
            x = f"{context.unit}s since the opener"
            panels.append(ProbeResult(title=name, x=x, y=label, curves=curves))
        numbers += summary_numbers(name, *scores.values())
    notes = [f"{name} not shown: {count:,} in the text" for name, count in too_few.items()]
    if len(counted_ids) < len(context.train_ids):
        notes.append(f"n-gram: last {len(counted_ids):,} {context.unit}s of the training text only")
    main, *further_panels = panels
    return ProbeOutput(
        msgspec.structs.replace(main, panels=further_panels, numbers=numbers, notes=notes)
    )


def probabilities_at(context: ProbeContext, positions: Positions) -> Floats:
    """Return the model's predictions at these positions, (len(positions), vocabulary_size)."""
    chunks, start = [], 0
    for ids, logits in context.iter_logits():
        is_in_chunk = (positions >= start) & (positions < start + len(ids))
        rows = torch.from_numpy(positions[is_in_chunk] - start).to(logits.device)
        chunks.append(logits[rows, 0].double().softmax(-1).cpu())
        start += len(ids)
    return torch.cat(chunks).numpy()


def bits_and_hits(probabilities: Floats, is_correct: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return bits of the correct tokens, and 1 where the top prediction is correct, else 0.

    Args:
        probabilities: (events, vocabulary_size).
        is_correct: The same shape, or (1, vocabulary_size); several tokens may be correct.

    Returns:
        Two arrays (events,).
    """
    top = probabilities.argmax(1)[:, None]
    is_hit = np.take_along_axis(np.broadcast_to(is_correct, probabilities.shape), top, axis=1)
    return -np.log2((probabilities * is_correct).sum(1)), is_hit[:, 0].astype(float)


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


def summary_numbers(
    name: str, model: tuple[Floats, Floats], ngram_model: tuple[Floats, Floats]
) -> Iterator[ScalarResult]:
    """Yield accuracy, and bits saved against the n-gram, over all closers of a kind."""
    (bits, hits), (ngram_bits, ngram_hits) = model, ngram_model
    note = f"n-gram {ngram_hits.mean():.3f}"
    yield mean_with_interval(f"{name}: top-1 accuracy", hits, f"of {len(hits):,}", note)
    saved = ngram_bits - bits
    yield mean_with_interval(f"{name}: saved against the n-gram", saved, "bits per closer")


def mean_with_interval(name: str, values: Floats, unit: str, note: str = "") -> ScalarResult:
    """Return the mean of the values with its 95 % interval."""
    mean, error = float(values.mean()), float(values.std() / len(values) ** 0.5)
    low, high = mean - 1.96 * error, mean + 1.96 * error
    return ScalarResult(name=name, value=mean, unit=unit, low=low, high=high, note=note)
