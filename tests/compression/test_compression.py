"""Compression: every byte comes back, by the bits that a score reports, or not at all."""

import hashlib
import json
import math
import os
import sys
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from conftest import charlm, make_run
from lossless_files import FILES
from untrained_models import checkpoint_tensors

import charlm as api
from charlm.compression import coder
from charlm.compression.coder import TokenDecoder, TokenDistribution, TokenEncoder
from charlm.compression.compress import FileCode, encode_file
from charlm.compression.container import Container
from charlm.compression.decompress import decode_file
from charlm.compression.file_tokens import FileTokenizer, code_point_bytes
from charlm.compression.predictor import current_build, hash_arithmetic
from charlm.data.vocabulary import Vocabulary
from charlm.errors import (
    CharlmError,
    ConfigError,
    DataError,
    DivergedError,
    OutputExistsError,
    StorageError,
    UsageError,
)
from charlm.evaluation.scoring import iter_token_nll
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.reporting.terminal.compression import print_compression
from charlm.results.compression import CompressionReport
from charlm.results.training import TrainingProgress
from charlm.runs.run import Run, load_run

TOLERANCE, SPARE_BITS = 1e-3, 64
SIZE = 1 << 24  # bytes of a large compressed file


class Coded(NamedTuple):
    """A model, and a file that it compressed."""

    run: Run
    model: CharLM
    original: bytes
    path: Path
    report: CompressionReport
    container: Container


@pytest.fixture(scope="module")
def models(
    trained: Path, tmp_path_factory: pytest.TempPathFactory, book: Path
) -> dict[str, tuple[Run, CharLM]]:
    """Return a trained run of characters, and one of bytes with large random weights."""
    run, corpus, config = make_run(tmp_path_factory.mktemp("bytes") / "run", book, vocab="bytes")
    model = build_char_lm(config, corpus.vocabulary.size, "loop", "cpu")
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter)
    progress = TrainingProgress(
        step=12, seconds=1, metrics_bytes=0, valid_bits=2.5, best_step=12, best_bits=2.5
    )
    run.save_checkpoint(progress, checkpoint_tensors(model, config.batch_size))
    runs = {"chars": load_run(trained), "bytes": run}
    return {name: (run, run.model()) for name, run in runs.items()}


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory, models: dict[str, tuple[Run, CharLM]]) -> Coded:
    run, model = models["chars"]
    folder = tmp_path_factory.mktemp("coded")
    original = FILES["the training text"][:300] + "漢".encode() + b"\xff"
    (folder / "text").write_bytes(original)
    report = api.compress(folder / "text", run, folder / "z")
    return Coded(run, model, original, folder / "z", report, Container.read(folder / "z"))


def encode(
    model: CharLM, vocabulary: Vocabulary, data: bytes, chunk: int = 100
) -> tuple[FileCode, Container]:
    """Return the code of a file, and a container with no more than decoding needs."""
    chunks = [data[start : start + chunk] for start in range(0, len(data), chunk)]
    code = encode_file(model, vocabulary, [*chunks, b""])
    empty = bytes(32)
    build = current_build(model.kernel)
    return code, Container(empty, empty, empty[:8], empty[:8], len(data), build, code.words)


def decode(model: CharLM, vocabulary: Vocabulary, container: Container) -> bytes:
    pieces: list[bytes] = []
    decode_file(model, vocabulary, container, pieces.append)
    return b"".join(pieces)


def written(container: Container, path: Path) -> Path:
    """Write a container whose checksum fits its content."""
    path.write_bytes(b"".join(container.encode()))
    return path


def refuse(coded: Coded, path: Path, kind: type[CharlmError], pattern: str, folder: Path) -> None:
    """Check that a file is refused for this reason, and nothing is left in the folder."""
    before = sorted(folder.iterdir())
    with pytest.raises(kind, match=pattern) as error:
        api.decompress(path, coded.run, folder / "out")
    assert "\n" not in str(error.value)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("kind", ["chars", "bytes"])
@pytest.mark.parametrize("name", FILES)
def test_file_is_restored_by_the_bits_that_are_reported(
    kind: str, name: str, models: dict[str, tuple[Run, CharLM]], tmp_path: Path
) -> None:
    (run, model), data = models[kind], FILES[name]
    code, container = encode(model, run.vocabulary, data, chunk=7)
    assert decode(model, run.vocabulary, container) == data
    coded_bits = 32 * len(code.words)
    assert coded_bits >= (1 - TOLERANCE) * code.model_bits - SPARE_BITS
    assert coded_bits <= (1 + TOLERANCE) * code.model_bits + SPARE_BITS
    (tmp_path / "text").write_bytes(data)
    try:
        score = api.evaluate(run, text=tmp_path / "text")
    except CharlmError:
        # An empty text, or bytes that are not UTF-8, have no score.
        assert not data or (kind == "chars" and not is_text(data))
        return
    assert math.fsum(score.block_bits) == pytest.approx(code.model_bits, rel=1e-5)
    assert (score.tokens, score.unknown_tokens) == (code.tokens, code.unknown_tokens)


