"""Files of a curriculum: its record, and a verified result for each length.

curriculum.json  the task and the settings; never changes
length-50.jsonl  one line per validation at this length
length-50.json   result at this length; without this file, the length is trained from the beginning
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from charlm.cells.loader import loaded_cell_sha256
from charlm.cells.names import cell_label
from charlm.config import FORMAT_VERSION, TEXT_ONLY_FIELDS, Config, to_argv
from charlm.errors import ConfigError, DataError
from charlm.results.tasks import CurriculumRecord, LevelResult
from charlm.storage import files
from charlm.storage.json_files import read_sealed_json, seal_json


def initialize_curriculum_dir(path: Path, task: str, config: Config) -> None:
    """Write `curriculum.json`, or check that an existing one has the same settings.

    The caller has locked the directory.

    Raises:
        ConfigError: The directory has a curriculum with other settings.
    """
    record = CurriculumRecord(
        format=FORMAT_VERSION, task=task, config=config, cell_sha256=loaded_cell_sha256(config.cell)
    )
    record_path = path / "curriculum.json"
    if record_path.exists():
        existing = read_sealed_json(record_path, CurriculumRecord)
        if fingerprint_fields(existing) != fingerprint_fields(record):
            raise ConfigError(
                f"cannot continue {path}: it is a curriculum with other settings. "
                "Try another directory"
            )
    else:
        files.write_atomic(record_path, seal_json(record))


def fingerprint_fields(record: CurriculumRecord) -> tuple[Any, ...]:
    """Return everything that determines the results of a curriculum."""
    settings = to_argv(record.config, with_changeable=False, exclude=(*TEXT_ONLY_FIELDS, "cell"))
    cell = cell_label(record.config.cell), record.cell_sha256
    return record.format, record.task, settings, cell


def load_level_results(path: Path, lengths: Sequence[int]) -> list[LevelResult]:
    """Return the results of a directory, up to the first length that is not solved or missing.

    Raises:
        DataError: A result is damaged.
    """
    levels: list[LevelResult] = []
    for length in lengths:
        level_path = path / f"length-{length}.json"
        if not level_path.exists() or (levels and not levels[-1].is_solved):
            break
        level = read_sealed_json(level_path, LevelResult)
        if level.length != length:
            raise DataError(
                f"cannot read {path}: {level_path.name} has the result at another length, "
                f"{level.length}. Restore it from a backup"
            )
        levels.append(level)
    return levels


def is_finished(levels: Sequence[LevelResult], lengths: Sequence[int]) -> bool:
    """Return whether no length is left to attempt."""
    return len(levels) == len(lengths) or bool(levels and not levels[-1].is_solved)
