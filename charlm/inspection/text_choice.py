"""Text to inspect: the beginning of a string, of a file or of the test split."""

from pathlib import Path

from charlm.data.corpus import Corpus
from charlm.data.encoded_text import EncodedText, encode
from charlm.data.names import printable
from charlm.data.sources import resolve_sources
from charlm.data.vocabulary import VocabularyKind
from charlm.progress import Progress
from charlm.results.inspection import InspectedText
from charlm.runs.run import Run

DEFAULT_LENGTH = 300  # tokens of the test split
MAX_LENGTH = 1000  # tokens of another text
LONGEST_CHARACTER = 4  # bytes of a character in UTF-8


def read_text(
    run: Run, corpus: Corpus, text: str | None, file: str | Path | None, progress: Progress
) -> tuple[str, InspectedText]:
    """Return the text to inspect, and its origin.

    Bytes that are not UTF-8 are lone surrogates in it (PEP 383).

    Args:
        run: Run whose vocabulary counts the tokens.
        corpus: Its corpus.
        text: A string, or None.
        file: A file, if there is no string; None: the test split.
        progress: Receiver of progress.
    """
    kind = run.vocabulary.kind
    if text is not None:
        is_truncated = len(run.vocabulary.encode(text)) > MAX_LENGTH
        beginning = text[:MAX_LENGTH]
        if kind == "bytes":
            beginning = decode_bytes(encode_bytes(text)[:MAX_LENGTH], is_truncated)
        return beginning, InspectedText(source="string", is_truncated=is_truncated)
    if file is not None:
        text_sources = resolve_sources([str(file)], run.record.config.glob).sources
        with progress.counter("reading the file") as tick:
            encoding = encode([text_sources], run.vocabulary, tick)
        beginning, is_truncated = read_span(encoding, 0, encoding.size, MAX_LENGTH, kind)
        return beginning, InspectedText(
            source="file", path=printable(file), is_truncated=is_truncated
        )
    start, end = corpus.record.splits["test"]
    beginning, is_truncated = read_span(corpus.encoding, start, end, DEFAULT_LENGTH, kind)
    return beginning, InspectedText(source="test", is_truncated=is_truncated)


def read_span(
    encoding: EncodedText, start: int, end: int, max_tokens: int, kind: VocabularyKind
) -> tuple[str, bool]:
    """Return the beginning of a span of an encoded text, and whether it is cut off."""
    is_truncated = end - start > max_tokens
    end = min(end, start + max_tokens)
    if kind == "chars":
        return encoding.text(start, end), is_truncated
    return decode_bytes(b"".join(encoding.iter_bytes(start, end, kind)), is_truncated), is_truncated


def encode_bytes(text: str) -> bytes:
    """Return the bytes of a text."""
    return text.encode("utf-8", "surrogateescape")


def decode_bytes(data: bytes, is_truncated: bool) -> str:
    """Return bytes as characters; one that is cut off at the end is left out."""
    for cut in range(LONGEST_CHARACTER if is_truncated else 1):
        try:
            return data[: len(data) - cut].decode()
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "surrogateescape")


def display_characters(text: str) -> list[str]:
    r"""Return the characters of a text; a byte that is not UTF-8 is written \xNN."""
    return [
        f"\\x{ord(character) - 0xDC00:02x}" if "\udc80" <= character <= "\udcff" else character
        for character in text
    ]
