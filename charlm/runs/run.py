"""Run directory: settings, vocabulary, metrics, events, checkpoints and the final report.

run.json         settings, text, resolved budget and kernel, environment; never changes
vocabulary.json  tokens of the model: a run can be moved or sent
metrics.jsonl    one line per step or validation; the same bytes however often it was resumed
events.jsonl     starts, checkpoints and stops, with times
checkpoints/     step-00000100/{model,training}.safetensors, progress.json, manifest.json
before-decay/    checkpoint before the learning rate decays, which a longer budget goes on from
report.json      final results; it exists once the run is finished
diverged.json    instead of it: why the run has no report
"""

import logging
from pathlib import Path
from typing import get_args

import msgspec
import torch

from charlm.cells import loader
from charlm.cells.names import parse_custom_cell
from charlm.config import FORMAT_VERSION
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.execution.device import select_device
from charlm.models.char_lm import CharLM
from charlm.models.tensor_layout import expected_layout
from charlm.results.run import Divergence, RunRecord, RunReport
from charlm.results.training import TrainingProgress
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint, CheckpointName, Tensors
from charlm.runs.checkpoint_files import (
    BEFORE_DECAY,
    REPORT_FILE,
    list_checkpoints,
    remove_surplus_files,
    set_aside,
)
from charlm.runs.checkpoint_reader import CheckpointReader
from charlm.runs.listing import DIVERGED_FILE, FormatHeader, format_error, read_report
from charlm.runs.restore import load_model
from charlm.storage import directories, files
from charlm.storage.json_files import decode_json, encode_json, seal_json
from charlm.storage.paths import path_word
from charlm.storage.reading import FileError, MissingFileError, path_exists, read_regular_file

logger = logging.getLogger("charlm")

RECENT_CHECKPOINTS = 2  # newest checkpoints kept besides the best: one may be damaged
LOGS = ("metrics.jsonl", "events.jsonl")


