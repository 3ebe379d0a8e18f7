"""A run is a directory: what was asked, the alphabet, what happened, checkpoints, the report.

run.json        settings, corpus, what `auto` became, who made it; never changes
vocabulary.json   the symbols: a run can be moved and sent
metrics.jsonl   one line an update or validation; the same bytes however often it was resumed
events.jsonl    starts, saves and stops, with times
checkpoints/    step-00000100/{model,training}.safetensors, progress.json, manifest.json
report.json     the final numbers; its existence means "finished"
diverged.json   instead: why there will be none
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from charlm.cells import loader
from charlm.config import FORMAT_VERSION
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DataError, InputNotFoundError, OutputExistsError
from charlm.results.run import RunRecord
from charlm.results.training import TrainingProgress
from charlm.runs import checkpoint
from charlm.runs.checkpoint import Checkpoint, Tensors
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes

RECENT_CHECKPOINTS = 2  # newest checkpoints kept beside the best: one may be damaged


class Run:
    """A run directory that exists."""

    def __init__(self, path: Path) -> None:
        """Reads what never changes; raises Missing or BadData when it is not there or not sound."""
        self.path = path
        if not path.is_dir():
            raise InputNotFoundError(
                f"there is no run {path}: name a directory that charlm train has made"
            )
        if not (path / "run.json").exists():
            raise InputNotFoundError(f"{path} is not a run: it has no run.json")
        self.metadata = {name: read_bytes(path / name) for name in checkpoint.RUN_METADATA_FILES}
        data = self.metadata["run.json"]
        known = decode_json(data, dict[str, Any], path / "run.json").get("format")
        if known != FORMAT_VERSION:
            raise ConfigError(
                f"{path} has format {known}, and this charlm reads format {FORMAT_VERSION}: "
                "use the charlm that made it"
            )
        self.record = decode_json(data, RunRecord, path / "run.json")
        self.vocabulary = decode_json(
            self.metadata["vocabulary.json"], Vocabulary, path / "vocabulary.json"
        )

    def load_custom_cell(self, cell: str) -> None:
        """Before its model is made: loads a cell in a file, if the person names it now, as `cell`;
        the settings then have it under that name, for the file may have been moved."""
        record = self.record
        admitted = loader.load_recorded_cell(record.config.cell, record.cell_sha256, cell)
        config = msgspec.structs.replace(record.config, cell=admitted)
        self.record = msgspec.structs.replace(record, config=config)

    @staticmethod
    def create(path: Path, record: RunRecord, alphabet: Vocabulary) -> "Run":
        """A new run in this directory, which the caller has locked."""
        files.make_directory(path / "checkpoints")
        files.write_atomic(path / "vocabulary.json", encode_json(alphabet))
        files.write_atomic(path / "run.json", encode_json(record))  # last: with it, it is a run
        return Run(path)

    @property
    def checkpoints(self) -> dict[int, Path]:
        """The checkpoints by update, oldest first, sound or not."""
        found = (self.path / "checkpoints").glob("step-*")
        return dict(sorted((int(p.name[5:]), p) for p in found if p.name[5:].isdecimal()))

    @property
    def report(self) -> dict[str, Any] | None:
        """The final numbers; None while the run is not finished."""
        path = self.path / "report.json"
        return decode_json(read_bytes(path), dict[str, Any], path) if path.exists() else None

    def write_report(self, report: Mapping[str, Any]) -> None:
        files.write_atomic(self.path / "report.json", encode_json(report))

    @property
    def diverged(self) -> bool:
        """Whether training ended because the loss was no longer finite."""
        return (self.path / "diverged.json").exists()

    def mark_diverged(self, why: str) -> None:
        """So that a comparison need not find it out again."""
        files.write_atomic(self.path / "diverged.json", encode_json({"why": why}))

    def save(self, progress: TrainingProgress, tensors: Tensors) -> Path:
        """A checkpoint, whole or not at all; then all but the best and the newest go."""
        place = checkpoint.save_checkpoint(
            self.path / "checkpoints", progress, tensors, self.metadata
        )
        self._prune(progress)
        return place

    def _prune(self, progress: TrainingProgress) -> None:
        kept = {progress.best_step, *list(self.checkpoints)[-RECENT_CHECKPOINTS:]}
        for update, path in self.checkpoints.items():
            if update not in kept:
                files.remove(path)

    def remove_checkpoints_after(self, update: int) -> None:
        """Damaged checkpoints of updates that will be done again go."""
        for later, path in self.checkpoints.items():
            if later > update:
                files.remove(path)

    def load_checkpoint(self, which: str, say: Callable[[str], None]) -> Checkpoint:
        """The best or last checkpoint, every hash verified; else the newest sound one, said so."""
        sound: dict[int, Checkpoint] = {}
        problems = []
        for update, path in reversed(self.checkpoints.items()):
            try:
                sound[update] = checkpoint.load_checkpoint(path, self.path)
            except DataError as error:
                problems.append(str(error))
                continue
            if which == "last":
                break
        if not sound:
            raise DataError(
                problems[0] + "; no other checkpoint is sound: train the run again"
                if problems
                else f"{self.path} has no checkpoint yet: let charlm train reach its first"
            )
        newest = sound[max(sound)]
        chosen = newest.progress.best_step if which == "best" else newest.progress.step
        found = sound.get(newest.progress.step if chosen is None else chosen, newest)
        for problem in problems:
            say(f"{problem}; going on with update {found.progress.step}")
        return found


def is_run(path: Path) -> bool:
    return (path / "run.json").exists()


def check_not_existing(path: Path) -> None:
    """A directory is not overwritten unless all in it is what a killed start left: no run yet."""
    begun = {"lock", "vocabulary.json", "checkpoints"}
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputExistsError(f"{path} is a file: name another place")
    left = [p.name for p in path.iterdir() if not p.name.startswith(files.TEMP_PREFIX)]
    if set(left) - begun:
        raise OutputExistsError(f"{path} exists: continue it with --resume, or name another place")


def timestamp() -> float:
    return round(time.time(), 3)
