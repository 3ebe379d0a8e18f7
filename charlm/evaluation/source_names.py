"""Names of the files that the encoded text of a run was read from."""

from itertools import chain
from pathlib import Path

from charlm.data.corpus import Sources
from charlm.data.encoded_text import EncodedText
from charlm.data.recorded import resolve_run_sources, resolve_run_splits
from charlm.data.sources import SPLITS
from charlm.data.splits import plan_splits
from charlm.errors import DataError
from charlm.runs.run import Run


def source_names(run: Run, encoding: EncodedText, sources: Sources = ()) -> list[str]:
    """Return the name of each source of the encoded text of a run, in its order.

    It is the path in the directory that was named, else the name of the file. It is empty where
    no single file can be named: lines were shuffled, or a pipe was read with other files.

    Args:
        run: Run.
        encoding: The whole text of the run.
        sources: Where the text is now, if it was moved.

    Raises:
        InputNotFoundError: The text cannot be found.
        DataError: It has other files than the run read.
    """
    config, record = run.record.config, run.record.text
    given = [sources] if isinstance(sources, str | Path) else sources
    names = [str(name) for name in given or record.sources]
    lengths = encoding.metadata.sources
    if record.split_by == "line" or "-" in names:
        separate = resolve_run_splits(config, record)
        shared = "-" if names == ["-"] else ""
        splits = ("train", *separate) if record.split_by == "position" else SPLITS
        parts = [
            [source.path or source.name for source in separate[split]]
            if split in separate
            else [shared] * len(part)
            for split, part in zip(splits, lengths, strict=True)
        ]
    else:
        plan = plan_splits(*resolve_run_sources(config, record, names if given else ()), config)
        parts = [[source.path or source.name for source in part] for part in plan.parts]
    found, read = list(map(len, parts)), list(map(len, lengths))
    if found != read:
        raise DataError(
            f"cannot name the files of the text: it was read from {sum(read):,}, and now "
            f"there are {sum(found):,}. Try --corpus with the text that the run read"
        )
    return list(chain.from_iterable(parts))
