"""Difference of two runs on one text: how large, on which characters, and where.

Bits of the same text can be compared across vocabularies, since each score is the length of a code
for it: an unknown character is named among all of Unicode, and the bits of a character's bytes add
up.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from charlm.comparison.passages import (
    DISTANCE_GROUPS,
    character_differences,
    distances_to_last_occurrence,
    largest_passages,
)
from charlm.comparison.text_bootstrap import text_interval
from charlm.data.corpus import Sources
from charlm.errors import DataError, InvalidValueError
from charlm.evaluation.blocks import Numbers
from charlm.evaluation.characters import CharacterCosts
from charlm.evaluation.classes import CLASSES, LAST_POSITION, WORD_POSITIONS, CharacterClassifier
from charlm.evaluation.evaluate import score_opened
from charlm.evaluation.scored_text import open_scored_text
from charlm.execution.device import select_device
from charlm.progress import NoProgress, Progress
from charlm.results.difference import (
    CharacterDifference,
    DifferenceSide,
    GroupDifference,
    RunDifference,
    TextPart,
)
from charlm.results.run import Score
from charlm.results.text import TextNote
from charlm.runs.restore import load_model
from charlm.runs.run import Run, open_run

PASSAGES = 5  # each way, by default
MAX_PASSAGES = 100  # each way: each is a search in the whole text
PARTS = 50
DifferenceSink = Callable[[tuple[CharacterDifference, ...]], object]
SINK_LENGTH = 1 << 14  # characters that are passed on at once


class ScoredRun(NamedTuple):
    """A run and its costs of a text.

    Attributes:
        side: The run and its score.
        score: Its exact score.
        text: Text, character by character.
        bits: Bits of each character, (characters,).
        is_unknown: Whether the vocabulary lacks it, (characters,).
        notes: Oddities of the text.
        split: Split that the text is; None for another text.
    """

    side: DifferenceSide
    score: Score
    text: str
    bits: Numbers
    is_unknown: np.ndarray[tuple[int], np.dtype[np.bool_]]
    notes: tuple[TextNote, ...]
    split: str | None


def diff(
    run_a: Run | str | Path,
    run_b: Run | str | Path,
    text: str | Path | None = None,
    *,
    passages: int = PASSAGES,
    device: str = "auto",
    threads: int = 1,
    sources: Sources = (),
    per_char: DifferenceSink | None = None,
    max_per_char: int | None = None,
    progress: Progress = NoProgress(),
) -> RunDifference:
    """Compare two runs on one text: where does one need more bits than the other?

    Args:
        run_a: Run, or its directory.
        run_b: Run that it is compared with. Both may have different vocabularies.
        text: File, directory or built-in corpus; None: the test split, which must be the same.
        passages: Passages with the largest differences, each way; at most 100.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        threads: Threads on a CPU.
        sources: Where the corpus of the runs is now, if it was moved.
        per_char: Is called with consecutive characters and their bits to both runs.
        max_per_char: Characters at the beginning that it is called with; None: all.
        progress: Receives numbers of bytes read, then of tokens scored.

    Raises:
        InvalidValueError: `passages` is below 0 or above 100.
        DataError: The runs have different test splits, or the text is not UTF-8 and one of them
            reads characters.
        InputNotFoundError: The text or a checkpoint cannot be found.
        DivergedError: A score is not finite.
    """
    if not 0 <= passages <= MAX_PASSAGES:
        raise InvalidValueError(
            f"cannot show {passages:,} passages: from 0 to {MAX_PASSAGES} can be. Try {PASSAGES}"
        )
    a, b = (
        _score(open_run(run), text, device, threads, sources, progress) for run in (run_a, run_b)
    )
    if a.score.text_sha256 != b.score.text_sha256:
        raise DataError(
            f"cannot compare {a.side.run} with {b.side.run}: their test splits are different "
            "texts. Try a TEXT that neither was trained on"
        )
    assert a.text == b.text
    if per_char is not None:
        end = len(a.text) if max_per_char is None else min(max_per_char, len(a.text))
        for start in range(0, end, SINK_LENGTH):
            part = slice(start, min(start + SINK_LENGTH, end))
            per_char(character_differences(a.text[part], a.bits[part], b.bits[part]))
    # Units of characters: those of a run that reads characters, if there is one.
    units = min((a, b), key=lambda scored: scored.side.vocabulary_kind == "bytes").score
    edges = np.concatenate(([0], np.cumsum(units.block_lengths)))
    differences = a.bits - b.bits
    interval = text_interval(
        _sums(differences, edges), np.diff(edges).astype(float), units.unit_kind == "block"
    )
    classes, places = CharacterClassifier().classify(a.text)
    places = np.minimum(places, LAST_POSITION) - 1
    distances = distances_to_last_occurrence(a.text)
    is_unknown = a.is_unknown | b.is_unknown
    length = len(a.text)
    return RunDifference(
        a=a.side,
        b=b.side,
        split=a.split,
        text_sha256=a.score.text_sha256,
        characters=length,
        difference=math.fsum(differences) / length,
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        unit_kind=units.unit_kind,
        units=len(units.block_lengths),
        a_better=float((differences < 0).mean()),
        unknown_contribution=math.fsum(differences[is_unknown]) / length,
        by_class=_groups(CLASSES, classes, a.bits, b.bits),
        by_word_position=_groups(WORD_POSITIONS, places, a.bits, b.bits),
        by_distance=_groups(DISTANCE_GROUPS, distances, a.bits, b.bits),
        parts=_parts(differences),
        a_loses=largest_passages(a.text, a.bits, b.bits, passages, 1),
        b_loses=largest_passages(a.text, a.bits, b.bits, passages, -1),
        # Characters that a vocabulary lacks are counted for each run.
        notes=tuple(note for note in dict.fromkeys((*a.notes, *b.notes)) if note.kind != "unseen"),
    )


def _score(
    run: Run,
    text: str | Path | None,
    device: str,
    threads: int,
    sources: Sources,
    progress: Progress,
) -> ScoredRun:
    """Score a text with a run, and keep the bits of each character."""
    device, _ = select_device(device, threads)
    weights, model = load_model(run, "best", "auto", device, threads)
    scored = open_scored_text(run, "test", text, sources, progress)
    pieces: list[str] = []
    bits: list[Numbers] = []

    def receive(text: str, costs: Numbers) -> None:
        pieces.append(text)
        bits.append(costs)

    start, end = scored.span
    kind = run.vocabulary.kind
    costs = CharacterCosts(scored.encoding, start, kind, lambda c: receive(c.text, c.bits))
    with progress.counter(f"scoring with {run.path.name}", end - start) as count:
        score = score_opened(model, run.vocabulary, scored, count, watch=costs.add)
    costs.finish()
    whole, all_bits = "".join(pieces), np.concatenate(bits)
    is_unknown = np.zeros(len(whole), bool)
    if run.vocabulary.unk_id is not None:
        is_unknown = np.asarray(scored.encoding.ids[start:end] == run.vocabulary.unk_id)
    side = DifferenceSide(
        run=str(run.path),
        cell=run.record.config.cell,
        vocabulary_kind=kind,
        weights_sha256=weights.sha256,
        bits_per_char=math.fsum(all_bits) / len(whole),
        unknown_characters=int(is_unknown.sum()),
    )
    return ScoredRun(side, score, whole, all_bits, is_unknown, scored.notes, scored.split)


def _sums(values: Numbers, edges: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Numbers:
    """Return the sum of values between consecutive edges, some of which may be equal."""
    totals = np.concatenate(([0.0], np.cumsum(values)))
    return totals[edges[1:]] - totals[edges[:-1]]


def _groups(
    names: tuple[str, ...],
    groups: np.ndarray[tuple[int], np.dtype[np.int64]],
    bits_a: Numbers,
    bits_b: Numbers,
) -> tuple[GroupDifference, ...]:
    """Return the difference of each group of characters; those below 0 are in none."""
    is_in = groups >= 0
    counts = np.bincount(groups[is_in], minlength=len(names))
    sums_a, sums_b = (
        np.bincount(groups[is_in], bits[is_in], len(names)) for bits in (bits_a, bits_b)
    )
    return tuple(
        GroupDifference(
            name=name,
            characters=int(count),
            bits_a=float(a / count) if count else None,
            bits_b=float(b / count) if count else None,
            difference=float((a - b) / count) if count else None,
            contribution=float((a - b) / len(groups)),
        )
        for name, count, a, b in zip(names, counts, sums_a, sums_b, strict=True)
    )


def _parts(differences: Numbers) -> tuple[TextPart, ...]:
    """Return the difference along the text, in at most 50 equal parts."""
    length = len(differences)
    edges = np.arange(min(PARTS, length) + 1) * length // min(PARTS, length)
    return tuple(
        TextPart(start=int(start), difference=float(differences[start:end].mean()))
        for start, end in pairwise(edges)
    )
