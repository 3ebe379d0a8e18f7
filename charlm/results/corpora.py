"""Standard corpora: what lies in the cache, and what `charlm corpora` reports."""

from typing import Literal

import msgspec

CorpusState = Literal["built_in", "absent", "downloaded"]
Split = Literal["", "train", "valid", "test"]


class StoredDownload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A download of a corpus, which is checked and unpacked."""

    url: str  # where it is from
    bytes: int  # its size
    sha256: str  # its SHA-256
    is_verified: bool  # False: no hash is published, and this one is pinned


class StoredText(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text of a downloaded corpus."""

    file: str  # name in the directory of the corpus
    bytes: int  # its size
    sha256: str  # its SHA-256
    split: Split = ""  # that it is; empty: none of its own


class StoredCorpus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`corpora/NAME/corpus.json` in the cache: it exists once the corpus is complete."""

    downloads: tuple[StoredDownload, ...]
    texts: tuple[StoredText, ...]  # in the order in which they are read


class CorpusEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A corpus that can be named instead of a file."""

    name: str  # for charlm train NAME
    title: str  # what it is
    state: CorpusState  # built_in: part of Python; absent: not downloaded
    path: str  # directory of a downloaded corpus; else empty
    download_bytes: int  # that are downloaded; 0: it is part of Python
    hashes: tuple[str, ...]  # published hashes of its downloads, such as sha256:…
    urls: tuple[str, ...]  # of its downloads
    splits: str  # how it is split if it is used alone
    licence: str  # as the source states it
    source: str  # page about it
    citation: str  # who made it


class CorpusList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`charlm corpora list --json`."""

    directory: str  # where downloaded corpora lie
    corpora: tuple[CorpusEntry, ...]


class FetchedCorpus(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`charlm corpora get NAME --json`."""

    name: str  # of the corpus
    path: str  # its directory
    downloads: tuple[StoredDownload, ...]
    texts: tuple[StoredText, ...]


class TextCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Check of a text of a downloaded corpus against its hash."""

    corpus: str  # its name
    file: str  # name in the directory of the corpus
    sha256: str  # that it should have
    problem: str = ""  # empty: it has it


class CorpusVerification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`charlm corpora verify --json`."""

    texts: tuple[TextCheck, ...]
