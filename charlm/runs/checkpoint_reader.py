"""Choice of a checkpoint: the best or the newest that is intact, also while the run is written."""

import logging
from contextlib import suppress
from pathlib import Path

from charlm.errors import CharlmError, ConfigError, DataError
from charlm.models.tensor_layout import TensorLayout
from charlm.runs.checkpoint import Checkpoint, CheckpointName, load_checkpoint
from charlm.runs.checkpoint_files import BEFORE_DECAY, REPORT_FILE, damaged, list_checkpoints
from charlm.storage.paths import path_word
from charlm.storage.reading import MissingFileError, path_exists

REMEDIES = (". Train the run again", ". Restore it from a backup")
logger = logging.getLogger("charlm")


class CheckpointReader:
    """Reader of the checkpoints of a run.

    Attributes:
        path: Directory of the run.
        max_steps: Its budget in optimizer steps.
        layout: Tensors of its checkpoints; None if they cannot be told.
        problems: Step -> what is wrong with its checkpoint, of those that were tried.
    """

    def __init__(self, path: Path, max_steps: int, layout: TensorLayout | None) -> None:
        self.path, self.max_steps, self.layout = path, max_steps, layout
        self.problems: dict[int, str] = {}

    def read(self, path: Path, *, weights_suffice: bool = False) -> Checkpoint:
        """Read a checkpoint of the run, and verify it.

        Args:
            path: Its directory.
            weights_suffice: Whether the state of the optimizer may be missing.

        Raises:
            DataError: It is damaged, or does not belong to this run.
            StorageError: It cannot be read now, which says nothing about its content.
        """
        found = load_checkpoint(
            path, self.path, weights_suffice=weights_suffice, layout=self.layout
        )
        step, best_step = found.progress.step, found.progress.best_step
        if not (best_step or 0) <= step <= self.max_steps:
            raise damaged(path, "its step is none of the run")
        return found

    def load(self, which: CheckpointName) -> Checkpoint:
        """Return the best or the newest checkpoint.

        If it is damaged, it is the newest intact one, and a warning is logged.

        Raises:
            ConfigError: The last checkpoint was not kept.
            DataError: No checkpoint is intact.
            StorageError: A checkpoint cannot be read now, which says nothing about its content.
        """
        result = newest = self._load_newest()
        is_kept = "training" in newest.tensors or newest.progress.step == self.max_steps
        if which == "last" and not is_kept:
            raise ConfigError(
                f"cannot read the last checkpoint of {self.path}: the finished run has kept its "
                f"best weights alone, of step {newest.progress.step}. Try --checkpoint best, or "
                "train with --keep all"
            )
        if which == "best":
            result = self._load_best(newest)
        for problem in self.problems.values():
            logger.warning("%s; using step %d instead", problem, result.progress.step)
        return result

    def _load_newest(self) -> Checkpoint:
        """Return the newest intact checkpoint."""
        while True:
            # Another process may be writing the run: so the list is read anew each time.
            steps = [step for step in self._list() if step not in self.problems]
            if not steps:
                raise self._nothing_intact()
            if found := self._try(max(steps)):
                return found

    def _nothing_intact(self) -> DataError:
        """Return the error of a run without an intact checkpoint."""
        if self.problems:
            first = next(iter(self.problems.values()))
            problem = f"{first}, and no other checkpoint is intact"
        elif path_exists(self.path / REPORT_FILE):
            problem = f"cannot read {self.path}: it has finished, but its weights are missing"
        else:
            return DataError(
                f"cannot read {self.path}: it has no checkpoint yet. Let charlm train reach its "
                "first"
            )
        remedy = "Train the run again"
        with suppress(CharlmError):
            states = list_checkpoints(self.path, BEFORE_DECAY)
            if states:
                self.read(states[max(states)])
                remedy = (
                    "Its state before the decay is intact. Go on from it with a larger budget, "
                    f"such as charlm train --resume {path_word(self.path)} --max-steps "
                    f"{2 * self.max_steps} --run NEW"
                )
        return DataError(f"{problem}. {remedy}")

    def _load_best(self, newest: Checkpoint) -> Checkpoint:
        """Return the best checkpoint; the newest one if it is damaged."""
        step = newest.progress.best_step
        while step not in (None, newest.progress.step, *self.problems):
            assert step is not None
            if step in self._list():
                if found := self._try(step):
                    return found
                continue
            newest = self._load_newest()  # a better one may have replaced it meanwhile
            if newest.progress.best_step == step and step not in self._list():
                self.problems[step] = f"{self.path} has lost its best checkpoint, of step {step}"
            step = newest.progress.best_step
        return newest

    def _try(self, step: int) -> Checkpoint | None:
        """Return a checkpoint; None if it is damaged, or another process has just removed it."""
        report = self.path / REPORT_FILE
        was_finished, path = path_exists(report), self._list().get(step)
        if path is None:
            return None
        try:
            return self.read(path, weights_suffice=was_finished)
        except DataError as error:
            is_changed = not path_exists(path) or path_exists(report) > was_finished
            if not (isinstance(error, MissingFileError) and is_changed):
                problem = str(error)
                for remedy in REMEDIES:  # there may be another one
                    problem = problem.removesuffix(remedy)
                self.problems[step] = problem
            return None

    def _list(self) -> dict[int, Path]:
        return list_checkpoints(self.path)
