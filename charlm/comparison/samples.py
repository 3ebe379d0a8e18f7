"""Sample texts of a comparison: what a run generates from nothing, cached by its weights."""

import logging
from pathlib import Path

from charlm.comparison.entries import PlannedRun
from charlm.errors import DataError
from charlm.evaluation.generation import iter_generated
from charlm.runs.run import Run
from charlm.storage import files
from charlm.storage.reading import read_regular_file

log = logging.getLogger("charlm")

SAMPLE_LENGTH = 300  # tokens
SAMPLE_BYTES = 4 * SAMPLE_LENGTH  # at most: as UTF-8
SAMPLE_TEMPERATURE = 0.8


def sample_text(planned: PlannedRun, directory: Path) -> str | None:
    """Return what the best weights of a run generate; None if it diverged or has none any more.

    Args:
        planned: A run that has ended; the cell of its config must have been loaded.
        directory: Where samples are cached.
    """
    run = Run(planned.path)
    if run.report is None:
        return None
    try:
        weights = run.load_checkpoint("best")
        if weights.sha256 != run.report.weights_sha256:
            raise DataError(f"{run.path} has other weights than those that were scored")
    except DataError as error:
        log.warning("no sample of %s: %s", run.path.name, error)
        return None
    path = directory / f"{weights.sha256[:16]}.txt"
    if not path.exists():
        files.make_directory(directory)
        files.write_atomic(path, _generate(run, planned.config.cell))
    return read_regular_file(path, SAMPLE_BYTES).decode(errors="replace")


def _generate(run: Run, cell: str) -> bytes:
    run.load_custom_cell(cell)
    tokens = iter_generated(
        run.model("best"), run.vocabulary, "", SAMPLE_LENGTH, temperature=SAMPLE_TEMPERATURE
    )
    return b"".join(tokens)
