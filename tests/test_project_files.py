"""Files about the project: version, links and commands in them exist."""

import re
from pathlib import Path

import pytest
import yaml

import charlm

ROOT = Path(__file__).parent.parent
PAGES = ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]


def test_citation_and_changelog_name_the_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == charlm.__version__ and citation["license"] == "MIT"
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    newest = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)[0]
    assert charlm.__version__ in newest


@pytest.mark.parametrize("page", PAGES)
def test_links_make_targets_and_files_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (ROOT / link).exists(), link
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))
    for words in re.findall(r"`make ([a-z -]+)", text):
        assert set(words.split()) <= targets, words
    for file in re.findall(r"`((?:charlm|docs|tests)/[\w/.-]+)`", text):
        assert (ROOT / file).exists() or "NAME" in file, file
