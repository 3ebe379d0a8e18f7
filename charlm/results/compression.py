"""Results of compression, and the versions that decide the bits of a model's probabilities."""

import msgspec


class Build(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Software and processor that computed the probabilities, in the head of a compressed file."""

    charlm: str  # version
    torch: str  # version
    numpy: str  # version
    constriction: str  # version
    processor: str  # architecture and instruction set
    kernel: str  # kernel of the recurrence


class CompressionReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of a file and of its code: result of `charlm compress`."""

    original_bytes: int  # of the file
    compressed_bytes: int  # of the compressed file
    header_bytes: int  # of these: what is needed to check model, build and content
    tokens: int  # coded tokens: characters or bytes
    unknown_tokens: int  # characters that the vocabulary does not have
    invalid_bytes: int  # of these: bytes that are not UTF-8
    model_bits: float  # by the model's probabilities in float64: the score of charlm eval
    model_bits_per_byte: float | None  # None if the file is empty
    coded_bits: int  # of the compressed file without its header
    file_bits: int  # of the whole compressed file
    coding_overhead: float | None  # coded_bits / model_bits - 1; None if the file is empty
    ratio: float | None  # compressed_bytes / original_bytes; None if the file is empty
    gzip_bytes: int  # of the same file by gzip -9
    xz_bytes: int  # of the same file by xz -9e
    original_sha256: str  # of the file
    weights_sha256: str  # of the model
    build: Build  # that can decompress it


class DecompressionReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A restored file, which has been verified: result of `charlm decompress`."""

    original_bytes: int  # of the restored file
    compressed_bytes: int  # of the compressed file
    original_sha256: str  # of the restored file
    weights_sha256: str  # of the model
    build: Build  # that compressed it
