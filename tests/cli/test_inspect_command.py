"""`charlm inspect`: its page, its JSON, and the texts and units that it takes."""

import json
import re
import stat
from pathlib import Path

import pytest
from conftest import charlm
from page_parser import Page

from charlm.cli.inspect import parse_units
from charlm.errors import UsageError


@pytest.mark.slow
def test_inspect_writes_page_and_prints_bits(trained: Path, tmp_path: Path) -> None:
    text, page = tmp_path / "some.txt", tmp_path / "page.html"
    text.write_text("The old cat sees a dog.\nAnd é.\n")
    done = charlm("inspect", trained, "--file", text, "--out", page)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert re.match(r"[0-9.]+ bits/character on 31 characters: .*some.txt$", lines[0])
    assert lines[-1] == f"page {page}"
    score = json.loads(charlm("eval", trained, text, "--json").stdout)
    assert float(lines[0].split()[0]) == pytest.approx(score["bits_per_char"], abs=1e-3)
    assert "sigmoid(W x + U h + b)" in Page(page.read_bytes()).text


def test_inspect_prints_json_instead_of_page(trained: Path, tmp_path: Path) -> None:
    """With a text of one character, and given units."""
    words = ["--text", "T", "--units", "1:24, 1:2", "--json", "--out", tmp_path / "none.html"]
    done = charlm("inspect", trained, *words)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["tokens"] == ["T"] and len(report["bits"]) == 1
    assert [(unit["layer"], unit["unit"]) for unit in report["units"]] == [(1, 24), (1, 2)]
    assert [len(trace["values"]) for trace in report["units"][0]["traces"]] == [1] * 6
    assert [unit["retention"] for unit in report["units"]] == [None] * 2  # it is not constant
    assert not (tmp_path / "none.html").exists()


def test_missing_file_is_an_error_and_never_text(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    done = charlm("inspect", trained, "--file", tmp_path / "none.txt", "--out", out)
    assert done.returncode == 66 and "none.txt" in done.stderr.decode()
    assert not out.exists()


def test_name_of_existing_file_as_text_is_text(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("The old cat sees a dog.\n")
    done = charlm("inspect", trained, "--text", "a", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["tokens"] == ["a"]


@pytest.mark.slow
def test_text_is_truncated_by_bytes(tmp_path: Path, book: Path) -> None:
    run = tmp_path / "run"
    settings = ["--hidden-size", 4, "--batch-size", 2, "--seq-len", 16, "--max-steps", 1]
    assert charlm("train", book, "--vocab", "bytes", *settings, "--run", run).returncode == 0
    for text, is_truncated in (("é" * 501, True), ("é", False)):
        done = charlm("inspect", run, "--text", text, "--json")
        origin = json.loads(done.stdout)["text"]
        assert origin == {"source": "string", "path": "", "is_truncated": is_truncated}


def test_units_are_parsed_once_each() -> None:
    assert parse_units("", "--units") == [] and parse_units("2:31, 1:7,2:31", "--units") == [
        (2, 31),
        (1, 7),
    ]
    for wrong in ("7", "1:x", "1:2,", "-1:2"):
        with pytest.raises(UsageError, match="LAYER:UNIT"):
            parse_units(wrong, "--units")
    with pytest.raises(UsageError, match="8 at most"):
        parse_units(",".join(f"1:{unit}" for unit in range(1, 10)), "--units")


@pytest.mark.slow
def test_two_runs_and_a_blanked_word_are_on_one_page(
    trained: Path, tmp_path: Path, book: Path
) -> None:
    other = tmp_path / "other"
    settings = ["--hidden-size", 4, "--batch-size", 2, "--seq-len", 16, "--max-steps", 1]
    assert charlm("train", book, "--vocab", "bytes", *settings, "--run", other).returncode == 0
    words = ["inspect", trained, other, "--text", "The old cat é. The cat.", "--blank", "cat"]
    words += ["--other-units", "1:2,1:4"]
    done = charlm(*words, "--out", tmp_path / "new" / "page.html")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "both read the given text"
    assert "bits/character on 23 characters: lstm" in lines[1]
    assert any("bits/byte on 24 bytes: other" in line for line in lines)
    assert any("bits where they differ most" in line for line in lines)
    notes = done.stderr.decode()
    assert "lstm does not know é (U+00E9): it reads the unknown token" in notes
    assert "stands in the text 2 times, and number 1 is replaced. --occurrence 2" in notes
    text = " ".join(Page((tmp_path / "new" / "page.html").read_bytes()).text.split())
    for part in ("lstm and other on one text", "What if it did not say “cat”?", "By distance"):
        assert part in text
    report = json.loads(charlm(*words, "--occurrence", 2, "--json", "--quiet").stdout)
    assert [unit["unit"] for unit in report["comparison"]["other"]["units"]] == [2, 4]
    blanked = report["blanked"]
    assert (blanked["start"], blanked["occurrence"], blanked["occurrences"]) == (19, 2, 2)
    assert [change["run"] for change in blanked["models"]] == ["lstm", "other"]
    assert len(blanked["models"][1]["changes"]) == 23
    assert not any(blanked["models"][1]["changes"][:22])


@pytest.mark.slow
def test_open_shows_the_page_in_the_browser_of_the_user(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(browser.stat().st_mode | stat.S_IXUSR)
    page = tmp_path / "my page.html"
    words = ["inspect", trained, "--text", "The", "--out", page, "--open"]
    monkeypatch.setenv("BROWSER", str(browser))
    assert charlm(*words).returncode == 0
    assert opened.read_text().strip() == page.as_uri()
    monkeypatch.setenv("BROWSER", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    done = charlm(*words)
    assert done.returncode == 78 and f"page {page}" in done.stdout.decode()
    assert f"no browser is found here. Try the address {page.as_uri()}" in done.stderr.decode()
