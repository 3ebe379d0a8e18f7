"""Text that a saved run names: a run may come from another person, so few files are opened."""

import logging
import sys
from collections.abc import Iterable, Sequence

from charlm.config import Config
from charlm.data.catalog import corpus_names
from charlm.data.folders import files_on_disk
from charlm.data.names import as_path, printable, printable_names
from charlm.data.sources import (
    ResolvedSources,
    TextSource,
    absolute_name,
    resolve_sources,
    unreadable_error,
)
from charlm.errors import DataError
from charlm.results.text import CorpusRecord, SourceSize

logger = logging.getLogger("charlm")


def resolve_run_sources(
    config: Config, record: CorpusRecord, names: Sequence[str] = ()
) -> tuple[ResolvedSources, dict[str, list[TextSource]]]:
    """Return the sources of the text of a run, and those that were given for single splits.

    What the run names, not the person, must be regular files of the sizes that it has recorded. A
    note names them, as they lie outside of the run.

    Args:
        config: Config of the run.
        record: Corpus record of the run.
        names: Where the corpus is now, as a person says; default: where the run found it.

    Raises:
        InputNotFoundError: A source does not exist or cannot be read.
        DataError: A source cannot be the text of the run.
    """
    if names:
        sources = resolve_sources(names, config.glob, config.vocab)
        return sources, resolve_run_splits(config, record)
    _note_outside(record.sources)
    _check_sizes(record.sources, config, record)
    separate = resolve_run_splits(config, record)
    limit = _unpacked_limit(config, record)
    return resolve_sources(record.sources, config.glob, config.vocab, limit), separate


def resolve_run_splits(config: Config, record: CorpusRecord) -> dict[str, list[TextSource]]:
    """Return the sources that were given for single splits of a run.

    Raises:
        InputNotFoundError: A source does not exist or cannot be read.
        DataError: A source cannot be part of the text of the run.
    """
    named = {"valid": config.valid_file, "test": config.test_file}
    separate = {split: file for split, file in named.items() if file}
    if "-" in separate.values():  # charlm does not record it
        raise DataError("cannot read a split of the run: it names standard input. Try another run")
    _note_outside(tuple(separate.values()))
    _check_sizes(tuple(separate.values()), config, record)
    limit = _unpacked_limit(config, record)
    return {
        split: resolve_sources([file], config.glob, run_bytes=limit).sources
        for split, file in separate.items()
    }


def measure_sources(
    names: Iterable[str], glob: str, *, is_of_run: bool = False
) -> dict[str, SourceSize]:
    """Return the size on disk of each source that is a file or folder, by its recorded name.

    Args:
        names: Sources.
        glob: Pattern of the files of a folder.
        is_of_run: Whether a run names them, not a person.

    Raises:
        InputNotFoundError: A folder cannot be read.
        ConfigError: The pattern is invalid.
        DataError: A run names what is on no disk, or a folder with too many files.
    """
    sizes: dict[str, SourceSize] = {}
    for name in names:
        try:
            size = None
            if name != "-" and name not in corpus_names():
                size = files_on_disk(as_path(name), glob, is_of_run)
        except OSError as error:
            raise unreadable_error(printable(name), error) from error
        if size:
            sizes[absolute_name(name)] = size
    return sizes


def _note_outside(names: Sequence[str]) -> None:
    """Tell which files outside of a run are read."""
    outside = [name for name in names if name not in corpus_names()]
    if outside:
        logger.info("note: reading the text of the run from %s", printable_names(outside))


def _unpacked_limit(config: Config, record: CorpusRecord) -> int:
    """Return how many bytes a compressed source may give: all of the text, unless it was cut."""
    return sys.maxsize if config.test_chars else sum(record.digest.parts)


def _check_sizes(names: Sequence[str], config: Config, record: CorpusRecord) -> None:
    """Check that files and folders have the sizes that a run has recorded, before one is opened.

    Raises:
        DataError: One has not.
    """
    for name, found in measure_sources(names, config.glob, is_of_run=True).items():
        wanted = record.sizes.get(name)
        if found != wanted:
            known = f"of the run {_describe(wanted)}" if wanted else "the run has recorded none"
            raise DataError(
                f"cannot use {printable(name)}: it is not the text of the run "
                f"({_describe(found)}, {known}). Try --corpus with the text that the run read"
            )


def _describe(size: SourceSize) -> str:
    return f"{size.bytes:,} bytes" + (f" in {size.files:,} files" if size.files != 1 else "")
