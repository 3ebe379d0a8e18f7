"""Creation of run directories: with new weights, or with a state to start from."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from charlm.data.vocabulary import Vocabulary
from charlm.results.run import RunRecord
from charlm.results.training import TrainingProgress
from charlm.runs.checkpoint import Tensors, save_checkpoint
from charlm.runs.run import LOGS, Run
from charlm.storage import files
from charlm.storage.json_files import encode_json


class RunStart(NamedTuple):
    """State that a new run starts from, and its logs up to there by name."""

    progress: TrainingProgress
    tensors: Tensors
    logs: Mapping[str, bytes] = {}


def create_run(
    path: Path, record: RunRecord, vocabulary: Vocabulary, start: RunStart | None = None
) -> Run:
    """Create a run in a directory that the caller has locked.

    Args:
        path: Directory.
        record: Content of `run.json`.
        vocabulary: Content of `vocabulary.json`.
        start: What it starts from; None: new weights at its first step.
    """
    metadata = {"vocabulary.json": encode_json(vocabulary), "run.json": encode_json(record)}
    if (path / "checkpoints").exists():  # left behind by a killed start
        files.remove(path / "checkpoints")
    for name in LOGS:
        (path / name).unlink(missing_ok=True)
    files.make_directory(path / "checkpoints")
    if start:
        for name, data in start.logs.items():
            files.write_atomic(path / name, data)
        save_checkpoint(path / "checkpoints", start.progress, start.tensors, metadata)
    # run.json comes last: it makes the directory a run.
    for name, data in metadata.items():
        files.write_atomic(path / name, data)
    return Run(path)
