"""Compress real texts with an LSTM and a GRU, and compare the files with the reported bits.

    python scripts/compression_table.py FOLDER FILE... [--characters 500000]

Trains both cells, with the settings that `charlm train` has by default, on 90 % of python-docs.
Then compresses and restores the last 5 % of it and each FILE. Prints a Markdown table of bytes and
the speed of both directions. Exits with 1 if a byte is lost, or if a code differs by more than
0.1 % plus 64 bits from what `charlm eval` reports.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import charlm
from charlm.data.sources import python_docs
from charlm.evaluation.baselines import measure_baselines
from charlm.results.compression import CompressionReport

CELLS = ("lstm", "gru")
TOLERANCE, SPARE_BITS = 1e-3, 64
T = TypeVar("T")


class Row(NamedTuple):
    """Measurement of one file by one cell."""

    cell: str
    name: str
    scored_bits: float  # that charlm eval reports
    report: CompressionReport
    ngram_bytes: float
    encoding_seconds: float  # of CPU
    decoding_seconds: float  # of CPU
    is_restored: bool

    @property
    def deviation(self) -> float:
        """Bits of the code beyond the reported ones, as a share."""
        return self.report.coded_bits / self.scored_bits - 1

    @property
    def is_good(self) -> bool:
        """Whether all bytes are restored, by the bits that are reported."""
        difference = abs(self.report.coded_bits - self.scored_bits)
        return self.is_restored and difference <= TOLERANCE * self.scored_bits + SPARE_BITS


def write_splits(folder: Path) -> tuple[Path, Path, Path]:
    """Write 90, 5 and 5 % of python-docs; return the three files."""
    text = b"".join(chunk for source in python_docs() for chunk in source.chunks()).decode()
    edges = [0, len(text) * 90 // 100, len(text) * 95 // 100, len(text)]
    paths = tuple(folder / f"python-docs.{name}.txt" for name in ("train", "valid", "test"))
    for path, start, end in zip(paths, edges, edges[1:], strict=False):
        path.write_bytes(text[start:end].encode())
    return paths[0], paths[1], paths[2]


def timed(function: Callable[[], T]) -> tuple[T, float]:
    """Return a result and the CPU seconds that it took."""
    start = time.process_time()
    return function(), time.process_time() - start


def measure(cell: str, run: charlm.Run, path: Path, folder: Path, ngram_bytes: float) -> Row:
    """Compress and restore a file; both outputs are removed."""
    code, copy = folder / "code.clz", folder / "copy"
    for output in (code, copy):
        output.unlink(missing_ok=True)
    report, encoding_seconds = timed(lambda: charlm.compress(path, run, code))
    _, decoding_seconds = timed(lambda: charlm.decompress(code, run, copy))
    scored_bits = math.fsum(charlm.evaluate(run, text=path).block_bits)
    is_restored = copy.read_bytes() == path.read_bytes()
    return Row(
        cell=cell,
        name=path.name,
        scored_bits=scored_bits,
        report=report,
        ngram_bytes=ngram_bytes,
        encoding_seconds=encoding_seconds,
        decoding_seconds=decoding_seconds,
        is_restored=is_restored,
    )


def print_table(rows: list[Row]) -> None:
    """Print the table and the speeds."""
    print(
        "| text | bytes | gzip | xz | n-gram | cell | reported bits / 8 | code | file | deviation |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for row in rows:
        report = row.report
        print(
            f"| {row.name} | {report.original_bytes:,} | {report.gzip_bytes:,} "
            f"| {report.xz_bytes:,} | {row.ngram_bytes:,.0f} | {row.cell.upper()} "
            f"| {row.scored_bits / 8:,.1f} | {report.coded_bits // 8:,} "
            f"| {report.compressed_bytes:,} | {row.deviation:+.4%} |"
        )
    for cell in CELLS:
        own = [row for row in rows if row.cell == cell]
        tokens = sum(row.report.tokens for row in own)
        encoding, decoding = (
            sum(getattr(row, f"{name}_seconds") for row in own) for name in ("encoding", "decoding")
        )
        print(
            f"\n{cell.upper()}: {tokens / encoding:,.0f} characters per CPU second encoded, "
            f"{tokens / decoding:,.0f} decoded"
        )


def main() -> int:
    """Train, compress, restore, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for texts, runs and codes; runs are resumed")
    parser.add_argument("files", type=Path, nargs="*", metavar="FILE", help="texts in UTF-8")
    parser.add_argument("--characters", type=int, default=500_000, help="read in training")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    train, valid, test = write_splits(folder)
    rows = []
    for path in (test, *(file.absolute() for file in arguments.files)):
        config = charlm.Config(valid_file=str(valid), test_file=str(path))
        (ngram,) = measure_baselines(charlm.load_corpus(train, config), names=["n-gram"])
        assert ngram.bits_per_byte is not None
        ngram_bytes = ngram.bits_per_byte * path.stat().st_size / 8
        for cell in CELLS:
            config = charlm.Config(
                cell=cell,
                valid_file=str(valid),
                test_file=str(test),
                characters=arguments.characters,
            )
            corpus = charlm.load_corpus(train, config)
            run = charlm.train(corpus, config, run_dir=folder / cell, resume=True)
            rows.append(measure(cell, run, path, folder, ngram_bytes))
    print_table(rows)
    return int(not all(row.is_good for row in rows))


if __name__ == "__main__":
    sys.exit(main())
