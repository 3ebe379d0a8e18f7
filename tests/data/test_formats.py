"""Formats of files: archives, documents and encodings are named with the way out."""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import prose

from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.data.formats import identify, sniff
from charlm.errors import DataError

TEXT = prose(2000)
FRENCH = "L'été, déjà, où le maïs mûrit près de la forêt.\n" * 20


def zipped(*members: tuple[str, str], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def tarred(tar_format: int = tarfile.PAX_FORMAT, mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tar_format) as archive:  # type: ignore
        member = tarfile.TarInfo("a.txt")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT.encode()))
    return file.getvalue()


V7_TAR = bytearray(tarred(tarfile.USTAR_FORMAT))  # older than the mark "ustar"
V7_TAR[257:265] = bytes(8)
V7_TAR[148:156] = b" " * 8
V7_TAR[148:156] = b"%06o\0 " % sum(V7_TAR[:512])

UNPACK = "Try to unpack it and name the folder"
CONVERT = "Try to convert it to plain text"
FILES: dict[str, tuple[bytes, str]] = {  # name: (content, end of the message)
    "stored.zip": (zipped(("a.txt", TEXT)), f"is a zip archive. {UNPACK}"),
    "input.zip": (
        zipped(("a.txt", TEXT), method=zipfile.ZIP_DEFLATED),
        f"is a zip archive. {UNPACK}",
    ),
    "empty.zip": (zipped(), f"is a zip archive. {UNPACK}"),
    "input.tar": (tarred(), f"is a tar archive. {UNPACK}"),
    "gnu.tar": (tarred(tarfile.GNU_FORMAT), f"is a tar archive. {UNPACK}"),
    "v7.tar": (bytes(V7_TAR), f"is a tar archive. {UNPACK}"),
    "input.tar.gz": (tarred(mode="w:gz"), f"is a tar archive. {UNPACK}"),
    "input.tar.xz": (tarred(mode="w:xz"), f"is a tar archive. {UNPACK}"),
    "input.7z": (b"7z\xbc\xaf\x27\x1c" + bytes(50), f"is a 7z archive. {UNPACK}"),
    "input.rar": (b"Rar!\x1a\x07\x01\0" + bytes(50), f"is a RAR archive. {UNPACK}"),
    "gz-renamed.txt": (
        gzip.compress(TEXT.encode()),
        "is compressed by gzip. Try to name it .gz, or to unpack it",
    ),
    "bz2.txt": (bz2.compress(TEXT.encode()), "by bzip2. Try to name it .bz2, or to unpack it"),
    "xz.txt": (lzma.compress(TEXT.encode()), "by xz. Try to name it .xz, or to unpack it"),
    "zst.txt": (b"\x28\xb5\x2f\xfd" + bytes(50), "is compressed by zstd. Try zstd -d"),
    "thesis.docx": (
        zipped(("[Content_Types].xml", "<Types/>"), ("word/document.xml", "<w/>")),
        f"is an Office document. {CONVERT}",
    ),
    "book.epub": (
        zipped(("mimetype", "application/epub+zip"), ("book.html", TEXT)),
        f"is an EPUB book. {CONVERT}",
    ),
    "old.doc": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(50), "an old Office document. Try"),
    "plain.pdf": (b"%PDF-1.4\n" + TEXT.encode(), "is a PDF. Try pdftotext"),
    "photo.txt": (b"\x89PNG\r\n\x1a\n" + bytes(50), "is a PNG image. Try another file"),
    "bom16.txt": (TEXT.encode("utf-16"), "looks like UTF-16. Try iconv -f utf-16 -t utf-8, or"),
    "bom32.txt": (TEXT.encode("utf-32"), "looks like UTF-32. Try iconv -f utf-32 -t utf-8, or"),
    "le16.txt": (TEXT.encode("utf-16-le"), "looks like UTF-16. Try iconv -f utf-16-le -t utf-8"),
    "be16.txt": (TEXT.encode("utf-16-be"), "looks like UTF-16. Try iconv -f utf-16-be -t utf-8"),
    "le32.txt": (TEXT.encode("utf-32-le"), "looks like UTF-32. Try iconv -f utf-32-le -t utf-8"),
    "latin.txt": (
        FRENCH.encode("latin-1"),
        "(line 1, column 3). It looks like Latin-1 or Windows-1252. Try iconv -f windows-1252",
    ),
    "japanese.txt": (
        ("吾輩は猫である。名前はまだ無い。\n" * 40).encode("shift_jis"),
        "It looks like an older encoding, such as Shift JIS",
    ),
    "odd-mark.txt": (
        b"\xff\xfe" + b"abc" * 33,
        "at byte 0 (line 1, column 1). Try to convert it, or --vocab",
    ),
    "lone-mark.txt": (
        b"\xff\xfe" + b"\1\xdc" * 40,
        "at byte 0 (line 1, column 1). Try to convert it, or --vocab bytes",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_text_is_named_with_the_way_out(name: str, tmp_path: Path) -> None:
    data, message = FILES[name]
    file = tmp_path / name
    file.write_bytes(data)
    with pytest.raises(DataError, match=re.escape(message)) as error:
        load_corpus(file)
    assert name in str(error.value) and "\n" not in str(error.value)
    assert sniff(data) is not None
    with pytest.raises(DataError, match=re.escape(message)):
        load_corpus(file, validate_config({"split_by": "line"}))
    corpus = load_corpus(file, validate_config({"vocab": "bytes"}))
    if not name.endswith((".gz", ".xz", "latin.txt", "japanese.txt", "mark.txt")):
        assert "no_text" in {note.kind for note in corpus.record.notes}


@pytest.mark.parametrize(
    "text",
    [
        "BZhou is a name, not a file of bzip2\n",
        "PK is not enough\n",
        "%PD",
        "\ufeffa byte order mark",
        "one\ntwo",
        FRENCH,
        "猫" * 300,
        "a",
        "\x1b[1mbold\x1b[0m\x0c",
    ],
)
def test_text_is_text(text: str) -> None:
    assert identify(text.encode()) is None and sniff(text.encode()) is None


def test_binary_numbers_are_not_taken_for_utf16() -> None:
    numbers = b"".join(number.to_bytes(2, "little") for number in range(1, 200))
    found = sniff(numbers)
    assert found is not None and found.kind == "binary"


def test_lines_that_end_in_cr_alone_are_noted_and_explained(tmp_path: Path) -> None:
    file = tmp_path / "mac.txt"
    file.write_text(TEXT.replace("\n", "\r"), newline="")
    (note,) = load_corpus(file).record.notes
    assert (note.kind, note.source) == ("cr", str(file))
    with pytest.raises(DataError, match=r"with CR alone. Try to convert it by tr '\\r' '\\n'"):
        load_corpus(file, validate_config({"split_by": "line"}))
