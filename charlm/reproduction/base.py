"""Anchors: published numbers, what measures ours, and the registry of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from charlm.comparison.entries import directory_name, run_directory_name
from charlm.config import validate_config
from charlm.data.corpus import Corpus
from charlm.errors import DivergedError
from charlm.evaluation.evaluate import evaluate
from charlm.progress import Progress
from charlm.registry import unknown_name_error
from charlm.results.tasks import LevelResult
from charlm.settings.values import Setting
from charlm.tasks.curriculum import train_curriculum
from charlm.training.session import train


class Workspace(NamedTuple):
    """Directory, text and progress with which an anchor is measured.

    Attributes:
        directory: Directory of its runs; what is finished there is not trained again.
        corpus: The text, if the anchor needs one.
        progress: Receiver of progress.
    """

    directory: Path
    corpus: Corpus | None
    progress: Progress


class Measurement(NamedTuple):
    """Our number; None if training diverged."""

    value: float | None
    seconds: float  # of training


Measure = Callable[[Workspace, int], Measurement]  # (workspace, seed) -> our number


class Claim(NamedTuple):
    """A published number.

    Attributes:
        name: Name within the anchor, such as that of a cell.
        published: The number; None: the source has a figure, and no number.
        criterion: Whether ours must be near the number, or at least or at most the bound.
        bound: The bound; for "near" the largest difference.
        measure: Returns ours.
    """

    name: str
    published: float | None
    criterion: Literal["near", "at least", "at most"]
    bound: float
    measure: Measure

    def is_met(self, value: float | None) -> bool:
        """Return whether our number agrees."""
        if value is None:
            return False
        if self.criterion == "near":
            assert self.published is not None
            return abs(value - self.published) <= self.bound
        return value >= self.bound if self.criterion == "at least" else value <= self.bound


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """Published numbers of one source and setting.

    Attributes:
        title: What is measured, in a few words.
        source: Authors, year and table.
        unit: Unit of the numbers.
        published_setting: The setting of the source.
        our_setting: Ours, and why it is another.
        claims: The numbers.
        known: What is known of numbers that are not met; empty if nothing is.
        minutes: About how long all claims take with one seed on one core.
        text: Name of the text that is needed.
        text_source: Where it is from: owner or address.
        text_sha256: SHA-256 of that text; empty: any text of that name is taken.
        text_settings: Settings that the text is read with.
        is_random: Whether ours depends on the seed.
    """

    title: str
    source: str
    unit: str
    published_setting: str
    our_setting: str
    claims: Sequence[Claim]
    minutes: float
    known: str = ""
    text: str = ""
    text_source: str = ""
    text_sha256: str = ""
    text_settings: Mapping[str, Setting] = field(default_factory=dict)
    is_random: bool = True


ANCHORS: dict[str, Anchor] = {}


def get_anchor(name: str) -> Anchor:
    """Return the anchor of this name.

    Raises:
        UnknownNameError: There is none; the message lists the names.
    """
    if name not in ANCHORS:
        raise unknown_name_error("anchor", name, ANCHORS)
    return ANCHORS[name]


def on_task(
    task: str,
    length: int,
    settings: Mapping[str, Setting],
    quantity: Callable[[LevelResult], float],
) -> Measure:
    """Return what trains a model on a task and measures a quantity of its test.

    Args:
        task: Name of the task.
        length: Length that is trained.
        settings: Settings of the model.
        quantity: Result -> our number.
    """

    def measure(workspace: Workspace, seed: int) -> Measurement:
        config = validate_config({**settings, "seed": seed})
        path = workspace.directory / directory_name(config, (task, length, config))
        report = train_curriculum(task, [length], config, path, workspace.progress)
        (level,) = report.levels
        value = None if level.test is None else float(quantity(level))
        return Measurement(value, level.seconds)

    return measure


def on_text(settings: Mapping[str, Setting], score: Literal["exact", "nanogpt"]) -> Measure:
    """Return what trains a model on the text, and scores its test split in nats per character.

    Args:
        settings: Settings of the model.
        score: "exact" reads it as one stream; "nanogpt" reads random windows, as that program does.
    """

    def measure(workspace: Workspace, seed: int) -> Measurement:
        assert workspace.corpus is not None
        corpus = workspace.corpus
        config = validate_config({**settings, **corpus.settings, "seed": seed})
        path = workspace.directory / run_directory_name(config, "", corpus.record)
        try:
            run = train(corpus, config, path, resume=True, progress=workspace.progress)
        except DivergedError:
            return Measurement(None, 0.0)
        report = run.report
        assert report is not None and report.score is not None
        nats = report.score.nats_per_char
        if score == "nanogpt":
            scored = evaluate(run, protocol=score, progress=workspace.progress)
            assert scored.as_program is not None
            nats = scored.as_program.nats_per_token
        return Measurement(nats, report.seconds)

    return measure
