"""Listing of runs below a directory, from their small files alone and without PyTorch."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from charlm.cells.names import cell_label
from charlm.config import FORMAT_VERSION
from charlm.errors import ConfigError, DataError, InputNotFoundError, StorageError
from charlm.results.run import Divergence, RunRecord, RunReport
from charlm.results.run_list import BitsKind, ListedRun, RunList, RunState, StartKind
from charlm.results.text import CorpusRecord
from charlm.results.training import TrainingProgress
from charlm.runs.checkpoint_files import REPORT_FILE, list_checkpoints, read_manifest
from charlm.storage.json_files import read_json, read_sealed_json
from charlm.storage.lock import is_locked
from charlm.storage.reading import FileError, MissingFileError, damaged_file, path_exists
from charlm.storage.usage import measure_usage

DIGITS = re.compile(r"(\d+)")
DIVERGED_FILE = "diverged.json"
logger = logging.getLogger("charlm")


class Program(msgspec.Struct, frozen=True):
    """Program that made a run."""

    charlm: str = ""  # version


class FormatHeader(msgspec.Struct, frozen=True):
    """The keys of `run.json` that are read in every format."""

    format: int = 0
    environment: Program = Program()


class Outcome(NamedTuple):
    """Progress of a run."""

    state: RunState
    bits: float | None = None
    bits_kind: BitsKind | None = None
    problem: str = ""
    step: int = 0


def list_runs(directories: Sequence[str | Path]) -> RunList:
    """Return all runs below directories, those of comparisons included.

    Symbolic links below a directory are not followed.

    Args:
        directories: Directories; each may be a run itself.

    Raises:
        InputNotFoundError: A directory does not exist.
    """
    found: dict[str, Path] = {}
    for directory in map(Path, directories):
        for path in find_runs(directory):
            found.setdefault(os.path.realpath(path), path)
    runs = [describe_run(path) for path in sorted(found.values(), key=natural_order)]
    return RunList(format=FORMAT_VERSION, runs=tuple(runs))


def find_runs(directory: Path) -> Iterator[Path]:
    """Yield every run at or below a directory; a directory that cannot be read is logged.

    Raises:
        InputNotFoundError: There is no such directory.
    """
    check_directory(directory)
    for path, folders, names in os.walk(directory, onerror=log_unreadable):
        if "run.json" in names:
            folders.clear()  # a run has no runs in it
            yield Path(path)


def check_directory(directory: Path) -> None:
    """Raise InputNotFoundError unless this is a directory."""
    if not directory.is_dir():
        problem = "it is a file" if directory.exists() else "there is no such directory"
        raise InputNotFoundError(
            f"cannot read {directory}: {problem}. Try charlm train, or a directory that has runs"
        )


def describe_run(path: Path) -> ListedRun:
    """Return what the small files of a run tell; what is wrong with them is a result, too."""
    usage = measure_usage(path)
    listed = ListedRun(path=str(path), state="damaged", size=usage.size, modified=usage.modified)
    record = None
    try:
        if (number := read_format_header(path).format) == FORMAT_VERSION:
            file = path / "run.json"
            record = read_json(file, RunRecord)
            outcome = read_outcome(path, record)
        else:
            outcome = Outcome("incompatible", problem=f"format {number}")
    except (DataError, StorageError) as error:
        is_link = isinstance(error, FileError) and error.kind == "link"
        outcome = Outcome("link" if is_link else "damaged", problem=str(error))
    if record is not None:
        listed = msgspec.structs.replace(
            listed,
            cell=cell_label(record.config.cell),
            text=_describe_text(record.text),
            max_steps=record.max_steps,
            start=start_kind(record),
            parameters=record.parameters,
        )
    return msgspec.structs.replace(listed, **outcome._asdict())


def start_kind(record: RunRecord) -> StartKind:
    """Return what a run began with: the last of it, if it went on from another one."""
    if record.extends:
        return "longer"
    return "init_from" if record.initial_weights else "new"


def read_format_header(path: Path) -> FormatHeader:
    """Return the format of a run, and the versions that made it.

    Raises:
        DataError: Its `run.json` is damaged.
    """
    return read_json(path / "run.json", FormatHeader)


def format_error(path: Path, header: FormatHeader) -> ConfigError:
    """Return the error of a run whose format this charlm does not read."""
    version = header.environment.charlm
    older = f"Train it again{version and f', or use charlm {version}, which made it'}"
    remedy = "Use a newer charlm" if header.format > FORMAT_VERSION else older
    return ConfigError(
        f"cannot open {path}: it has format {header.format}, this charlm reads format "
        f"{FORMAT_VERSION}. {remedy}"
    )


def read_report(path: Path) -> RunReport | None:
    """Return the report of a run; None while the run is not finished.

    Raises:
        DataError: It is damaged, or that of other weights than the run has.
        StorageError: It cannot be read now.
    """
    try:
        report = read_sealed_json(path / REPORT_FILE, RunReport)
    except MissingFileError:
        return None
    weights = _recorded_weights(path, report.best_step)
    if weights not in ("", report.weights_sha256):
        cause = (
            f"it is that of the weights {report.weights_sha256[:12]}…, and the run has "
            f"{weights[:12]}…"
        )
        raise damaged_file(path / REPORT_FILE, cause)
    return report


def _recorded_weights(path: Path, step: int | None) -> str:
    """Return the SHA-256 of the weights of a step; "" if they are damaged or missing.

    What is wrong with weights is found where they are used.
    """
    with suppress(DataError):
        checkpoints = list_checkpoints(path)
        if step in checkpoints:
            return read_manifest(checkpoints[step]).files["model.safetensors"].sha256
    return ""


def read_outcome(path: Path, record: RunRecord) -> Outcome:
    """Return what a run has reached.

    Raises:
        DataError: A file is damaged or missing.
    """
    checkpoints = list_checkpoints(path)
    if report := read_report(path):
        if not checkpoints:
            raise DataError(f"cannot read {path}: its weights are missing. Train it again")
        if report.score is None:
            return Outcome("finished", report.best_valid_bits, "subsampled", step=report.steps)
        bits = report.score.bits_per_char
        if record.config.vocab == "bytes" or bits is None:
            bits = report.score.bits_per_byte
        split: BitsKind = "test" if report.scored_split == "test" else "valid"
        return Outcome("finished", bits, split, step=report.steps)
    progress = _newest_progress(path)
    step, bits = (progress.step, progress.best_bits) if progress else (0, None)
    kind: BitsKind | None = None if bits is None else "subsampled"
    with suppress(MissingFileError):
        reason = read_json(path / DIVERGED_FILE, Divergence).reason
        return Outcome("diverged", bits, kind, reason, step)
    return Outcome("locked" if is_locked(path) else "unfinished", bits, kind, "", step)


def _newest_progress(path: Path) -> TrainingProgress | None:
    """Return the progress of the newest checkpoint; None if there is none."""
    while checkpoints := list_checkpoints(path):
        newest = checkpoints[max(checkpoints)]
        try:
            return read_json(newest / "progress.json", TrainingProgress)
        except MissingFileError:
            if path_exists(newest):
                raise
            # Another process has written a newer one, and removed this one.
    return None


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Return a key that sorts paths by their parts, and numbers in them as numbers."""
    pieces = DIGITS.split(str(path).replace("/", "\0"))
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in pieces]


def _describe_text(text: CorpusRecord) -> str:
    first, *others = text.sources
    return f"{Path(first).name or first}{f' +{len(others)}' if others else ''}"


def log_unreadable(error: OSError) -> None:
    """Log that a directory is left out."""
    logger.warning("cannot read %s: %s; it is left out", error.filename, error.strerror)
