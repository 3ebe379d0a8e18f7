"""Verification of a comparison's own files: reports and measurements, which carry their SHA-256."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from charlm.errors import DataError
from charlm.results.verification import ComparisonVerification, FileNote, FileNoteKind
from charlm.runs.listing import log_unreadable
from charlm.storage import files
from charlm.storage.json_files import decode_json, unseal_json
from charlm.storage.reading import FileError, file_type, read_regular_file

MARKER = "comparison.json"  # makes a directory a comparison
UNSEALED = (MARKER, "probes.json")  # they name a format and what was asked, and have no numbers
RUNS = "runs"  # verified by themselves


def verify_comparison(directory: Path) -> ComparisonVerification:
    """Return what is wrong with the JSON files of a comparison; its runs are left out."""
    problems, number = [], 0
    for path in _json_files(directory):
        shown = os.path.relpath(path, directory)
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            kind: FileNoteKind = "link" if stat.S_ISLNK(mode) else "special"
            problems.append(FileNote(file=shown, kind=kind, text=f"it is {file_type(mode)}"))
            continue
        number += 1
        try:
            data = read_regular_file(path)
            if path.name in UNSEALED:
                decode_json(data, dict[str, Any], path)
            else:
                decode_json(unseal_json(data, path), dict[str, Any], path)
        except FileError as error:
            problems.append(FileNote(file=shown, kind=error.kind, text=error.cause))
        except DataError as error:
            problems.append(FileNote(file=shown, kind="damaged", text=str(error)))
    return ComparisonVerification(path=str(directory), files=number, problems=tuple(problems))


def _json_files(directory: Path) -> Iterator[Path]:
    """Yield all JSON files below a directory, in order, but those of runs."""
    for name, folders, names in os.walk(directory, onerror=log_unreadable):
        folders[:] = sorted(folder for folder in folders if folder != RUNS)
        for file in sorted(names):
            if file.endswith(".json") and not files.TEMP_NAME.fullmatch(file):
                yield Path(name) / file
