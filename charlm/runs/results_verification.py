"""Verification of results beside runs: comparisons, curricula on tasks, and probes."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from charlm.errors import DataError
from charlm.results.tasks import LevelResult, TaskValidation
from charlm.results.verification import (
    FileNote,
    FileNoteKind,
    ResultsKind,
    ResultsVerification,
)
from charlm.runs.listing import log_unreadable
from charlm.storage import files
from charlm.storage.json_files import decode_json, unseal_json
from charlm.storage.reading import (
    FileError,
    damaged_file,
    file_type,
    iter_lines,
    path_exists,
    read_regular_file,
)

# Files that make a directory one of results.
MARKERS: dict[str, ResultsKind] = {
    "comparison.json": "comparison",
    "curriculum.json": "curriculum",
    "probes.json": "probes",
}
UNSEALED = ("comparison.json", "probes.json")  # they have a format and a request, no numbers
REPORT_FILE = "report.json"
AFTER_REPORT = ("timing.json", "report.html")  # written after it
RUNS = "runs"  # verified by themselves
LEVEL_NAME = re.compile(r"length-(\d{1,7})\.json(l?)")
LINE_BYTES = 1 << 12  # of a validation; far more than one has


def verify_results(directory: Path, kind: ResultsKind) -> ResultsVerification:
    """Return what is wrong with results and those in them; runs of a comparison are left out."""
    problems, number = [], 0
    for path in _result_files(directory):
        shown = os.path.relpath(path, directory)
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            link: FileNoteKind = "link" if stat.S_ISLNK(mode) else "special"
            problems.append(FileNote(file=shown, kind=link, text=f"it is {file_type(mode)}"))
            continue
        number += 1
        try:
            _check_file(path)
        except FileError as error:
            problems.append(FileNote(file=shown, kind=error.kind, text=error.cause))
        except DataError as error:
            problems.append(FileNote(file=shown, kind="damaged", text=str(error)))
    _, is_finished = _missing_files(directory, kind)
    for part, part_kind in _parts(directory):
        for note in _missing_files(part, part_kind)[0]:
            shown = os.path.relpath(part / note.file, directory)
            problems.append(msgspec.structs.replace(note, file=shown))
    return ResultsVerification(
        path=str(directory),
        kind=kind,
        files=number,
        finished=is_finished,
        problems=tuple(problems),
    )


def _parts(directory: Path) -> Iterator[tuple[Path, ResultsKind]]:
    """Yield a directory of results and all results in it, such as the curricula of a comparison."""
    for name, folders, names in os.walk(directory):
        folders[:] = sorted(folder for folder in folders if folder != RUNS)
        for kind in [kind for marker, kind in MARKERS.items() if marker in names][:1]:
            yield Path(name), kind


def _result_files(directory: Path) -> Iterator[Path]:
    """Yield all JSON files and logs of levels below a directory, in order, but those of runs."""
    for name, folders, names in os.walk(directory, onerror=log_unreadable):
        folders[:] = sorted(folder for folder in folders if folder != RUNS)
        for file in sorted(names):
            is_ours = file.endswith(".json") or LEVEL_NAME.fullmatch(file)
            if is_ours and not files.TEMP_NAME.fullmatch(file):
                yield Path(name) / file


def _check_file(path: Path) -> None:
    """Raise DataError if the content of a file is wrong."""
    level = LEVEL_NAME.fullmatch(path.name)
    if level and level[2]:
        _check_validations(path)
        return
    data = read_regular_file(path)
    if path.name in UNSEALED:
        decode_json(data, dict[str, Any], path)
    elif level:
        found = decode_json(unseal_json(data, path), LevelResult, path)
        if found.length != int(level[1]):
            raise damaged_file(path, f"it has the result at another length, {found.length}")
    else:
        decode_json(unseal_json(data, path), dict[str, Any], path)


def _check_validations(path: Path) -> None:
    """Check each line of a log; the last one may be incomplete while training has not ended."""
    is_ended = path_exists(path.with_suffix(".json"))
    for number, line in enumerate(iter_lines(path, LINE_BYTES), 1):
        if not line.endswith(b"\n") and not is_ended:
            return
        try:
            msgspec.json.decode(line, type=TaskValidation)
        except msgspec.DecodeError:
            raise damaged_file(path, f"line {number} is damaged") from None


def _missing_files(directory: Path, kind: ResultsKind) -> tuple[list[FileNote], bool]:
    """Return notes on lost files of a directory of results, and whether it is finished."""
    if kind == "curriculum":
        return _missing_levels(directory)
    return _missing_reports(directory)


def _missing_reports(directory: Path) -> tuple[list[FileNote], bool]:
    """Return notes on a lost report, and whether the results are finished.

    A report is written before its page and its times. Without them, there is none yet.
    """
    has_report = path_exists(directory / REPORT_FILE)
    later = [name for name in AFTER_REPORT if path_exists(directory / name)]
    if has_report or not later:
        return [], has_report
    text = f"it is missing, but {later[0]} is there"
    return [FileNote(file=REPORT_FILE, kind="missing", text=text)], True


def _missing_levels(directory: Path) -> tuple[list[FileNote], bool]:
    """Return notes on lost results of lengths, and whether no length is being trained.

    Lengths are trained in increasing order, so only the last one can have a log alone.
    """
    lengths: dict[int, set[str]] = {}
    for path in directory.iterdir():
        if level := LEVEL_NAME.fullmatch(path.name):
            lengths.setdefault(int(level[1]), set()).add(path.name)
    notes = []
    for length in sorted(lengths)[:-1]:
        if f"length-{length}.json" not in lengths[length]:
            text = f"it is missing, but length {max(lengths)} was trained after it"
            notes.append(FileNote(file=f"length-{length}.json", kind="missing", text=text))
    if not lengths:
        return notes, False
    return notes, f"length-{max(lengths)}.json" in lengths[max(lengths)]
