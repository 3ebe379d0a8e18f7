"""Entries of a comparison and their planned runs; a run's directory is named by its settings."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from charlm.cells.loader import loaded_cell_sha256
from charlm.cells.names import cell_label, parse_custom_cell
from charlm.comparison.transformer_baseline import PARAMETER_TOLERANCE
from charlm.config import Config, option_metadata, to_argv
from charlm.errors import DataError
from charlm.execution.jobs import Job
from charlm.models.cell_options import may_have_option
from charlm.models.cost import count_parameters_and_state, flops_per_character
from charlm.results.comparison_plan import PlannedEntry, Role
from charlm.results.jobs import JobProgress
from charlm.results.text import CorpusRecord
from charlm.results.tuning import Settings
from charlm.runs.metrics import load_latest_metrics
from charlm.runs.run import Run, is_run
from charlm.settings.model import CELL_OPTIONS
from charlm.settings.values import Setting

WORKER_LOG_EVERY = 60  # seconds between lines in the log of a worker
# Settings that decide what is observed of a run, and change no bit of its model.
OBSERVING_SETTINGS = ("branches",)


@dataclass(frozen=True)
class PlannedRun:
    """A run of a comparison; its directory is named by everything that determines the run.

    Attributes:
        config: Its config.
        path: Its directory.
        max_steps: Its budget in optimizer steps.
        parameters: Of the model.
        state_size: Floats carried per stream.
        flops_per_character: Matrix products, forward.
    """

    config: Config
    path: Path
    max_steps: int
    parameters: int
    state_size: int
    flops_per_character: int

    def job(self, texts: Sequence[str], name: str) -> Job:
        """Return the job `charlm train` that begins or resumes this run."""
        path, config = str(self.path), self.config
        end = ["--log-every", str(WORKER_LOG_EVERY), "--", *texts]
        trust = ["--trust-cell", config.cell] if parse_custom_cell(config.cell) else []
        return Job(
            name,
            self.path,
            ["train", *to_argv(config), "--run", path, *end],
            self.progress,
            ["train", "--resume", path, *to_argv(config, exclude=("cell",)), *trust, *end],
        )

    def progress(self) -> JobProgress:
        """Return how far the run is, according to its directory.

        Raises:
            DataError: The run there has another text or cell.
        """
        if not is_run(self.path):
            return JobProgress()
        run = Run(self.path)
        record = run.record
        name = run_directory_name(self.config, record.cell_sha256, record.text)
        if name != self.path.name or record.initial_weights:
            raise DataError(
                f"cannot use {self.path}: it has another text, cell or start than this comparison. "
                "Try to remove it, after making sure that every machine has the same files (for a "
                "built-in corpus, the same Python)"
            )
        step, bits = load_latest_metrics(self.path)
        if run.report:
            return JobProgress("finished", record.max_steps, record.max_steps, bits)
        return JobProgress("diverged" if run.diverged else "", step, record.max_steps, bits)


@dataclass(frozen=True)
class Entry:
    """A row of a comparison: a cell that is judged, or the Transformer, which is not.

    Attributes:
        name: Label in tables and reports.
        role: Whether it is judged.
        relative_error: Of the matched budget; None where it was not matched by that budget.
        runs: One per seed, in the order of seeds; of the Transformer only the first.
    """

    name: str
    role: Role
    relative_error: float | None
    runs: tuple[PlannedRun, ...]

    def with_settings(self, settings: Sequence[Settings], corpus: CorpusRecord) -> "Entry":
        """Return the entry with settings of each run that do not change the size of its model."""
        runs = zip(self.runs, settings, strict=True)
        return replace(self, runs=tuple(with_overrides(run, own, corpus) for run, own in runs))

    def summary(self, seconds_per_step: float | None = None) -> PlannedEntry:
        """Return its size and speed as reports show them."""
        run = self.runs[0]
        tokens = run.config.batch_size * run.config.seq_len
        return PlannedEntry(
            name=self.name,
            role=self.role,
            hidden_size=run.config.hidden_size,
            parameters=run.parameters,
            flops_per_character=run.flops_per_character,
            state_size=run.state_size,
            learning_rate=run.config.learning_rate,
            batch_size=run.config.batch_size,
            max_steps=run.max_steps,
            seconds_per_million=seconds_per_step and 1e6 * seconds_per_step / tokens,
            relative_error=self.relative_error,
            tolerance=PARAMETER_TOLERANCE if self.role == "transformer" else None,
        )


def plan_runs(
    configs: Sequence[Config], corpus: CorpusRecord, vocabulary_size: int, directory: Path
) -> tuple[PlannedRun, ...]:
    """Return the runs with these configs, which have a budget in characters: a pure function."""
    return tuple(
        PlannedRun(
            config,
            run_path(config, corpus, directory / "runs"),
            steps_of(config),
            *count_parameters_and_state(config, vocabulary_size),
            flops_per_character(config, vocabulary_size),
        )
        for config in configs
    )


def steps_of(config: Config) -> int:
    """Return the optimizer steps of a run with a budget in characters."""
    return config.characters // (config.batch_size * config.seq_len)


def with_overrides(
    run: PlannedRun,
    settings: Mapping[str, Setting],
    corpus: CorpusRecord,
    parent: Path | None = None,
) -> PlannedRun:
    """Return the run with settings that do not change its size, in `parent` or beside it."""
    config = msgspec.structs.replace(run.config, **settings)
    path = run_path(config, corpus, parent or run.path.parent)
    return replace(run, config=config, path=path, max_steps=steps_of(config))


def by_seed(entries: Sequence[Entry]) -> list[tuple[Entry, PlannedRun]]:
    """Return the runs of entries, all of the first seed first.

    A run that two entries share is there once, as where attention is among the cells.
    """
    unique: dict[Path, tuple[Entry, PlannedRun]] = {}
    for number in range(max(len(entry.runs) for entry in entries)):
        for entry in entries:
            for run in entry.runs[number : number + 1]:
                unique.setdefault(run.path, (entry, run))
    return list(unique.values())


def finished_runs(entries: Sequence[Entry]) -> list[Run]:
    """Return the runs that have finished and did not diverge."""
    runs = [Run(run.path) for _, run in by_seed(entries)]
    return [run for run in runs if run.report]


def shared_settings(configs: Sequence[Config], without: Sequence[str] = ()) -> dict[str, Setting]:
    """Return the settings that all configs share and that determine the result of a run.

    Cell, sizes and seed, by which the runs of a comparison differ, are left out. So are those that
    decide what is observed of a run, not the run itself. An option of cells is shared if those
    that have it agree.
    """
    first, *others = map(msgspec.to_builtins, configs)
    varying = {"cell", "hidden_size", "seed", *OBSERVING_SETTINGS, *without}
    if first["tie_weights"]:
        varying.add("embedding_dim")
    shared = {
        name: value
        for name, value in first.items()
        if name not in (*varying, *CELL_OPTIONS)
        and not option_metadata(name).can_change
        and all(other[name] == value for other in others)
    }
    for name in CELL_OPTIONS:
        values = {getattr(each, name) for each in configs if may_have_option(each.cell, name)}
        if len(values) == 1:
            shared[name] = values.pop()
    return shared


def directory_name(config: Config, key: Any) -> str:
    """Return a directory name: cell, seed, and a hash of `key`, which determines the content."""
    digest = hashlib.sha256(msgspec.json.encode(key)).hexdigest()
    return f"{cell_label(config.cell)}-s{config.seed}-{digest[:8]}"


def run_directory_name(config: Config, cell_sha256: str, corpus: CorpusRecord) -> str:
    """Return the name of a run's directory; where texts and custom cells are does not matter."""
    settings = to_argv(config, with_changeable=False, exclude=("cell",))
    cell = cell_label(config.cell), cell_sha256
    return directory_name(config, (cell, settings, corpus.digest, corpus.splits))


def run_path(config: Config, corpus: CorpusRecord, parent: Path) -> Path:
    """Return the directory of the run with this config."""
    return parent / run_directory_name(config, loaded_cell_sha256(config.cell), corpus)


class HasConfig(Protocol):
    """Anything with a config."""

    @property
    def config(self) -> Config:
        """Its config."""
        ...


Planned = TypeVar("Planned", bound=HasConfig)


def group_by_cell(planned: Sequence[Planned]) -> dict[str, list[Planned]]:
    """Return label of the cell -> its runs or curricula, in order."""
    cells: dict[str, list[Planned]] = {}
    for item in planned:
        cells.setdefault(cell_label(item.config.cell), []).append(item)
    return cells
