"""`charlm corpora`, and corpora and texts that are named on the command line."""

import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from conftest import charlm, prose

from charlm.data.catalog import catalog, corpus_names

LINUX = catalog()["linux-source"].downloads[0]  # has no published hash: any text will do
SMALL = ["--hidden-size", 4, "--embedding-dim", 4, "--batch-size", 4, "--seq-len", 16]
SMALL += ["--max-steps", 2, "--final-eval", "none"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    return tmp_path / "cache"


def test_list_names_all_corpora_and_where_they_lie(cache: Path) -> None:
    done, plain = charlm("corpora", "list", "--json"), charlm("corpora")
    listing = json.loads(done.stdout)
    assert listing["directory"] == str(cache / "corpora")
    assert [corpus["name"] for corpus in listing["corpora"]] == list(corpus_names())
    assert {corpus["state"] for corpus in listing["corpora"]} == {"built_in", "absent"}
    text = plain.stdout.decode()
    assert all(f"\n{name} " in text for name in corpus_names())
    assert (
        "charlm corpora get NAME" in " ".join(text.split())
        and plain.stdout == charlm("corpora", "list").stdout
    )
    assert not cache.exists()


def test_corpus_is_placed_fetched_verified_and_trained_on(cache: Path, tmp_path: Path) -> None:
    directory = cache / "corpora" / "linux-source"
    absent = charlm("corpora", "get", "linux-source")
    place = directory / "linux_input.txt"
    assert absent.returncode == 66
    assert f"{LINUX.url}: the server cannot be reached. Try to save it as {place}, then" in (
        absent.stderr.decode()
    )
    page = prose(10_000)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text((page * (LINUX.bytes // len(page) + 1))[: LINUX.bytes])
    digest = hashlib.sha256(place.read_bytes()).hexdigest()

    done = charlm("corpora", "get", "linux-source")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == f"{place}: {LINUX.bytes:,} bytes\n"
    assert f"has the SHA-256 {digest}, which is checked from now on" in done.stderr.decode()
    fetched = json.loads(charlm("corpora", "get", "linux-source", "--json").stdout)
    assert fetched["texts"] == [
        {"file": "linux_input.txt", "bytes": LINUX.bytes, "sha256": digest, "split": ""}
    ]
    listing = json.loads(charlm("corpora", "list", "--json").stdout)["corpora"]
    (entry,) = [corpus for corpus in listing if corpus["state"] == "downloaded"]
    assert (entry["name"], entry["path"]) == ("linux-source", str(directory))

    trained = charlm("train", "linux-source", *SMALL, "--run", tmp_path / "r")
    assert trained.returncode == 0, trained.stderr
    record = json.loads((tmp_path / "r" / "run.json").read_bytes())["text"]
    assert record["sources"] == ["linux-source"] and record["digest"]["sha256"] == digest

    for words in (("verify",), ("verify", "linux-source")):
        assert charlm("corpora", *words).stdout.decode() == (
            f"ok       linux-source: linux_input.txt, SHA-256 {digest}\n"
        )
    place.write_bytes(b"other")
    damaged = charlm("corpora", "verify", "--json")
    (check,) = json.loads(damaged.stdout.splitlines()[0])["texts"]
    assert damaged.returncode == 65 and check["problem"] == f"has 5 bytes, not {LINUX.bytes:,}"
    assert "its files are not those that were downloaded. Try" in damaged.stderr.decode()


def test_nothing_to_verify_is_no_error(cache: Path) -> None:
    done = charlm("corpora", "verify")
    assert (done.returncode, done.stdout) == (0, b"")
    assert done.stderr.decode() == "no corpus is downloaded. Try charlm corpora list\n"


def test_scored_text_is_compared_with_that_of_the_run(tmp_path: Path) -> None:
    """Line ends and byte order marks that differ are named, and unseen characters."""
    (tmp_path / "text.txt").write_bytes(prose(3000).encode())
    done = charlm("train", tmp_path / "text.txt", *SMALL, "--run", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    sample = prose(200)
    texts = {
        "same.txt": (sample, []),
        "crlf.txt": (
            sample.replace("\n", "\r\n"),
            [
                "crlf.txt ends lines with CRLF: kept as two characters each, unlike the text of",
                f"note: {sample.count(chr(10))} characters of .*most of them '\\\\r': each costs",
            ],
        ),
        "bom.txt": ("\ufeff" + sample, ["begins with a byte order mark.*unlike", "'\\\\ufeff'"]),
        "new.txt": (
            sample + "\u00e9\u00e9\u0416",
            ["note: 3 characters of .*'\\\\xe9', '\\\\u0416'"],
        ),
    }
    for name, (text, notes) in texts.items():
        (tmp_path / name).write_bytes(text.encode())
        scored = charlm("eval", tmp_path / "r", tmp_path / name)
        lines = [line for line in scored.stdout.decode().splitlines() if "note:" in line]
        assert len(lines) == len(notes), (name, lines)
        for line, pattern in zip(lines, notes, strict=True):
            assert re.search(pattern, line), line


def test_text_and_run_whose_names_are_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"d\xe9")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (folder / os.fsdecode(b"n\xe9.txt")).write_text(prose(3000))
    words = ["train", os.fsdecode(b"n\xe9.txt"), *SMALL, "--run", os.fsdecode(b"r\xe9")]
    done = charlm(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    run = folder / os.fsdecode(b"r\xe9")
    (source,) = json.loads((run / "run.json").read_bytes())["text"]["sources"]
    assert source == f"{tmp_path.as_uri()}/d%E9/n%E9.txt"
    for command in (
        ["eval", run],
        ["eval", run, folder],
        ["inspect", run, "--file", folder / os.fsdecode(b"n\xe9.txt"), "--out", run / "p.html"],
    ):
        done = charlm(*command)
        assert done.returncode == 0, done.stderr