def is_text(data: bytes) -> bool:
    try:
        return "\0" not in data.decode()
    except UnicodeDecodeError:
        return False


def test_costs_of_characters_sum_to_the_size_of_the_file(coded: Coded) -> None:
    """No cost is counted twice, and none is left out: also not of an unknown character."""
    text = FILES["the training text"].decode() + "漢字\n" * 3
    code, _ = encode(coded.model, coded.run.vocabulary, text.encode())
    ids = np.array(coded.run.vocabulary.encode(text))[:, None]
    windows = list(iter_token_nll(coded.model, ids, coded.run.vocabulary))
    costs = torch.cat(windows)[:, 0].numpy() / math.log(2)
    assert len(costs) == len(text) == code.tokens and code.unknown_tokens == 6
    assert costs.sum() == pytest.approx(code.model_bits, rel=1e-6)
    assert 0 <= 32 * len(code.words) - costs.sum() <= TOLERANCE * costs.sum() + SPARE_BITS


def test_rare_tokens_and_large_vocabularies_keep_their_probability() -> None:
    generator = np.random.default_rng(0)
    for scale, tokens in ((9.0, "any"), (0.5, "any"), (60.0, "likely")):
        encoder, bits, chosen, logits = TokenEncoder(), 0.0, [], []
        for _ in range(100):
            logits.append((generator.normal(size=5000) * scale).astype(np.float32))
            best = int(logits[-1].argmax())
            chosen.append(best if tokens == "likely" else int(generator.integers(5000)))
            distribution = TokenDistribution(logits[-1])
            encoder.encode(chosen[-1], distribution)
            bits += distribution.bits(chosen[-1])
        assert 32 * len(encoder.words()) <= (1 + TOLERANCE) * bits + SPARE_BITS
        assert 32 * len(encoder.words()) >= (1 - TOLERANCE) * bits - SPARE_BITS
        decoder = TokenDecoder(encoder.words())
        assert [decoder.decode(TokenDistribution(row)) for row in logits] == chosen
        assert decoder.is_exhausted


def test_every_code_point_costs_the_same() -> None:
    encoder, points = TokenEncoder(), [0, 0xDC80, 0xDCFF, 0xFFFF, 0x10000, 0x10FFFF] * 50
    for point in points:
        encoder.encode_code_point(point)
    assert 32 * len(encoder.words()) == pytest.approx(len(points) * math.log2(0x110000), abs=64)
    decoder = TokenDecoder(encoder.words())
    assert [decoder.decode_code_point() for _ in points] == points


def test_tokenizer_reads_the_same_in_any_chunks() -> None:
    vocabulary = Vocabulary("chars", (ord("e"), ord("雲")))
    for data in FILES.values():
        for size in (1, 2, 3, 1000):
            tokenizer = FileTokenizer(vocabulary)
            chunks = [data[start : start + size] for start in range(0, len(data), size)]
            points = [point for chunk in [*chunks, b""] for _, point in tokenizer.tokens(chunk)]
            assert b"".join(map(code_point_bytes, points)) == data
    with pytest.raises(ValueError, match=r"U\+D800"):
        code_point_bytes(0xD800)


def test_diverged_logits_are_refused() -> None:
    with pytest.raises(DivergedError, match="logits are not finite"):
        TokenDistribution(np.array([0.0, np.nan], np.float32))


# The file


def test_report_counts_every_bit_of_the_file(coded: Coded) -> None:
    report, size = coded.report, coded.path.stat().st_size
    assert size == report.compressed_bytes == report.header_bytes + report.coded_bits // 8
    assert report.file_bits == 8 * size and report.ratio == size / len(coded.original)
    assert report.header_bytes < 200
    assert (report.unknown_tokens, report.invalid_bytes) == (2, 1)
    assert report.model_bits_per_byte == report.model_bits / len(coded.original)
    assert report.coding_overhead == report.coded_bits / report.model_bits - 1
    assert report.original_sha256 == hashlib.sha256(coded.original).hexdigest()
    assert report.gzip_bytes > 20 and report.xz_bytes > 60


def test_only_bits_that_eval_reports_are_called_so(
    coded: Coded, capsys: pytest.CaptureFixture[str]
) -> None:
    print_compression(coded.report, "z")
    output = capsys.readouterr().out
    assert f"z: {coded.report.compressed_bytes:,} bytes" in output
    assert "1 byte outside UTF-8" in output and "as charlm eval reports" not in output
    print_compression(msgspec.structs.replace(coded.report, invalid_bytes=0), "z")
    assert "bits/byte, as charlm eval reports\n" in capsys.readouterr().out


