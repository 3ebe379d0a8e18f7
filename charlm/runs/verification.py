"""Verification of runs: every file is read and checked, no code is executed, no text is opened."""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from charlm.config import FORMAT_VERSION
from charlm.errors import ConfigError, DataError
from charlm.results.run import Divergence, RunReport
from charlm.results.training import StepMetrics, TrainingProgress
from charlm.results.verification import (
    FileNote,
    FileNoteKind,
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
from charlm.runs.listing import DIVERGED_FILE
from charlm.runs.metrics import (
    EVENTS_FILE,
    METRICS_FILE,
    check_metrics_before,
    iter_events,
    iter_metrics,
)
from charlm.runs.results_verification import verify_results
from charlm.runs.run import Run
from charlm.runs.verification_search import search_runs
from charlm.storage import files
from charlm.storage.json_files import read_json
from charlm.storage.lock import LOCK_FILE
from charlm.storage.reading import FileError, file_type, list_names, path_exists
from charlm.storage.usage import measure_usage

FOLDERS = ("checkpoints", BEFORE_DECAY)
RUN_FILES = {*RUN_METADATA_FILES, METRICS_FILE, EVENTS_FILE, REPORT_FILE, DIVERGED_FILE, LOCK_FILE}


def verify(directories: str | Path | Sequence[str | Path]) -> Verification:
    """Check every file of all runs at or below directories, and the results there.

    Results are those of comparisons, of curricula on tasks, and of probes.

    Args:
        directories: A directory or several; each may be a run or results itself.

    Raises:
        InputNotFoundError: A directory does not exist, or none has a run or results.
        StorageError: A file cannot be read now, which says nothing about its content.
    """
    given = [directories] if isinstance(directories, str | Path) else directories
    found = search_runs([Path(directory) for directory in given])
    runs = tuple(RunVerifier(path).verify() for path in found.runs)
    results = tuple(verify_results(path, kind) for path, kind in found.results)
    problems = [*(run.problems for run in runs), *(result.problems for result in results)]
    intact = not any(problems)
    notes = tuple(
        FileNote(file=str(path), kind="link", text="it is a symbolic link, which is not followed")
        for path in found.links
    )
    return Verification(
        format=FORMAT_VERSION, intact=intact, runs=runs, results=results, notes=notes
    )


class RunVerifier:
    """Verification of one run.

    Attributes:
        path: Its directory.
        problems: What is wrong so far.
        notes: What is harmless so far.
        intact: Intact checkpoints by folder and step.
        resumable: Folder and step of those that training can go on from.
        damaged: Folder and step of checkpoints that are not intact.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[FileNote] = []
        self.notes: list[FileNote] = []
        self.intact: dict[tuple[str, int], TrainingProgress] = {}
        self.resumable: set[tuple[str, int]] = set()
        self.damaged: list[tuple[str, int]] = []

    def verify(self) -> RunVerification:
        """Return what is wrong with the run."""
        run, number = self._open(), 0
        if not any(problem.kind == "format" for problem in self.problems):
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
            notes=tuple(self.notes),
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
            longer_step=self._longer_step(run),
            custom_cell=run is not None and run.reader.layout is None,
        )

    @contextmanager
    def _noted(self, file: str) -> Iterator[None]:
        """Note what is wrong with a file instead of raising it.

        Args:
            file: Its path in the run, unless the error names another.
        """
        try:
            yield
        except FileError as error:
            self._note(os.path.relpath(error.path, self.path), error.cause, error.kind)
        except (DataError, ConfigError) as error:
            self._note(file, str(error))

    def _note(self, file: str, text: str, kind: FileNoteKind = "damaged") -> None:
        self.problems.append(FileNote(file=file, kind=kind, text=text))

    def _open(self) -> Run | None:
        """Return the run; None if what never changes in it cannot be used."""
        if not path_exists(self.path / "run.json"):
            self._note("run.json", "it is missing, but checkpoints/ is there", "missing")
            return None
        with self._noted("run.json"):
            try:
                return Run(self.path)
            except ConfigError as error:
                cause = str(error).removeprefix(f"cannot open {self.path}: ")
                self._note("run.json", cause, "format")
        return None

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
            is_plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
            if is_plain and not belongs(entry):
                text = f"it is {file_type(mode)} that is no part of a run"
                self.notes.append(FileNote(file=shown, kind="foreign", text=text))
            elif not is_plain or stat.S_ISDIR(mode) != is_folder:
                kind: FileNoteKind = "link" if stat.S_ISLNK(mode) else "special"
                self._note(shown, f"it is {file_type(mode)}", kind)
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
        # Checkpoints contradict settings that were changed; whatever else does is no news.
        is_changed = any(problem.file in RUN_METADATA_FILES for problem in self.problems)
        if report and not is_changed:
            self._check_report(run, report)
        if run.diverged:
            with self._noted(DIVERGED_FILE):
                read_json(run.path / DIVERGED_FILE, Divergence)
        self._check_logs(run, is_finished=report is not None and not is_changed)

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
                    REPORT_FILE, f"its {name} is {getattr(report, name)}, and {value} in run.json"
                )
        if report.best_step is not None and not path_exists(
            run.path / "checkpoints" / f"step-{report.best_step:08d}"
        ):
            self._note("checkpoints", "the weights of the report are missing", "missing")

    def _check_logs(self, run: Run, *, is_finished: bool) -> None:
        """Note where metrics or events are damaged or incomplete."""
        budget, step = run.record.max_steps, 0
        with self._noted(METRICS_FILE):
            for metrics in iter_metrics(run.path):
                if isinstance(metrics, StepMetrics):
                    if metrics.step != step + 1:
                        self._note(METRICS_FILE, f"step {step + 1} is missing")
                    step = metrics.step
            if is_finished and step != budget:
                self._note(METRICS_FILE, f"it ends at step {step}, not {budget}")
        for found, progress in self.intact.items():
            if found[0] == "checkpoints":
                number = len(self.problems)
                with self._noted(METRICS_FILE):
                    check_metrics_before(run.path, progress)
                if len(self.problems) > number:
                    self.resumable.discard(found)
        with self._noted(EVENTS_FILE):
            saved = {e.step for e in iter_events(run.path) if e.event == "checkpointed"}
            if is_finished and budget not in saved:
                self._note(EVENTS_FILE, "its last lines are missing")

    def _usable(self, run: Run | None) -> tuple[int | None, int | None]:
        """Return the steps whose weights would be used, and that would be continued from."""
        steps = [step for folder, step in self.intact if folder == "checkpoints"]
        if run is None or not steps:
            return None, None
        newest = max(steps)
        best = self.intact["checkpoints", newest].best_step
        is_resumable = ("checkpoints", newest) in self.resumable
        return best if best in steps else newest, newest if is_resumable else None

    def _longer_step(self, run: Run | None) -> int | None:
        """Return the step of before-decay that a longer budget would go on from."""
        steps = [step for folder, step in self.resumable if folder == BEFORE_DECAY]
        # Its logs and its report are read then; only checkpoints may be damaged.
        is_usable = all(
            problem.file.startswith("checkpoints") and problem.kind in ("damaged", "missing")
            for problem in self.problems
        )
        if run is None or run.diverged or run.record.config.lr_schedule != "wsd":
            return None
        return max(steps) if steps and is_usable else None
