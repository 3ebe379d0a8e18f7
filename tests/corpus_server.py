"""Server of small corpora on this machine, with the faults that servers have."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from conftest import prose

from charlm.data.catalog import CatalogDownload, CatalogEntry, CatalogText

BOOK = prose(30_000).encode()
SPLITS = {"train": b" a  b \nc\n", "valid": b" d e \n", "test": b"f g h\n"}
EUROS = ("\N{EURO SIGN}" * 1000).encode()  # three bytes each


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"inner/{name}", content)
    return file.getvalue()


def tarred(**members: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


FILES = {
    "book.txt": BOOK,
    "euros.zip": zipped(euros=EUROS),
    "parts.tar.gz": tarred(**SPLITS, other=b"binary"),
    **{f"{split}.txt": content for split, content in SPLITS.items()},
}


class Handler(BaseHTTPRequestHandler):
    """The first part of a path is the fault, the second the file."""

    stopped: threading.Event

    def do_GET(self) -> None:
        fault, name = self.path.strip("/").split("/")
        data = FILES[name]
        if fault in ("404", "503"):
            self.send_error(int(fault))
            return
        if fault in ("loop", "file"):
            self.send_response(302)
            self.send_header("Location", self.path if fault == "loop" else "file:///etc/hostname")
            self.end_headers()
            return
        if fault == "other":
            data = bytes(len(data))
        if fault == "long":
            data = data * 20
        if fault == "short":
            data = data[:-7]
        self.send_response(200)
        self.send_header("Content-Length", str(len(data) + (fault == "cut")))
        self.end_headers()
        if fault == "hang":
            self.wfile.write(data[:1000])
            self.wfile.flush()
            self.stopped.wait(60)
            return
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def serve() -> Iterator[str]:
    """Serve the files until the block ends; yield the address."""
    Handler.stopped = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        Handler.stopped.set()
        server.shutdown()
        thread.join()
        server.server_close()


def download(address: str, name: str, *texts: CatalogText, hashed: bool = True) -> CatalogDownload:
    """Return the download of a file."""
    digest = f"sha256:{hashlib.sha256(FILES[name]).hexdigest()}" if hashed else ""
    return CatalogDownload(f"{address}/{name}", len(FILES[name]), texts, digest)


def entry(*downloads: CatalogDownload, **settings: object) -> CatalogEntry:
    """Return a corpus of these downloads."""
    return CatalogEntry("title", "licence", "source", "citation", downloads, **settings)  # type: ignore[arg-type]


def example_catalog(address: str) -> dict[str, CatalogEntry]:
    """Return corpora of every kind."""
    parts = [CatalogText(split, split) for split in ("train", "valid", "test")]  # type: ignore[arg-type]
    lines = [
        download(address, f"{split}.txt", CatalogText(f"{split}.txt", split))  # type: ignore[arg-type]
        for split in SPLITS
    ]
    return {
        "book": entry(download(address, "book.txt", CatalogText("book.txt"))),
        "unhashed": entry(download(address, "book.txt", CatalogText("book.txt"), hashed=False)),
        "euros": entry(
            download(address, "euros.zip", CatalogText("inner/euros", "", len(EUROS))),
            split_bytes=(2000, 500, 500),
        ),
        "parts": entry(download(address, "parts.tar.gz", *parts)),
        "lines": entry(*lines, underscores=True),
    }