@pytest.mark.slow
def test_commands_restore_a_file_in_another_process(tmp_path: Path, coded: Coded) -> None:
    """The second command runs in a Python of its own, which computes everything anew."""
    (tmp_path / "text").write_bytes(FILES["Python"])
    words = ["--run", coded.run.path, "--json"]
    done = charlm("compress", "text", "--out", "new/z", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout, type=CompressionReport)
    assert report.compressed_bytes == (tmp_path / "new" / "z").stat().st_size
    api.compress(tmp_path / "text", coded.run, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "new" / "z").read_bytes()
    done = charlm("decompress", "new/z", "--out", "other/copy", *words, cwd=tmp_path, env=None)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["original_sha256"] == report.original_sha256
    assert (tmp_path / "other" / "copy").read_bytes() == FILES["Python"]


def test_kernel_of_the_compressed_file_decompresses_it(coded: Coded, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(coded.original)
    report = api.compress(tmp_path / "text", coded.run, tmp_path / "z", kernel="loop")
    assert report.build.kernel == "loop"
    assert report.model_bits == pytest.approx(coded.report.model_bits, rel=1e-5)
    assert api.decompress(tmp_path / "z", coded.run, tmp_path / "out").build.kernel == "loop"
    assert (tmp_path / "out").read_bytes() == coded.original


def test_run_trained_in_bfloat16_is_coded_in_float32(coded: Coded, tmp_path: Path) -> None:
    run = load_run(coded.run.path)
    config = msgspec.structs.replace(run.record.config, dtype="bf16")
    run.record = msgspec.structs.replace(run.record, config=config)
    (tmp_path / "text").write_bytes(coded.original)
    api.compress(tmp_path / "text", run, tmp_path / "z")
    assert (tmp_path / "z").read_bytes() == coded.path.read_bytes()


# Damaged, foreign and malicious files


def test_every_flipped_byte_and_every_cut_is_refused(coded: Coded, tmp_path: Path) -> None:
    data, path = coded.path.read_bytes(), tmp_path / "z"
    for index in range(len(data)):
        path.write_bytes(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :])
        refuse(coded, path, DataError, "z: it is damaged|not a file of|version", tmp_path)
        path.write_bytes(data[:index])
        refuse(coded, path, DataError, "z: it is damaged|not a file of", tmp_path)
    path.write_bytes(data + b"\0")
    refuse(coded, path, DataError, "damaged", tmp_path)


