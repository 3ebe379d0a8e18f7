"""Decompression of a file with the model that compressed it."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import torch

from charlm.compression.coder import TokenDecoder, load_constriction
from charlm.compression.container import Container
from charlm.compression.file_tokens import code_point_bytes, token_bytes
from charlm.compression.paths import check_output
from charlm.compression.predictor import Codec, Predictor, current_build, load_codec
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DataError, StorageError
from charlm.models.char_lm import CharLM
from charlm.progress import NoProgress, Progress
from charlm.results.compression import DecompressionReport
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.run import Run, open_run
from charlm.storage import files

PIECE_BYTES = 1 << 12  # that are written at once
# A valid code has the bits of its tokens. What the coder rounds, and what a code may lack at its
# end, is far less than this.
MAX_COUNTED_BITS = 16.0  # of one token: the coder may give a rare one fewer bits than the model
SPARE_SHARE, SPARE_BITS, SPARE_BITS_PER_TOKEN = 0.02, 128.0, 1e-6


def decompress(
    path: str | Path,
    run: Run | str | Path,
    out: str | Path,
    *,
    checkpoint: CheckpointName = "best",
    progress: Progress = NoProgress(),
) -> DecompressionReport:
    """Restore a file that `compress` wrote, with the same run and the same build.

    The restored file appears under its name once its SHA-256 is that of the original.

    Args:
        path: Compressed file.
        run: Run that compressed it, or its directory.
        out: File to write.
        checkpoint: "best" on validation, or "last".
        progress: Receives numbers of bytes that were restored.

    Raises:
        UsageError: A path is "-".
        InputNotFoundError: The file or a checkpoint cannot be found.
        OutputExistsError: `out` exists.
        DataError: It is no compressed file, or damaged.
        ConfigError: Another model or another build compressed it, or constriction is not installed.
        StorageError: The disk has no room for the restored file.
    """
    path, out = Path(path), Path(out)
    container = Container.read(path)
    check_output(out)
    load_constriction()
    run = open_run(run)
    _check_build(path, container)
    codec = load_codec(run, checkpoint, container.build.kernel)
    _check_model(path, run, codec, container)
    free = files.free_bytes(out)
    if container.original_bytes > free:
        raise StorageError(
            f"cannot write {out}: it will have {container.original_bytes:,} bytes, and "
            f"{free:,} are free there. Try another path"
        )
    digest = hashlib.sha256()
    files.make_directory(out.absolute().parent)
    with (
        files.AtomicFileWriter(out) as file,
        progress.counter("decompressing", container.original_bytes) as count,
    ):

        def write(piece: bytes) -> None:
            file.write(piece)
            digest.update(piece)
            count(len(piece))

        try:
            decode_file(codec.model, run.vocabulary, container, write)
            if digest.digest() != container.original_sha256:
                raise DataError("the restored bytes have another SHA-256 than the original")
        except DataError as error:
            raise DataError(
                f"cannot decompress {path}: {error}. It was altered, or this machine computes "
                "other probabilities. Try another copy, or the machine that compressed it"
            ) from error
        file.commit()
    return DecompressionReport(
        original_bytes=container.original_bytes,
        compressed_bytes=path.stat().st_size,
        original_sha256=digest.hexdigest(),
        weights_sha256=codec.weights_sha256,
        build=container.build,
    )


@torch.inference_mode()
def decode_file(
    model: CharLM, vocabulary: Vocabulary, container: Container, write: Callable[[bytes], object]
) -> None:
    """Decode the file of a container, and write it in pieces.

    Raises:
        DataError: The code is not one of this model, or not of this length.
    """
    predictor, decoder = Predictor(model), TokenDecoder(container.words)
    bytes_of, piece, remaining = token_bytes(vocabulary), bytearray(), container.original_bytes
    unknown_id = vocabulary.unk_id
    counted, limit = 0.0, 32 * len(container.words) * (1 + SPARE_SHARE) + SPARE_BITS
    while remaining > 0:
        distribution = predictor.distribution()
        token = decoder.decode(distribution)
        counted += min(distribution.bits(token), MAX_COUNTED_BITS) - SPARE_BITS_PER_TOKEN
        if counted > limit:
            raise DataError("its code ends before the length that it names")
        if token == unknown_id:
            try:
                data = code_point_bytes(decoder.decode_code_point())
            except ValueError as error:
                raise DataError(str(error)) from error
        else:
            data = bytes_of[token]
        remaining -= len(data)
        piece += data
        if len(piece) >= PIECE_BYTES:
            write(bytes(piece))
            piece.clear()
        predictor.advance(token)
    write(bytes(piece))
    if remaining or not decoder.is_exhausted:
        raise DataError("its code has another length than the one that it names")


def _check_build(path: Path, container: Container) -> None:
    """Raise ConfigError if other versions or another processor compressed the file."""
    here = current_build(container.build.kernel)
    pairs = zip(
        here.__struct_fields__,
        msgspec.structs.astuple(container.build),
        msgspec.structs.astuple(here),
        strict=True,
    )
    differing = [
        f"{name} {theirs} compressed it, and this is {ours}"
        for name, theirs, ours in pairs
        if theirs != ours
    ]
    if differing:
        raise ConfigError(
            f"cannot decompress {path}: {'; '.join(differing)}. Only the same build computes the "
            "same probabilities. Try that one"
        )


def _check_model(path: Path, run: Run, codec: Codec, container: Container) -> None:
    """Raise ConfigError if another model, vocabulary or arithmetic compressed the file."""
    theirs = container.weights_sha256.hex()
    if theirs != codec.weights_sha256:
        raise ConfigError(
            f"cannot decompress {path}: the model with weights {theirs[:16]}… compressed it, and "
            f"{run.path} has {codec.weights_sha256[:16]}…. Try the run that compressed it, or its "
            "other --checkpoint"
        )
    if container.vocabulary_hash != codec.vocabulary_hash:
        raise ConfigError(
            f"cannot decompress {path}: a model with another vocabulary than that of {run.path} "
            "compressed it. Try the run that compressed it"
        )
    if container.arithmetic_hash != codec.arithmetic_hash:
        raise ConfigError(
            f"cannot decompress {path}: this machine computes other probabilities than the one "
            "that compressed it, by its processor, compiler or libraries. Try that machine"
        )
