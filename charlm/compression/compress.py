"""Compression of a file with the probabilities of a run."""

import hashlib
import lzma
import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from charlm.compression.coder import TokenEncoder, load_constriction
from charlm.compression.container import Container, Words
from charlm.compression.file_tokens import INVALID_BYTES, FileTokenizer
from charlm.compression.paths import check_input, check_output
from charlm.compression.predictor import Codec, Predictor, load_codec
from charlm.data.vocabulary import Vocabulary
from charlm.errors import DivergedError
from charlm.models.char_lm import CharLM
from charlm.progress import NoProgress, Progress, ProgressCallback
from charlm.results.compression import CompressionReport
from charlm.results.text import UNICODE_CODE_POINTS
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.run import Run, open_run
from charlm.storage import files
from charlm.storage.reading import open_regular_file

CHUNK_BYTES = 1 << 12  # between two reports of progress
MAX_XZ_WINDOW = 1 << 27  # bytes of history: 1.4 GB of memory


class FileCode(NamedTuple):
    """Code of a file, and what was counted."""

    words: Words
    model_bits: float
    tokens: int
    unknown_tokens: int
    invalid_bytes: int


class FileSummary:
    """Hash and size of a file, and its sizes by other compressors, from one pass over it.

    Attributes:
        size: Bytes read so far.
        digest: Their SHA-256.
        gzip_bytes: Bytes by gzip -9; complete after the last chunk, which is empty.
        xz_bytes: Bytes by xz -9e.
    """

    def __init__(self, expected_size: int) -> None:
        """Start with nothing; expected_size: bytes that the history of xz has to hold."""
        window = min(max(expected_size, 1 << 12), MAX_XZ_WINDOW)
        lzma2 = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": window}
        self._gzip, self._xz = zlib.compressobj(9, wbits=31), lzma.LZMACompressor(filters=[lzma2])
        self.digest = hashlib.sha256()
        self.size = self.gzip_bytes = self.xz_bytes = 0

    def add(self, chunk: bytes) -> None:
        """Read a chunk; b"" is the end of the file."""
        self.size += len(chunk)
        self.digest.update(chunk)
        self.gzip_bytes += len(self._gzip.compress(chunk) if chunk else self._gzip.flush())
        self.xz_bytes += len(self._xz.compress(chunk) if chunk else self._xz.flush())


def compress(
    path: str | Path,
    run: Run | str | Path,
    out: str | Path,
    *,
    checkpoint: CheckpointName = "best",
    kernel: str = "auto",
    progress: Progress = NoProgress(),
) -> CompressionReport:
    """Compress a file of any bytes with a range coder and the probabilities of a run.

    Tokens are read as `evaluate` reads them: as one stream, each once, with carried state. The
    model computes on the CPU in float32, with one thread, one token at a time. A compressed text,
    such as a .gz file, is not unpacked.

    Args:
        path: File to compress; its bytes are taken as they are.
        run: Run with at least one checkpoint, or its directory.
        out: Compressed file to write.
        checkpoint: "best" on validation, or "last".
        kernel: Name of a kernel, or "auto" for the fastest one. `decompress` uses the same.
        progress: Receives numbers of bytes that were coded.

    Returns:
        Sizes of the file and of its code, and the bits of the model.

    Raises:
        UsageError: A path is "-".
        InputNotFoundError: The file or a checkpoint cannot be found.
        OutputExistsError: `out` exists.
        ConfigError: constriction is not installed, or the kernel is unknown.
        DataError: A file of the run is damaged.
        DivergedError: The logits are not finite.
    """
    path, out = Path(path), Path(out)
    check_input(path)
    check_output(out)
    load_constriction()
    run = open_run(run)
    codec = load_codec(run, checkpoint, kernel)
    expected_size = path.stat().st_size
    summary = FileSummary(expected_size)
    files.make_directory(out.absolute().parent)
    with (
        files.AtomicFileWriter(out) as file,
        progress.counter("compressing", expected_size) as count,
    ):
        code = encode_file(codec.model, run.vocabulary, _read(path, summary, count))
        container = Container(
            weights_sha256=bytes.fromhex(codec.weights_sha256),
            original_sha256=summary.digest.digest(),
            vocabulary_hash=codec.vocabulary_hash,
            arithmetic_hash=codec.arithmetic_hash,
            original_bytes=summary.size,
            build=codec.build,
            words=code.words,
        )
        header, data = container.encode()
        file.write(header)
        file.write(data)
        file.commit()
    return _report(codec, code, summary, len(header), len(data))


@torch.inference_mode()
def encode_file(model: CharLM, vocabulary: Vocabulary, chunks: Iterable[bytes]) -> FileCode:
    """Return the code of a file that is given in chunks, of which the last is empty.

    Raises:
        DivergedError: The logits are not finite.
    """
    predictor, encoder, tokenizer = (
        Predictor(model),
        TokenEncoder(),
        FileTokenizer(vocabulary),
    )
    unknown_id, bits, tokens, unknown, invalid = vocabulary.unk_id, 0.0, 0, 0, 0
    for chunk in chunks:
        for token, code_point in tokenizer.tokens(chunk):
            distribution = predictor.distribution()
            encoder.encode(token, distribution)
            bits += distribution.bits(token)
            tokens += 1
            if token == unknown_id:
                encoder.encode_code_point(code_point)
                bits += math.log2(UNICODE_CODE_POINTS)
                unknown += 1
                invalid += code_point in INVALID_BYTES
            predictor.advance(token)
    if not math.isfinite(bits):
        raise DivergedError(
            f"cannot code with this model: the file costs {bits} bits, since training diverged. "
            "Try --checkpoint best, or train again with a lower --learning-rate"
        )
    return FileCode(encoder.words(), bits, tokens, unknown, invalid)


def _read(path: Path, summary: FileSummary, count: ProgressCallback) -> Iterator[bytes]:
    """Iterate over the chunks of a file, and over an empty one."""
    with open_regular_file(path.resolve()) as file:  # its name may be a link
        is_last = False
        while not is_last:
            chunk = file.read(CHUNK_BYTES)
            is_last = not chunk
            summary.add(chunk)
            yield chunk
            count(len(chunk))


def _report(
    codec: Codec, code: FileCode, summary: FileSummary, header_bytes: int, code_bytes: int
) -> CompressionReport:
    size, compressed, coded_bits = summary.size, header_bytes + code_bytes, 8 * code_bytes
    return CompressionReport(
        original_bytes=size,
        compressed_bytes=compressed,
        header_bytes=header_bytes,
        tokens=code.tokens,
        unknown_tokens=code.unknown_tokens,
        invalid_bytes=code.invalid_bytes,
        model_bits=code.model_bits,
        model_bits_per_byte=code.model_bits / size if size else None,
        coded_bits=coded_bits,
        file_bits=8 * compressed,
        coding_overhead=coded_bits / code.model_bits - 1 if code.model_bits else None,
        ratio=compressed / size if size else None,
        gzip_bytes=summary.gzip_bytes,
        xz_bytes=summary.xz_bytes,
        original_sha256=summary.digest.hexdigest(),
        weights_sha256=codec.weights_sha256,
        build=codec.build,
    )
