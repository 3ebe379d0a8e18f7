"""Verification of runs: every file is read and checked, no code is executed, no text is opened."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from charlm.config import FORMAT_VERSION
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.results.run import Divergence, RunReport
from charlm.results.training import StepMetrics, TrainingProgress
from charlm.results.verification import (
    FileProblem,
    RunVerification,
    Verification,
    VerifiedCheckpoint,
)
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.checkpoint_files import (
    BEFORE_DECAY,
    CHECKPOINT_FILES,
    REPORT_FILE,
    RUN_METADATA_FILES,
    STEP_NAME,
    is_damaged,
    list_checkpoints,
)
from charlm.runs.listing import DIVERGED_FILE, find_runs, natural_order
from charlm.runs.metrics import (
    EVENTS_FILE,
    METRICS_FILE,
    check_metrics_before,
    iter_events,
    iter_metrics,
)
from charlm.runs.run import Run
from charlm.storage import files
from charlm.storage.json_files import read_json
from charlm.storage.lock import LOCK_FILE
from charlm.storage.reading import list_names, path_exists
from charlm.storage.usage import measure_usage

FOLDERS = ("checkpoints", BEFORE_DECAY)
RUN_FILES = {*RUN_METADATA_FILES, METRICS_FILE, EVENTS_FILE, REPORT_FILE, DIVERGED_FILE, LOCK_FILE}


def verify(directories: str | Path | Sequence[str | Path]) -> Verification:
    """Check every file of all runs at or below directories.

    Args:
        directories: A directory or several; each may be a run itself.

    Raises:
        InputNotFoundError: A directory does not exist, or none has a run.
        StorageError: A file cannot be read now, which says nothing about its content.
    """
    given = [directories] if isinstance(directories, str | Path) else directories
    found: dict[str, Path] = {}
    for directory in map(Path, given):
        for path in find_runs(directory):
            found.setdefault(os.path.realpath(path), path)
    if not found:
        raise InputNotFoundError(
            f"cannot verify {', '.join(map(str, given))}: there is no run in it. Try charlm runs "
            "for a list"
        )
    runs = tuple(RunVerifier(path).verify() for path in sorted(found.values(), key=natural_order))
    intact = not any(run.problems for run in runs)
    return Verification(format=FORMAT_VERSION, intact=intact, runs=runs)


class RunVerifier:
    """Verification of one run.

    Attributes:
        path: Its directory.
        problems: What is wrong so far.
        intact: Intact checkpoints by folder and step.
        damaged: Folder and step of the others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[FileProblem] = []
        self.intact: dict[tuple[str, int], TrainingProgress] = {}
        self.resumable: set[tuple[str, int]] = set()
        self.damaged: list[tuple[str, int]] = []

    def verify(self) -> RunVerification:
        """Return what is wrong with the run."""
        run: Run | None = None
        with self._noted(""):
            run = Run(self.path)
        number = self._check_entries(self.path, "", self._is_run_entry)
        for folder in FOLDERS:
            if path_exists(self.path / folder):
                number += self._check_entries(
                    self.path / folder, folder, lambda name: bool(STEP_NAME.fullmatch(name))
                )
        if run:
            self._check_run(run)
        weights, last = self._usable(run)
        checkpoints = sorted([*self.intact, *self.damaged])
        return RunVerification(
            path=str(self.path),
            files=number,
            size=measure_usage(self.path).size,
            problems=tuple(dict.fromkeys(self.problems)),
            checkpoints=tuple(
                VerifiedCheckpoint(
                    folder=folder,
                    step=step,
                    intact=(folder, step) in self.intact,
                    has_state=(folder, step) in self.resumable,
                )
                for folder, step in checkpoints
            ),
            best_step=weights,
            last_step=last,
            custom_cell=run is not None and run.reader.layout is None,
        )

    @contextmanager
    def _noted(self, file: str) -> Iterator[None]:
        """Note what is wrong with a file instead of raising it."""
        try:
            yield
        except (DataError, ConfigError) as error:
            self._note(file, str(error))

    def _note(self, file: str, problem: str) -> None:
        self.problems.append(FileProblem(file=file, problem=problem))

    def _check_entries(self, directory: Path, name: str, belongs: Callable[[str], bool]) -> int:
        """Note what in a directory is no part of a run; return the number of its files."""
        number = 0
        entries: list[str] = []
        with self._noted(name):
            entries = list_names(directory)
        for entry in entries:
            shown = os.path.join(name, entry)
            if files.TEMP_NAME.fullmatch(entry) or is_damaged(entry):
                continue  # what a killed process left, and what was found damaged before
            try:
                mode = os.lstat(directory / entry).st_mode
            except FileNotFoundError:
                continue  # another process has just removed it
            is_folder = bool(STEP_NAME.fullmatch(entry)) or entry in FOLDERS
            if not belongs(entry):
                self._note(shown, "it is no part of a run. Try to move it elsewhere")
            elif not (stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode)):
                kind = "directory" if is_folder else "regular file"
                self._note(shown, f"it is no {kind}. Try a copy of the run with its real content")
            elif not is_folder:
                number += 1
            elif entry not in FOLDERS:
                inner = {*CHECKPOINT_FILES, "manifest.json"}
                number += self._check_entries(directory / entry, shown, inner.__contains__)
        return number

    def _is_run_entry(self, name: str) -> bool:
        return name in RUN_FILES or name in FOLDERS

    def _check_run(self, run: Run) -> None:
        """Note what is wrong with checkpoints, logs and report."""
        reader = run.reader
        for folder in FOLDERS:
            steps: dict[int, Path] = {}
            with self._noted(folder):
                steps = list_checkpoints(run.path, folder)
            for step, path in steps.items():
                found: Checkpoint | None = None
                with self._noted(os.path.join(folder, path.name)):
                    suffices = run.is_finished and folder == "checkpoints"
                    try:
                        found = reader.read(path, weights_suffice=suffices)
                    except DataError:
                        if path_exists(path):
                            raise
                        continue  # another process has just removed it
                if found is None:
                    self.damaged.append((folder, step))
                    continue
                self.intact[folder, step] = found.progress
                if "training" in found.tensors:
                    self.resumable.add((folder, step))
        report: RunReport | None = None
        with self._noted(REPORT_FILE):
            report = run.report
        if report:
            self._check_report(run, report)
        if run.diverged:
            with self._noted(DIVERGED_FILE):
                read_json(run.path / DIVERGED_FILE, Divergence)
        self._check_logs(run, is_finished=report is not None)

    def _check_report(self, run: Run, report: RunReport) -> None:
        """Note where the report contradicts the settings or the weights."""
        config, record = run.record.config, run.record
        expected = {
            "cell": config.cell,
            "hidden_size": config.hidden_size,
            "num_layers": config.num_layers,
            "parameters": record.parameters,
            "state_size": record.state_size,
            "seed": config.seed,
            "steps": record.max_steps,
            "scored_split": config.final_eval,
        }
        for name, value in expected.items():
            if getattr(report, name) != value:
                self._note(
                    REPORT_FILE,
                    f"{name} is {getattr(report, name)}, and {value} in run.json. Try a copy of it",
                )
        if report.best_step is not None and not path_exists(
            run.path / "checkpoints" / f"step-{report.best_step:08d}"
        ):
            self._note("checkpoints", "the weights of the report are missing. Train the run again")

    def _check_logs(self, run: Run, *, is_finished: bool) -> None:
        """Note where metrics or events are damaged or incomplete."""
        budget, step = run.record.max_steps, 0
        with self._noted(METRICS_FILE):
            for metrics in iter_metrics(run.path):
                if isinstance(metrics, StepMetrics):
                    if metrics.step != step + 1:
                        self._note(METRICS_FILE, f"step {step + 1} is missing. Try a copy of it")
                    step = metrics.step
            if is_finished and step != budget:
                self._note(METRICS_FILE, f"it ends at step {step}, not {budget}. Try a copy of it")
            for (folder, _), progress in self.intact.items():
                if folder == "checkpoints":
                    check_metrics_before(run.path, progress)
        with self._noted(EVENTS_FILE):
            saved = {e.step for e in iter_events(run.path) if e.event == "checkpointed"}
            if is_finished and budget not in saved:
                self._note(EVENTS_FILE, "its last lines are missing. Try a copy of it")

    def _usable(self, run: Run | None) -> tuple[int | None, int | None]:
        """Return the steps whose weights would be used, and that would be continued from."""
        steps = [step for folder, step in self.intact if folder == "checkpoints"]
        if run is None or not steps:
            return None, None
        newest = max(steps)
        best = self.intact["checkpoints", newest].best_step
        is_resumable = ("checkpoints", newest) in self.resumable
        return best if best in steps else newest, newest if is_resumable else None