class Run:
    """A run directory that exists.

    Attributes:
        path: Directory.
        record: Content of `run.json`.
        vocabulary: Content of `vocabulary.json`.
        metadata: Bytes of both files, by name.
    """

    def __init__(self, path: str | Path) -> None:
        """Read what never changes.

        Raises:
            InputNotFoundError: It does not exist or is not a run.
            ConfigError: It has another format.
            DataError: A file is damaged.
        """
        self.path = path = Path(path)
        record_path = path / "run.json"
        try:
            data = read_regular_file(record_path)
        except MissingFileError:
            if not path_exists(path):
                problem = "there is no such run"
            elif not path.is_dir():
                problem = "it is a file, not a run"
            else:
                problem = "it is not a run, since it has no run.json"
            raise InputNotFoundError(
                f"cannot open {path}: {problem}. Try a directory made by charlm train"
            ) from None
        header = decode_json(data, FormatHeader, record_path)
        if header.format != FORMAT_VERSION:
            raise format_error(path, header)
        vocabulary_path = path / "vocabulary.json"
        self.metadata = {
            "run.json": data,
            "vocabulary.json": read_regular_file(vocabulary_path),
        }
        self.record = decode_json(data, RunRecord, record_path)
        config = self.record.config
        if not (config.learning_rate and config.batch_size and config.grad_clip):
            cause = "it leaves a setting to the recipe, which no run does"
            raise FileError(
                f"cannot open {path}: run.json is damaged: {cause}. Restore it from a backup",
                record_path,
                cause,
            )
        self.vocabulary = decode_json(self.metadata["vocabulary.json"], Vocabulary, vocabulary_path)
        if self.vocabulary.kind != self.record.config.vocab:
            cause = f"it has {self.vocabulary.kind}, and run.json {self.record.config.vocab}"
            raise FileError(
                f"cannot open {path}: vocabulary.json is damaged: {cause}. Restore it from a "
                "backup",
                vocabulary_path,
                cause,
            )

    def __repr__(self) -> str:
        """Return path, cell and budget, such as Run('runs/gru', gru, 60 steps)."""
        return (
            f"Run({str(self.path)!r}, {self.record.config.cell}, {self.record.max_steps:,} steps)"
        )

    def load_custom_cell(self, cell: str) -> None:
        """Import the custom cell of this run, which executes its file, under this name.

        Args:
            cell: FILE.py:CLASS, where the file is now; empty for a run of a built-in cell.

        Raises:
            ConfigError: The run has another cell, or needs one and none is given.
            DataError: The file is not the one that the run was made with.
        """
        record = self.record
        name = loader.load_recorded_cell(record.config.cell, record.cell_sha256, cell)
        config = msgspec.structs.replace(record.config, cell=name)
        self.record = msgspec.structs.replace(record, config=config)

    @property
    def checkpoints(self) -> dict[int, Path]:
        """Directories of the checkpoints by step, oldest first, intact or not."""
        return list_checkpoints(self.path)

    @property
    def report(self) -> RunReport | None:
        """Final report; None while the run is not finished.

        Raises:
            DataError: It is damaged, or that of other weights.
        """
        return read_report(self.path)

    def write_report(self, report: RunReport) -> None:
        """Write the final report, which marks the run as finished."""
        files.write_atomic(self.path / REPORT_FILE, seal_json(report))

    @property
    def is_finished(self) -> bool:
        """True if the run has a report, intact or not."""
        return path_exists(self.path / REPORT_FILE)

    @property
    def diverged(self) -> bool:
        """True if training ended because the loss was no longer finite."""
        return path_exists(self.path / DIVERGED_FILE)

    def mark_diverged(self, reason: str) -> None:
        """Record that this run diverges, so that it need not be trained again to find out."""
        files.write_atomic(self.path / DIVERGED_FILE, encode_json(Divergence(reason)))

    @property
    def reader(self) -> CheckpointReader:
        """Reader of the checkpoints, which knows their tensors unless a cell was not loaded."""
        config = self.record.config
        is_unknown = parse_custom_cell(config.cell) and config.cell not in loader.CUSTOM_CELLS
        layout = None if is_unknown else expected_layout(config, self.vocabulary.size)
        return CheckpointReader(self.path, self.record.max_steps, layout)

    def save_checkpoint(self, progress: TrainingProgress, tensors: Tensors) -> Path:
        """Write a checkpoint atomically, then remove all but the best and the newest."""
        path = checkpoint.save_checkpoint(
            self.path / "checkpoints", progress, tensors, self.metadata
        )
        self._prune(progress)
        return path

    def _prune(self, progress: TrainingProgress) -> None:
        needed = {progress.best_step, *list(self.checkpoints)[-RECENT_CHECKPOINTS:]}
        for step, path in self.checkpoints.items():
            if step not in needed:
                directories.remove(path)

    def save_before_decay(self, progress: TrainingProgress, tensors: Tensors) -> None:
        """Write the state that a longer budget goes on from, in place of an earlier one."""
        earlier = list_checkpoints(self.path, BEFORE_DECAY)  # refuses a link, before it is written
        directory = self.path / BEFORE_DECAY
        files.make_directory(directory)
        kept = checkpoint.save_checkpoint(directory, progress, tensors, self.metadata)
        for path in earlier.values():
            if path != kept:
                directories.remove(path)

    def load_before_decay(self) -> Checkpoint | None:
        """Return the state before the learning rate decayed; None if it was not kept.

        Raises:
            DataError: It is damaged.
        """
        saved = list_checkpoints(self.path, BEFORE_DECAY)
        try:
            return self.reader.read(saved[max(saved)]) if saved else None
        except FileError as error:
            raise DataError(
                f"cannot continue {self.path}: {error.path} is damaged: {error.cause}. Restore it "
                "from a backup, or start a new run from its weights: --init-from "
                f"{path_word(self.path)}"
            ) from error

    def keep_best_weights_alone(self, *, keeps_state: bool = False) -> None:
        """Remove what a finished run needs no longer: all but the best weights.

        Args:
            keeps_state: Whether the state before its decay is kept, too.
        """
        best_step = self.load_checkpoint("best").progress.step
        remove_surplus_files(self.path, best_step, keeps_state=keeps_state)

    def set_later_checkpoints_aside(self, step: int) -> None:
        """Rename damaged checkpoints of later steps, which will be trained again."""
        for later_step, path in self.checkpoints.items():
            if later_step > step:
                logger.warning("the damaged checkpoint is kept as %s", set_aside(path))

    def load_checkpoint(self, which: CheckpointName) -> Checkpoint:
        """Read the best or the last checkpoint, and verify it.

        If it is damaged, the newest intact one is read, and a warning is logged.

        Raises:
            ConfigError: There is no checkpoint of this name, or it was not kept.
            DataError: No checkpoint is intact.
            StorageError: A checkpoint cannot be read now, which says nothing about its content.
        """
        if which not in get_args(CheckpointName):
            raise ConfigError(
                f"cannot read checkpoint {which!r}: there is none of this name. Try best or last"
            )
        return self.reader.load(which)

    def model(
        self,
        checkpoint: CheckpointName = "best",
        device: str = "cpu",
        *,
        kernel: str = "auto",
        threads: int = 1,
        trust_cell: str = "",
    ) -> CharLM:
        """Return the model with the weights of a checkpoint, an `nn.Module` in evaluation mode.

        Args:
            checkpoint: "best" on validation, or "last".
            device: "auto", "cpu", "cuda", "cuda:N" or "mps".
            kernel: Implementation of the recurrence; "auto" for the fastest of this machine.
            threads: CPU threads that "auto" may count on.
            trust_cell: FILE.py:CLASS of a run with a custom cell. The file is executed.
        """
        if trust_cell:
            self.load_custom_cell(trust_cell)
        device, _ = select_device(device, torch.get_num_threads())  # threads stay as they are
        _, model = load_model(self, checkpoint, kernel, device, threads)
        return model.eval()


def load_run(path: str | Path, trust_cell: str = "") -> Run:
    """Open a run directory.

    Args:
        path: Directory made by `charlm train`.
        trust_cell: FILE.py:CLASS of a run with a custom cell, where the file is now. The file is
            executed.

    Raises:
        InputNotFoundError: It does not exist or is not a run.
        ConfigError: It has another format or another cell.
        DataError: A file is damaged, or the cell's file is not the one of the run.
    """
    run = Run(path)
    if trust_cell:
        run.load_custom_cell(trust_cell)
    return run


def open_run(run: Run | str | Path) -> Run:
    """Return a run that is given itself or by its directory."""
    return run if isinstance(run, Run) else Run(run)


def is_run(path: Path) -> bool:
    """Return whether a directory is a run."""
    return path_exists(path / "run.json")
