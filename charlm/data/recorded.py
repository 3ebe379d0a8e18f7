"""Text that a saved run names: a run may come from another person, so few files are opened."""

import logging
from collections.abc import Sequence

from charlm.config import Config
from charlm.data.catalog import corpus_names
from charlm.data.names import printable
from charlm.data.sources import ResolvedSources, TextSource, resolve_sources
from charlm.errors import DataError
from charlm.results.text import CorpusRecord

logger = logging.getLogger("charlm")


def resolve_run_sources(
    config: Config, record: CorpusRecord, names: Sequence[str] = ()
) -> tuple[ResolvedSources, dict[str, list[TextSource]]]:
    """Return the sources of the text of a run, and those that were given for single splits.

    What the run names, not the person, must be regular files that together are as large as its
    text. A note names them, as they lie outside of the run.

    Args:
        config: Config of the run.
        record: Corpus record of the run.
        names: Where the corpus is now, as a person says; default: where the run found it.

    Raises:
        InputNotFoundError: A source does not exist or cannot be read.
        DataError: A source cannot be the text of the run.
    """
    separate = resolve_run_splits(config, record)
    if names:
        return resolve_sources(names, config.glob, config.vocab), separate
    size = sum(record.digest.parts)
    outside = _note_outside(record.sources)
    corpus = resolve_sources(record.sources, config.glob, config.vocab, size)
    sources = [*corpus.sources, *(source for part in separate.values() for source in part)]
    is_cut = config.test_chars and (record.split_by != "position" or config.test_file)
    _check_size(sources, size, outside, is_cut=bool(is_cut))
    return corpus, separate


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
    size = sum(record.digest.parts)
    return {
        split: resolve_sources([file], config.glob, run_bytes=size).sources
        for split, file in separate.items()
    }


def _note_outside(names: Sequence[str]) -> list[str]:
    """Tell which files outside of a run are read, and return their names."""
    outside = [printable(name) for name in names if name not in corpus_names()]
    if outside:
        logger.info("note: reading the text of the run from %s", " ".join(outside))
    return outside


def _check_size(
    sources: Sequence[TextSource], size: int, names: Sequence[str], *, is_cut: bool
) -> None:
    """Check that files can be the text of a run, before one is opened.

    Args:
        sources: Sources of the text.
        size: Bytes of the text.
        names: Names that the run has recorded.
        is_cut: Whether the text is only a part of the files.
    """
    found = sum(source.size or 0 for source in sources)
    is_known = all(source.size is not None for source in sources)
    if names and ((found > size and not is_cut) or (found < size and is_known)):
        raise DataError(
            f"cannot use {' '.join(names)}: it is not the text of the run ({found:,} bytes, of the "
            f"run {size:,}). Try --corpus with the text that the run read"
        )