def test_altered_code_is_refused_though_its_checksum_fits(coded: Coded, tmp_path: Path) -> None:
    """The end of a code decides nothing: its last two words are left as they are."""
    words = coded.container.words
    for index in range(0, 32 * (len(words) - 2), 97):
        altered = words.copy()
        altered[index // 32] ^= np.uint32(1 << index % 32)
        path = written(coded.container._replace(words=altered), tmp_path / "z")
        refuse(coded, path, DataError, "cannot decompress .*z: .*It was altered", tmp_path)


def test_size_is_checked_before_a_file_is_read(coded: Coded, tmp_path: Path) -> None:
    header, code = coded.container.encode()
    path = tmp_path / "z"
    path.write_bytes(header + code)
    os.truncate(path, SIZE)  # zeros follow, which need no disk
    assert peak_of_refusal(path, "its size does not fit its header") < 1 << 20
    long = coded.container._replace(original_bytes=SIZE)
    path.write_bytes(b"".join(long.encode()))
    os.truncate(path, SIZE - (SIZE - len(header)) % 4)
    assert peak_of_refusal(path, "its checksum does not fit its content") < 1 << 20
    path.write_bytes(header[:40])
    assert peak_of_refusal(path, "its header is not one of charlm") < 1 << 20


def test_code_is_in_memory_once(coded: Coded, tmp_path: Path) -> None:
    words = np.arange(SIZE // 4, dtype=np.uint32)
    path = written(coded.container._replace(words=words, original_bytes=SIZE), tmp_path / "z")
    tracemalloc.start()
    found = Container.read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found.words == words).all() and peak < SIZE + (1 << 20)


def peak_of_refusal(path: Path, cause: str) -> int:
    """Return the bytes of memory that a refused file took."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=f"z: it is damaged or cut off, since {cause}. Try "):
            Container.read(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_altered_content_is_refused_by_its_hash(coded: Coded, tmp_path: Path) -> None:
    words = coded.container.words.copy()
    words[3] ^= np.uint32(1 << 20)
    path = written(coded.container._replace(words=words), tmp_path / "z")
    refuse(coded, path, DataError, "cannot decompress .*z: .*Try another copy", tmp_path)
    other = coded.container._replace(original_sha256=bytes(32))
    refuse(coded, written(other, path), DataError, "another SHA-256", tmp_path)


def test_length_that_the_code_does_not_have_is_refused(coded: Coded) -> None:
    """A small file cannot make the decoder write without end."""
    vocabulary, container = coded.run.vocabulary, coded.container
    other, early = "its code has another length than the one", "its code ends before the length"
    size = len(coded.original)
    longer = f"{other}|{early}"  # by the bits that follow
    for length, pattern in ((size - 40, other), (size + 40, longer), (10**12, early)):
        pieces: list[bytes] = []
        with pytest.raises(DataError, match=pattern):
            decode_file(
                coded.model, vocabulary, container._replace(original_bytes=length), pieces.append
            )
        assert sum(map(len, pieces)) < 4 * len(coded.original) + 4096


def test_length_beyond_the_disk_is_refused(coded: Coded, tmp_path: Path) -> None:
    path = written(coded.container._replace(original_bytes=1 << 63), tmp_path / "z")
    refuse(
        coded,
        path,
        StorageError,
        "out: it will have 9,[0-9,]+ bytes, and [0-9,]+ are free there. Try",
        tmp_path,
    )


def test_another_build_is_refused_by_name(coded: Coded, tmp_path: Path) -> None:
    for name in ("charlm", "torch", "numpy", "constriction", "processor"):
        build = msgspec.structs.replace(coded.container.build, **{name: "9.9"})
        path = written(coded.container._replace(build=build), tmp_path / "z")
        refuse(coded, path, ConfigError, f"{name} 9.9 compressed it, and this is", tmp_path)
    build = msgspec.structs.replace(coded.container.build, kernel="no-such")
    path = written(coded.container._replace(build=build), path)
    refuse(coded, path, ConfigError, "no-such", tmp_path)


def test_another_model_vocabulary_or_arithmetic_is_refused(
    coded: Coded, models: dict[str, tuple[Run, CharLM]], tmp_path: Path
) -> None:
    other = coded._replace(run=models["bytes"][0])
    refuse(other, coded.path, ConfigError, "model with weights [0-9a-f]{16}… compressed", tmp_path)
    path = written(coded.container._replace(vocabulary_hash=bytes(8)), tmp_path / "z")
    refuse(coded, path, ConfigError, "another vocabulary", tmp_path)
    path = written(coded.container._replace(arithmetic_hash=bytes(8)), path)
    refuse(coded, path, ConfigError, "computes other probabilities", tmp_path)


def test_arithmetic_hash_notices_one_bit_of_a_weight(coded: Coded) -> None:
    model, size = coded.run.model(), coded.run.vocabulary.size
    before = hash_arithmetic(model, size)
    assert hash_arithmetic(model, size) == before == coded.container.arithmetic_hash
    with torch.no_grad():
        model.bias[0] = torch.nextafter(model.bias[0], torch.tensor(9.0))
    assert hash_arithmetic(model, size) != before


def test_outputs_that_exist_are_left_as_they_are(coded: Coded, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for function, path in ((api.compress, coded.path), (api.decompress, coded.path)):
        with pytest.raises(OutputExistsError, match="out: it exists"):
            function(path, coded.run, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_standard_streams_are_refused_by_name(
    coded: Coded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_bytes(coded.path.read_bytes())
    for function in (api.compress, api.decompress):
        with pytest.raises(UsageError, match="cannot read -: standard input is not .* Try a file"):
            function("-", coded.run, "out")
    (tmp_path / "-").unlink()
    for function in (api.compress, api.decompress):
        with pytest.raises(UsageError, match="cannot write -: standard output .* Try a file"):
            function(coded.path, coded.run, "-")
    assert not list(tmp_path.iterdir())


def test_missing_constriction_is_named(
    coded: Coded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    coder.load_constriction.cache_clear()
    try:
        for function in (api.compress, api.decompress):
            with pytest.raises(ConfigError, match=r"Try pip install 'charlm\[codec\]'"):
                function(coded.path, coded.run, tmp_path / "out")
    finally:
        coder.load_constriction.cache_clear()
    assert not list(tmp_path.iterdir())


def test_failure_while_coding_leaves_nothing(
    coded: Coded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(chunks: Iterable[bytes]) -> None:
        raise DivergedError("in the middle")

    monkeypatch.setattr(
        "charlm.compression.compress.encode_file", lambda model, vocabulary, chunks: fail(chunks)
    )
    with pytest.raises(DivergedError):
        api.compress(coded.path, coded.run, tmp_path / "out")
    assert not list(tmp_path.iterdir())
