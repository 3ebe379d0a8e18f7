"""Formats of files by their first bytes: archives, documents, images, and encodings of text."""

import codecs
import re
import tarfile
from contextlib import suppress
from typing import Literal, NamedTuple

FormatKind = Literal["archive", "compressed", "binary", "encoding"]
HEAD_BYTES = 1 << 16  # that are looked at
TAR_BLOCK = 512
NULL_SHARE = 0.5  # of NULs at one place of each character: Latin letters in UTF-16 or UTF-32
# Legal in text: tab, line ends, form feed, backspace, escape (of colors) and the DOS end of file.
TEXT_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x19\x1c-\x1f\x7f]")
HIGH_BYTES = re.compile(rb"[\x80-\xff]")
# Share of bytes above ASCII up to which an encoding seems to be one of Latin letters.
LATIN_SHARE = 0.2


class Format(NamedTuple):
    """Format of a file that is no text in UTF-8."""

    kind: FormatKind
    name: str  # for messages
    advice: str  # what to do, after "Try"

    @property
    def verb(self) -> str:
        """Return what stands between the name of a file and that of the format."""
        return "looks like" if self.kind == "encoding" else "is"


UNPACK = "to unpack it and name the folder"
TO_TEXT = "to convert it to plain text"
MAGIC = (  # first bytes
    (b"7z\xbc\xaf\x27\x1c", Format("archive", "a 7z archive", UNPACK)),
    (b"Rar!\x1a\x07", Format("archive", "a RAR archive", UNPACK)),
    (b"\x1f\x8b", Format("compressed", "compressed by gzip", "to name it .gz, or to unpack it")),
    (b"\xfd7zXZ\0", Format("compressed", "compressed by xz", "to name it .xz, or to unpack it")),
    (b"\x28\xb5\x2f\xfd", Format("compressed", "compressed by zstd", "zstd -d")),
    (b"\x04\x22\x4d\x18", Format("compressed", "compressed by lz4", "lz4 -d")),
    (b"\x1f\x9d", Format("compressed", "compressed by compress", "to unpack it")),
    (b"%PDF-", Format("binary", "a PDF", "pdftotext")),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Format("binary", "an old Office document", TO_TEXT)),
    (b"\x89PNG\r\n\x1a\n", Format("binary", "a PNG image", "another file")),
    (b"\xff\xd8\xff", Format("binary", "a JPEG image", "another file")),
    (b"GIF8", Format("binary", "a GIF image", "another file")),
    (b"\x7fELF", Format("binary", "a program", "another file")),
    (b"SQLite format 3\0", Format("binary", "an SQLite database", TO_TEXT)),
    (b"PAR1", Format("binary", "a Parquet table", TO_TEXT)),
)
BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
ZIP_DOCUMENTS = (  # names or contents of their first members
    (b"application/epub+zip", Format("binary", "an EPUB book", TO_TEXT)),
    (b"application/vnd.oasis", Format("binary", "an OpenDocument file", TO_TEXT)),
    (b"[Content_Types].xml", Format("binary", "an Office document", TO_TEXT)),
    (b"word/", Format("binary", "a Word document", TO_TEXT)),
)
BOMS = (  # UTF-32 first: its mark in little endian begins with that of UTF-16
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")  # no text in an older encoding begins with them
NULL_PATTERNS = (  # encoding, bytes per character, the places where Latin letters have a NUL
    ("utf-32-le", 4, (1, 2, 3)),
    ("utf-32-be", 4, (0, 1, 2)),
    ("utf-16-le", 2, (1,)),
    ("utf-16-be", 2, (0,)),
)


def identify(head: bytes) -> Format | None:
    """Return the format that the first bytes of a file tell; None: it may be text in UTF-8."""
    head = head[:HEAD_BYTES]
    for magic, found in MAGIC:
        if head.startswith(magic):
            return found
    if BZIP2.match(head):
        return Format("compressed", "compressed by bzip2", "to name it .bz2, or to unpack it")
    if head.startswith(ZIP):
        beginning = head[:4096]
        documents = (found for mark, found in ZIP_DOCUMENTS if mark in beginning)
        return next(documents, Format("archive", "a zip archive", UNPACK))
    if _is_tar(head):
        return Format("archive", "a tar archive", UNPACK)
    return _wide_encoding(head)


def sniff(head: bytes) -> Format | None:
    """Return why the beginning of a file is no text in UTF-8; None if it is."""
    if found := identify(head):
        return found
    try:
        head.decode()
    except UnicodeDecodeError as error:
        is_cut = error.end == len(head) and error.reason == "unexpected end of data"
        if not is_cut or len(head) < HEAD_BYTES:
            return legacy_encoding(head) or Format("binary", "binary", "another file")
    if b"\0" in head:
        return Format("binary", "binary", "another file")
    return None


def legacy_encoding(sample: bytes) -> Format | None:
    """Return the kind of encoding of bytes that are not UTF-8; None if they seem to be no text."""
    if not sample or TEXT_CONTROLS.search(sample) or sample.startswith(UTF16_MARKS):
        return None
    if len(HIGH_BYTES.findall(sample)) <= LATIN_SHARE * len(sample):
        return _encoding("Latin-1 or Windows-1252", "windows-1252")
    name = "an older encoding, such as Shift JIS, GB 18030 or KOI8-R"
    return Format("encoding", name, "iconv to convert it to UTF-8")


def _is_tar(head: bytes) -> bool:
    """Return whether a file begins with the header of a tar archive: its checksum tells."""
    if len(head) < TAR_BLOCK or b"\0" not in head[:TAR_BLOCK]:
        return False
    with suppress(tarfile.HeaderError):
        tarfile.TarInfo.frombuf(head[:TAR_BLOCK], "utf-8", "surrogateescape")
        return True
    return False


def _wide_encoding(head: bytes) -> Format | None:
    """Return UTF-16 or UTF-32, by a byte order mark or by the places of NULs."""
    for mark, encoding in BOMS:
        if head.startswith(mark) and _decode(head, encoding) is not None:
            return _encoding(encoding.upper(), encoding)
    for encoding, width, places in NULL_PATTERNS if b"\0" in head else ():
        columns = [head[place::width].count(0) for place in range(width)]
        characters = len(head) // width
        are_null = [count >= NULL_SHARE * characters for count in columns]
        pattern = [place in places for place in range(width)]
        if characters >= 2 and are_null == pattern and _is_text(head, encoding):
            return _encoding(encoding[:6].upper(), encoding)
    return None


def _is_text(head: bytes, encoding: str) -> bool:
    """Return whether bytes are text in an encoding, not numbers."""
    text = _decode(head, encoding)
    return text is not None and not TEXT_CONTROLS.search(text.encode())


def _decode(head: bytes, encoding: str) -> str | None:
    """Return the beginning of a file in an encoding; None if it is not in it."""
    is_whole = len(head) < HEAD_BYTES
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head, final=is_whole)
    except UnicodeDecodeError:
        return None


def _encoding(name: str, iconv_name: str) -> Format:
    return Format("encoding", name, f"iconv -f {iconv_name} -t utf-8")
