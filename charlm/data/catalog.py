"""Catalog of the corpora that charlm knows by name, from `corpora.toml` beside this module."""

from functools import cache
from importlib.resources import files
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import msgspec

from charlm.registry import unknown_name_error
from charlm.results.corpora import Split

BUILT_IN = {  # corpora that are part of Python
    "python-source": "Standard library of this Python, without its tests and tables",
    "python-docs": "Reference documentation of this Python, as help() shows it",
}


class CatalogText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Text of a download: a member of the archive, or the download itself."""

    file: str
    split: Split = ""
    bytes: int = 0  # 0: not published
    sha256: str = ""  # empty: not published

    @property
    def name(self) -> str:
        """Name of the file in the cache: no part of the archive's folders."""
        return PurePosixPath(self.file).name


class CatalogDownload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """File that is downloaded."""

    url: str
    bytes: int
    texts: tuple[CatalogText, ...]
    hash: str = ""  # such as sha256:…; empty: not published

    @property
    def name(self) -> str:
        """Name of the file in the cache."""
        return PurePosixPath(urlsplit(self.url).path).name


class CatalogEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Corpus that can be downloaded."""

    title: str
    licence: str
    source: str
    citation: str
    downloads: tuple[CatalogDownload, ...]
    split_bytes: tuple[int, int, int] | None = None
    underscores: bool = False  # lines are stripped, and their spaces become underscores

    @property
    def texts(self) -> tuple[CatalogText, ...]:
        """All texts, in the order in which they are read."""
        return tuple(text for download in self.downloads for text in download.texts)

    @property
    def splits(self) -> str:
        """Split of the corpus if it is used alone, in words."""
        if self.split_bytes:
            return "/".join(f"{size / 1e6:g}M" for size in self.split_bytes) + " bytes"
        return "its own files" if any(text.split for text in self.texts) else "90/5/5"


@cache
def catalog() -> dict[str, CatalogEntry]:
    """Return the corpora that can be downloaded, by name."""
    data = files("charlm.data").joinpath("corpora.toml").read_bytes()
    return msgspec.toml.decode(data, type=dict[str, CatalogEntry])


def corpus_names() -> tuple[str, ...]:
    """Return the names of all corpora: those of Python, then those that can be downloaded."""
    return (*BUILT_IN, *catalog())


def find_corpus(name: str) -> CatalogEntry:
    """Return a corpus that can be downloaded.

    Raises:
        ConfigError: There is none of this name.
    """
    if name not in catalog():
        raise unknown_name_error("corpus", name, catalog())
    return catalog()[name]
