"""Cost and accuracy where a text closes what it has opened, by distance: Karpathy et al. (2015)."""

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from charlm.data.delimiters import match_brackets, match_indented_blocks, match_quotes
from charlm.data.vocabulary import ids_to_text, vocabulary_mask
from charlm.evaluation import ngram
from charlm.probes.base import ProbeContext, ProbeNotApplicable, register_probe
from charlm.results.probes import Curve, ProbeResult, ScalarResult

KINDS = {
    "brackets": match_brackets,
    "quotation marks": match_quotes,
    "blocks": match_indented_blocks,
}
METRICS = ("bits per closer", "share expected most")
MIN_EVENTS = 200  # closers that a mean must be of
Numbers = NDArray[np.float64]
Places = NDArray[np.int64]


@register_probe("closing")
@torch.inference_mode()
def closing_delimiters(reading: ProbeContext, least: int = MIN_EVENTS) -> ProbeResult:
    """Does the model still know what is open, when the time comes to close it?

    Question: What does a closing bracket, a closing quotation mark or the end of an indented block
    cost, by how far back its opener stands, and how often is it what the model expects most?

    Protocol: The text is read once, state carried. Brackets are paired by a stack, which is emptied
    where they do not fit; quotation marks within a paragraph (straight single ones within a line)
    whose marks of that kind alternate, with none left over; three in a row, as around a docstring,
    are left out. A block ends at the first character of a line that stands further left than the
    line before; its opener is the first character of the last line that stood there or further
    left. What is scored is the true closer at its place; of a block, that its indentation ends
    there, whatever comes: the chance of all but space and tab. Distances from d to 2d share a bin;
    bins of less than 200 closers are joined with the next nearer one.

    Unit: Bits per closer, and the share of closers that are expected most, by the distance in
    characters (the geometric mean of a bin). Error bars are standard errors.

    Chance: The n-gram, which sees the seven characters before and no opener further back:
    interpolated Kneser-Ney of order 8, counted on the training text (of a long one, its last 2^24
    characters), at the same places.

    Source: Karpathy, Johnson & Fei-Fei (2015), "Visualizing and Understanding Recurrent Networks",
    section 4.3, for brackets and quotation marks; how they are paired, and blocks, are ours.
    """
    text = ids_to_text(reading.ids, reading.vocabulary)
    pairs = {name: np.array(find(text), np.int64).reshape(-1, 2) for name, find in KINDS.items()}
    few = [
        f"{f'only {len(pair)}' if len(pair) else 'no'} {name}"
        for name, pair in pairs.items()
        if len(pair) < least
    ]
    pairs = {name: pair for name, pair in pairs.items() if len(pair) >= least}
    if not pairs:
        raise ProbeNotApplicable(f"the text closes {', '.join(few)}")
    at = np.unique(np.concatenate([pair[:, 1] for pair in pairs.values()]))
    symbols = reading.vocabulary.size
    counted = reading.train_ids[-ngram.MAX_TRAINING_TOKENS :]
    expected = {
        "": probabilities_at(reading, at),
        "n-gram": ngram.next_token_probabilities(counted, reading.ids, at, symbols),
    }
    inked = vocabulary_mask(reading.vocabulary, lambda one: one not in " \t")
    figures: list[ProbeResult] = []
    numbers: list[ScalarResult] = []
    for name, pair in pairs.items():
        opener, closer = pair.T
        right = (
            np.eye(symbols, dtype=bool)[reading.ids[closer]] if name != "blocks" else inked[None]
        )
        rows = np.searchsorted(at, closer)
        answers = {of: bits_and_hits(chances[rows], right) for of, chances in expected.items()}
        groups = bin_by_distance(closer - opener, least)
        for y, asked in enumerate(METRICS):
            curves = [
                binned_curve(of, closer - opener, groups, found[y]) for of, found in answers.items()
            ]
            x = f"{reading.vocabulary.kind} since the opener"
            figures.append(ProbeResult(title=name, x=x, y=asked, curves=curves))
        numbers += summary_numbers(name, *answers.values())
    notes = [f"the text closes {kind}: not shown" for kind in few]
    if len(counted) < len(reading.train_ids):
        kind = reading.vocabulary.kind
        notes.append(f"the n-gram is counted on the last {len(counted):,} {kind} of training")
    first, *more = figures
    return msgspec.structs.replace(first, panels=more, numbers=numbers, notes=notes)


def probabilities_at(reading: ProbeContext, at: Places) -> Numbers:
    """What the model expects at these places, the chance of every symbol: (len(at), symbols)."""
    found, start = [], 0
    for ids, logits in reading.iter_logits():
        here = torch.from_numpy(at[(at >= start) & (at < start + len(ids))] - start)
        found.append(logits[here.to(logits.device), 0].double().softmax(-1).cpu())
        start += len(ids)
    return torch.cat(found).numpy()


def bits_and_hits(chances: Numbers, right: NDArray[np.bool_]) -> tuple[Numbers, Numbers]:
    """Bits of any symbol that is right, and 1 where the symbol expected most is; each (events,).

    chances: (events, symbols); right: as well, or (1, symbols).
    """
    most = chances.argmax(1)[:, None]
    hit = np.take_along_axis(np.broadcast_to(right, chances.shape), most, axis=1)[:, 0]
    return -np.log2((chances * right).sum(1)), hit.astype(float)


def bin_by_distance(distance: Places, least: int) -> list[Places]:
    """Events from d to 2d together, nearest first; those of a bin with too few go to the next
    nearer one, and what is left of the nearest to the one beyond it."""
    power = np.floor(np.log2(distance)).astype(int)
    groups: list[Places] = []
    held = np.zeros(0, np.int64)
    for one in range(power.max(), -1, -1):
        held = np.append(held, np.flatnonzero(power == one))
        if len(held) >= least:
            groups.append(held)
            held = held[:0]
    groups[-1] = np.append(groups[-1], held)
    return groups[::-1]


def binned_curve(of: str, distance: Places, groups: Sequence[Places], values: Numbers) -> Curve:
    """The mean of each group with its standard error."""
    return Curve(
        name=of,
        x=[float(2 ** np.log2(distance[group]).mean()) for group in groups],
        y=[float(values[group].mean()) for group in groups],
        error=[float(values[group].std() / len(group) ** 0.5) for group in groups],
        count=[len(group) for group in groups],
    )


def summary_numbers(
    name: str, model: tuple[Numbers, Numbers], counts: tuple[Numbers, Numbers]
) -> Iterator[ScalarResult]:
    """How often all closers of a kind are expected most, and what the model saves on them."""
    (bits, hit), (bits_by_counts, hit_by_counts) = model, counts
    beside = f"the n-gram: {hit_by_counts.mean():.3f}"
    yield mean_with_interval(f"{name}: expected most", hit, f"of {len(hit):,}", beside)
    yield mean_with_interval(
        f"{name}: saved against the n-gram", bits_by_counts - bits, "bits per closer"
    )


def mean_with_interval(name: str, values: Numbers, unit: str, note: str = "") -> ScalarResult:
    """A mean, with its interval of 95 %."""
    mean, error = float(values.mean()), float(values.std() / len(values) ** 0.5)
    low, high = mean - 1.96 * error, mean + 1.96 * error
    return ScalarResult(name=name, value=mean, unit=unit, low=low, high=high, note=note)
