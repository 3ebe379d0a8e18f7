"""Cache of probe results: an answer and its artifacts, verified by their SHA-256."""

import hashlib
import logging
from pathlib import Path

import safetensors.torch

from charlm import __version__
from charlm.config import FORMAT_VERSION
from charlm.errors import DataError
from charlm.probes.base import Artifacts
from charlm.results.probes import (
    Measured,
    Outcome,
    ProbeAnswer,
    ProbeCacheKey,
    ProbedRun,
    ProbeRequest,
    ProbeResult,
)
from charlm.storage.json_files import read_sealed_json
from charlm.storage.reading import read_regular_file
from charlm.storage.tensor_header import read_header

logger = logging.getLogger("charlm")

# Limit of a probe's artifacts: sums and counts of each unit of the text, at 16 lengths of context.
BYTES_PER_CHARACTER = 2 * 8 * 16
BYTES_BESIDES = 2**16


def probe_cache_key(description: ProbedRun, request: ProbeRequest) -> ProbeCacheKey:
    """Return everything that determines the result of a probe."""
    return ProbeCacheKey(
        format=FORMAT_VERSION,
        charlm=__version__,
        weights_sha256=description.weights_sha256,
        text=description.text,
        seed=request.seed,
    )


def is_cached(directory: Path, name: str, key: ProbeCacheKey) -> bool:
    """Return whether the result of a probe is cached for this key, with intact artifacts."""
    if not (directory / f"{name}.json").exists():
        return False
    try:
        answer = read_answer(directory, name)
        if answer.cache_key == key:
            read_artifacts(directory, name)
    except DataError as error:  # damaged, or written by another version
        logger.warning("%s; measuring %s again", error, name)
        return False
    return answer.cache_key == key


def read_answer(directory: Path, name: str) -> ProbeAnswer:
    """Read the cached result of a probe.

    Raises:
        DataError: It is missing or damaged, or has other curves than a figure can draw.
    """
    path = directory / f"{name}.json"
    answer = read_sealed_json(path, ProbeAnswer)
    if not is_consistent(answer.outcome):
        raise DataError(f"cannot read {path}: a curve has not one value for each x. Try a copy")
    return answer


def read_artifacts(directory: Path, name: str) -> Artifacts:
    """Read the cached artifacts of a probe; those of one that does not apply are empty.

    Raises:
        DataError: They are missing or damaged.
    """
    path = directory / f"{name}.safetensors"
    answer = read_answer(directory, name)
    size = answer.artifacts_bytes
    if size > BYTES_BESIDES + BYTES_PER_CHARACTER * answer.cache_key.text.characters:
        raise _damaged(path, f"{size:,} bytes are more than a probe of this text writes")
    data = read_regular_file(path, size)  # refuses a larger file before it reads any of it
    if hashlib.sha256(data).hexdigest() != answer.artifacts_sha256:
        raise _damaged(path, f"it does not have the SHA-256 that {name}.json names")
    read_header(data, path)
    return safetensors.torch.load(data)


def _damaged(path: Path, cause: str) -> DataError:
    return DataError(
        f"cannot read {path.parent}: {path.name} is damaged: {cause}. Restore it from a backup"
    )


def is_consistent(outcome: Outcome) -> bool:
    """Return whether every curve of an outcome has one value for each x."""
    return not isinstance(outcome, Measured) or _has_whole_curves(outcome.result)


def _has_whole_curves(result: ProbeResult) -> bool:
    lengths = (
        (len(curve.y), len(curve.y if part is None else part), len(curve.x))
        for curve in result.curves
        for part in (curve.error, curve.count)
    )
    return all(len(set(each)) == 1 for each in lengths) and all(
        map(_has_whole_curves, result.panels)
    )
