"""Catalog of corpora: complete, and true as far as it can be checked without a network."""

import re

from charlm.data.catalog import BUILT_IN, catalog, corpus_names
from charlm.data.corpus_cache import list_corpora

UNPUBLISHED = {"linux-source"}  # nobody publishes a hash of it


def test_every_corpus_is_described_and_hashed() -> None:
    assert {
        *("tiny-shakespeare", "text8", "enwik8", "enwik9", "wikitext-2-raw", "wikitext-103-raw"),
        *("ptb-chars", "ptb-chars-plain", "war-and-peace", "linux-source", "canterbury"),
    } == set(catalog())
    for name, entry in catalog().items():
        assert entry.title and entry.licence and entry.citation, name
        assert entry.source.startswith("https://")
        files = [text.name for text in entry.texts]
        assert len(set(files)) == len(files)
        splits = [text.split for text in entry.texts]
        assert set(splits) in ({""}, {"train", "valid", "test"})
        if entry.split_bytes:
            (text,) = entry.texts
            assert sum(entry.split_bytes) == text.bytes
        for download in entry.downloads:
            assert download.url.startswith("https://") and download.bytes > 0
            is_published = name not in UNPUBLISHED
            assert bool(re.fullmatch(r"sha256:[0-9a-f]{64}", download.hash)) is is_published
            for text in download.texts:
                assert re.fullmatch(r"([0-9a-f]{64})?", text.sha256)


def test_tiny_shakespeare_is_the_one_of_char_rnn() -> None:
    (download,) = catalog()["tiny-shakespeare"].downloads
    assert download.bytes == 1_115_394
    assert download.hash.endswith("2dc565ed")


def test_list_names_every_corpus() -> None:
    entries = list_corpora().corpora
    assert tuple(entry.name for entry in entries) == corpus_names()
    assert [entry.name for entry in entries if entry.state == "built_in"] == list(BUILT_IN)
    by_name = {entry.name: entry for entry in entries}
    assert by_name["text8"].splits == "90M/5M/5M bytes"
    assert by_name["ptb-chars"].splits == "its own files"
    assert by_name["tiny-shakespeare"].splits == "90/5/5"
