"""Export of a run as a folder that others can use: weights, graph, reader, ONNX and a card."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from safetensors import torch as safetensors

from charlm.cells.names import parse_custom_cell
from charlm.errors import ConfigError, StorageError
from charlm.exporting import onnx_file
from charlm.exporting.graph_builder import UnsupportedStep
from charlm.exporting.model_card import CardFacts, model_card
from charlm.exporting.numpy_reader import CharLM as NumpyReader
from charlm.exporting.numpy_reader import read_safetensors
from charlm.exporting.onnx_file import OnnxReader
from charlm.exporting.parity import check_parity, reference_logits
from charlm.exporting.trace import GRAPH_FORMAT, trace_model
from charlm.models.char_lm import CharLM
from charlm.models.token_step import TokenStep
from charlm.results.export import (
    ExportedConfig,
    ExportedFile,
    ExportReport,
    ModelGraph,
    ParityCheck,
)
from charlm.runs.checkpoint import Checkpoint, CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run, open_run
from charlm.storage import directories, files
from charlm.storage.json_files import encode_json

READER_SOURCE = Path(__file__).with_name("numpy_reader.py")
READER_NAME = "char_lm.py"


def export(
    run: Run | str | Path,
    directory: str | Path,
    *,
    onnx: bool = False,
    checkpoint: CheckpointName = "best",
) -> ExportReport:
    """Write the model of a run into a new folder, and verify that it computes the same.

    The folder has config.json, model.safetensors, vocabulary.json, graph.json, README.md and
    char_lm.py, which reads them with numpy alone. It appears complete or not at all.

    Args:
        run: Run with at least one checkpoint, or its directory.
        directory: Folder to create.
        onnx: Whether to write model.onnx and start.onnx too.
        checkpoint: "best" on validation, or "last".

    Raises:
        OutputExistsError: The folder exists.
        ConfigError: The cell does what the files cannot express, or a package is missing.
        DataError: No checkpoint is intact.
        StorageError: The disk is full or failed.
    """
    run, directory = open_run(run), Path(directory)
    files.check_new(directory)
    if onnx:
        onnx_file.check_packages()
    loaded, model = load_model(run, checkpoint, "loop")
    graph = _trace(model.eval(), run.record.config.cell)
    weights = safetensors.save({n: t.contiguous() for n, t in model.state_dict().items()})
    digest = hashlib.sha256(weights).hexdigest()
    contents = {
        "README.md": b"",  # written last, and shown first
        READER_NAME: READER_SOURCE.read_bytes(),
        "config.json": encode_json(_exported_config(run, digest)),
        "graph.json": encode_json(graph),
        "model.safetensors": weights,
        "vocabulary.json": run.metadata["vocabulary.json"],
    }
    if onnx:
        contents |= onnx_files(model, graph, weights)
    parity = verify(model, contents)
    facts = _card_facts(run, loaded, has_onnx=onnx)
    contents["README.md"] = model_card(facts).encode()
    files.make_directory(directory.absolute().parent)
    directories.write_directory_atomic(directory, contents)
    return ExportReport(
        run=str(run.path),
        directory=str(directory),
        cell=run.record.config.cell,
        step=loaded.progress.step,
        weights_sha256=digest,
        bits_per_char=facts.score.bits_per_char if facts.score else None,
        operations=len(graph.step.operations),
        files=tuple(ExportedFile(name, len(data)) for name, data in contents.items()),
        parity=parity,
    )


def _trace(model: CharLM, cell: str) -> ModelGraph:
    try:
        return trace_model(model)
    except UnsupportedStep as reason:
        raise ConfigError(
            f"cannot export the cell {cell}: {reason}. Try functions of torch that `charlm "
            "cells show lstm` or another built-in cell uses"
        ) from None


def onnx_files(model: CharLM, graph: ModelGraph, weights: bytes) -> dict[str, bytes]:
    """Return model.onnx and start.onnx of a model.

    Args:
        model: Model with the kernel `loop`, in float32.
        graph: Its graph.
        weights: Its weights, as a safetensors file.

    Raises:
        ConfigError: ONNX cannot express an operation.
    """
    with torch.no_grad():
        logits, *states = (part.numpy() for part in TokenStep(model).initial_state(1))
    arrays = read_safetensors(weights)
    return {
        "model.onnx": onnx_file.step_model(graph, arrays, logits.shape[1]),
        "start.onnx": onnx_file.start_model(graph, (logits[0], *states)),
    }


def verify(model: CharLM, contents: Mapping[str, bytes]) -> tuple[ParityCheck, ...]:
    """Write the files to a temporary directory, and compare their logits with those of the loop.

    Args:
        model: Model with the kernel `loop`, in float32.
        contents: Files by name: those that the numpy reader needs, and perhaps those of ONNX.

    Raises:
        ConfigError: The logits differ.
        StorageError: The temporary directory has no room, or there is none.
    """
    with ExitStack() as stack:
        with _name_temporary_directory():
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for file, data in contents.items():
                (folder / file).write_bytes(data)
        reader, exact = NumpyReader(folder), NumpyReader(folder, "float64")
        exact_logits = reference_logits(model, "float64")
        references = reference_logits(model, "float32")
        checks = [
            check_parity(exact_logits, exact.logits_of_ids, "numpy", "float64"),
            check_parity(references, reader.logits_of_ids, "numpy", "float32"),
        ]
        if "model.onnx" in contents:
            read_tokens = OnnxReader(folder).read_tokens
            checks.append(check_parity(references, read_tokens, "onnxruntime", "float32"))
    return tuple(checks)


@contextmanager
def _name_temporary_directory() -> Iterator[None]:
    """Raise an OSError of the block as StorageError: with the directory for temporary files."""
    try:
        yield
    except OSError as error:
        try:
            place = f"to {tempfile.gettempdir()}"
        except FileNotFoundError:  # all were tried
            place = "to any directory for temporary files"
        raise StorageError(
            f"cannot write the model {place}, to verify it: {error.strerror}. Try another $TMPDIR"
        ) from error


def _exported_config(run: Run, weights_sha256: str) -> ExportedConfig:
    config = run.record.config
    custom = parse_custom_cell(config.cell)
    return ExportedConfig(
        format=GRAPH_FORMAT,
        cell=f"{custom[0].name}:{custom[1]}" if custom else config.cell,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        embedding_dim=config.embedding_dim,
        vocab_size=run.vocabulary.size,
        tie_weights=config.tie_weights,
        initial_state=config.initial_state,
        block=config.block,
        conv=config.conv,
        num_heads=config.num_heads,
        eigenvalues=config.eigenvalues,
        parameters=run.record.parameters,
        weights_sha256=weights_sha256,
    )


def _card_facts(run: Run, loaded: Checkpoint, *, has_onnx: bool) -> CardFacts:
    """Return what the card states: a score only if it is of these weights."""
    report, progress = run.report, loaded.progress
    is_scored = report is not None and report.weights_sha256 == loaded.sha256
    return CardFacts(
        record=run.record,
        vocabulary=run.vocabulary,
        step=progress.step,
        weights_sha256=loaded.sha256,
        score=report.score if report and is_scored else None,
        scored_split=report.scored_split if report and is_scored else "none",
        validation_bits=progress.valid_bits,
        has_onnx=has_onnx,
    )
