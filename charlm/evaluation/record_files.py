"""Files of records of characters: JSON lines and Parquet, written while a text is scored."""

import importlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from charlm.errors import ConfigError
from charlm.evaluation.predictions import RecordSink
from charlm.results.costs import CharacterRecord
from charlm.storage.files import AtomicFileWriter, check_new, make_directory

ROW_GROUP = 1 << 16  # records of a row group


def check_record_file(path: Path) -> None:
    """Check that records can be written here, before a text is scored.

    Raises:
        OutputExistsError: The file exists.
        ConfigError: Its suffix is unknown, or pyarrow is missing.
    """
    if path.suffix not in (".jsonl", ".parquet"):
        raise ConfigError(
            f"cannot write {path}: characters are written as .jsonl or .parquet. "
            f"Try {path.with_suffix('.jsonl')}"
        )
    check_new(path)
    if path.suffix == ".parquet":
        _import_pyarrow(path)


@contextmanager
def open_record_file(path: Path) -> Iterator[RecordSink]:
    """Open a file of records, which appears under its name once all are written, or never.

    Missing folders are created.

    Args:
        path: Ends with .jsonl or .parquet; see `check_record_file`.
    """
    make_directory(path.absolute().parent)
    with AtomicFileWriter(path) as file:
        if path.suffix == ".jsonl":
            encoder = msgspec.json.Encoder()
            yield lambda records: file.write(encoder.encode_lines(records))
        else:
            writer = _ParquetWriter(path, file)
            yield writer.add
            writer.close()
        file.commit()


class _ParquetWriter:
    """Writer of records as columns, in row groups."""

    def __init__(self, path: Path, file: AtomicFileWriter) -> None:
        """Begin a file."""
        arrow, parquet = _import_pyarrow(path)
        types: dict[Any, Any] = {str: arrow.string(), int: arrow.int64(), float: arrow.float64()}
        types |= {bool: arrow.bool_(), str | None: arrow.string()}
        fields = msgspec.structs.fields(CharacterRecord)
        self._arrow = arrow
        self._schema = arrow.schema([(field.name, types[field.type]) for field in fields])
        self._writer = parquet.ParquetWriter(_WritableFile(file), self._schema)
        self._records: list[CharacterRecord] = []

    def add(self, records: list[CharacterRecord]) -> None:
        """Append records."""
        self._records += records
        if len(self._records) >= ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what remains, and the index."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        rows = [msgspec.structs.asdict(record) for record in self._records]
        self._writer.write_table(self._arrow.Table.from_pylist(rows, self._schema))
        self._records = []


class _WritableFile(io.RawIOBase):
    """File object over a writer, which pyarrow may close without ending the writer."""

    def __init__(self, file: AtomicFileWriter) -> None:
        """Write to this file."""
        self._file = file

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any, /) -> int:
        """Append bytes; return how many."""
        view = memoryview(data)
        self._file.write(view)
        return view.nbytes


def _import_pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"cannot write {path}: pyarrow is not installed. Try pip install 'charlm[parquet]', "
            f"or {path.with_suffix('.jsonl')}, which DuckDB and pandas read as well"
        ) from error
