"""Compressed and restored files on a terminal."""

from charlm.console import print_result
from charlm.reporting.formatting import pluralize
from charlm.results.compression import CompressionReport, DecompressionReport


def print_compression(report: CompressionReport, path: str) -> None:
    """Print the size of a compressed file, beside the bits of the model and other compressors."""
    share = "" if report.ratio is None else f", {report.ratio:.1%} of the file"
    print_result(f"{path}: {report.compressed_bytes:,} bytes{share}")
    per_byte = (
        ""
        if report.model_bits_per_byte is None
        else f", {report.model_bits_per_byte:.4f} bits/byte"
    )
    # charlm eval refuses a text that is not UTF-8.
    as_scored = "" if report.invalid_bytes else ", as charlm eval reports"
    print_result(f"model      {report.model_bits:,.1f} bits{per_byte}{as_scored}")
    overhead = "" if report.coding_overhead is None else f" ({report.coding_overhead:+.3%})"
    print_result(f"code       {report.coded_bits:,} bits{overhead}")
    print_result(f"header     {8 * report.header_bytes:,} bits: {report.header_bytes} bytes")
    print_result(
        f"original   {report.original_bytes:,} bytes; gzip {report.gzip_bytes:,}, "
        f"xz {report.xz_bytes:,}"
    )
    if report.unknown_tokens:
        unknown = pluralize(report.unknown_tokens, "character")
        invalid = report.invalid_bytes
        print_result(
            f"unknown    {unknown} that the model does not know"
            + (f", of these {pluralize(invalid, 'byte')} outside UTF-8" if invalid else "")
        )


def print_decompression(report: DecompressionReport, path: str) -> None:
    """Print the size and hash of a restored file."""
    print_result(f"{path}: {report.original_bytes:,} bytes, restored and verified")
    print_result(f"SHA-256    {report.original_sha256}")
