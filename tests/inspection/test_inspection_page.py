"""Page of an inspected run, from real inspections."""

import re
from pathlib import Path

import pytest
from browser import Browser
from conftest import prose
from inspected_models import inspect_string, open_model
from page_parser import Page

from charlm.inspection.text_choice import MAX_LENGTH
from charlm.reporting.html.inspect import render_inspection


def test_page_is_one_file_that_loads_and_runs_nothing(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(tmp_path, book)
    text = "<script>alert(1)</script> \x1b[31m & \u202e"
    report = inspect_string(run, corpus, model, text)
    html = render_inspection(report)
    page = Page(html)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert not re.search(rb"https?://|url\(|@import|\x1b|\xe2\x80\xae", html)
    policy = next(attributes for _, attributes in page.tags if attributes.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    long_tokens = [
        attributes
        for _, attributes in page.tags
        if (attributes.get("class") or "").endswith(" long")
    ]
    assert len(long_tokens) == 2 * len(report.units)
    assert "\\x1b" in page.text and "\\u202e" in page.text and "never seen" in html.decode()


@pytest.mark.slow
def test_longest_text_with_most_units_fits_into_two_megabytes(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(
        tmp_path, book, cell="depth-gated-lstm", num_layers=2, hidden_size=16
    )
    units = [(layer, unit) for layer in (1, 2) for unit in (1, 2, 3, 16)]
    report = inspect_string(run, corpus, model, prose(MAX_LENGTH), *units)
    assert len(report.tokens) == MAX_LENGTH and len(report.units) == 8
    assert len(render_inspection(report)) < 2_000_000


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_browser_shows_every_cell_of_the_page(
    width: int, scheme: str, chromium: Browser, tmp_path: Path, book: Path
) -> None:
    run, corpus, model = open_model(tmp_path, book, cell="slstm", num_layers=2)
    text = "The old cat sees\x1b a dog " + "g" * 70 + ".\n"
    path = tmp_path / "page.html"
    path.write_bytes(render_inspection(inspect_string(run, corpus, model, text, (2, 8))))
    chromium.see(path, width, scheme)
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    boxes = chromium.ask(
        "[...document.querySelectorAll('.map svg, .map s')]"
        ".map(cell => cell.getBoundingClientRect()).map(box => [box.left, box.right, box.height])"
    )
    blocks = -(-len(text) // 32)
    assert len(boxes) == len(text) + 5 * blocks  # letters; c, f, z, o and h of each block
    assert all(0 < left < right - 8 < width and height > 12 for left, right, height in boxes)
    strong, weak = (
        chromium.ask(f"getComputedStyle(document.querySelector('.ramp .{name}')).backgroundColor")
        for name in ("s10", "s0")
    )
    assert strong != weak
    assert not chromium.heard("Log.entryAdded")
