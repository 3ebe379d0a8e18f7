"""All pages: foreign text is only text, nothing is loaded or run, a browser shows everything."""

import io
import os
import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from example_reports import comparison_result, inspection_report, probes_report, task_result
from PIL import Image

from charlm.console import escape_control_characters
from charlm.reporting.html.comparison import render_comparison
from charlm.reporting.html.inspect import render_inspection
from charlm.reporting.html.probes import render_probes
from charlm.reporting.html.tasks import render_tasks

CSP = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
FOREIGN = {
    "markup": " ".join(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "'><svg onload=alert(1)>",
            "</pre></title></style><iframe src=https://evil.example>",
            '<a href="javascript:alert(1)">',
            "<style>@import url(https://evil.example/x.css);</style>",
            "&lt;b&gt; &#60;b&#62; <![CDATA[ <!--",
        ]
    ),
    "code": "{{ 7 * 7 }}{% include 'base.html' %} \x1b[31m\u202e\x00\ud800 $\\frac{1}{2}$",
    "length": "a" * 300,
}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "footer", "section", "div"),
    *("h1", "h2", "h3", "p", "br", "b", "em", "a", "ul", "li", "pre", "code", "dl", "dt", "dd"),
    *("table", "thead", "tbody", "tr", "th", "td", "details", "summary", "figure", "figcaption"),
    *("svg", "g", "defs", "path", "use", "clippath", "rect", "text", "span"),
}
INSPECTION_TAGS = {"s", "i", "circle"}
FOREIGN_NAMES = ["markup", "code", pytest.param("length", marks=pytest.mark.slow)]
PAGES: dict[str, Callable[[str], bytes]] = {
    "comparison": cache(lambda foreign: render_comparison(comparison_result(foreign))),
    "probes": cache(lambda foreign: render_probes(probes_report(foreign))),
    "tasks": cache(lambda foreign: render_tasks(task_result(foreign))),
    "inspection": cache(lambda foreign: render_inspection(inspection_report(foreign))),
}
VIEWS = [(1280, "light"), (400, "dark")]
if os.environ.get("CHARLM_VIEWS") == "all":  # make pages
    VIEWS += [(1280, "dark"), (400, "light")]
PAGES_WITH_CHARTS = ["comparison", "probes", "tasks"]


class ParsedPage(HTMLParser):
    """Tags, text and style of a page, as another parser than ours sees them."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.style = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "style":
            self.style += data
        else:
            self.text += data


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("foreign", FOREIGN_NAMES)
def test_foreign_text_is_only_text(name: str, foreign: str) -> None:
    page, clean = (ParsedPage(PAGES[name](text)) for text in (FOREIGN[foreign], ""))
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    assert page.style == clean.style
    assert escape_control_characters(FOREIGN[foreign]) in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", page.text)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("foreign", FOREIGN_NAMES)
def test_page_loads_and_runs_nothing(name: str, foreign: str) -> None:
    html = PAGES[name](FOREIGN[foreign])
    page = ParsedPage(html)
    assert len(html) < 300_000
    policies = [a for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert [policy["content"] for policy in policies] == [CSP]
    for tag, attributes in page.tags:
        assert tag in TAGS | (INSPECTION_TAGS if name == "inspection" else set())
        for attribute, value in attributes.items():
            assert not attribute.startswith("on") and attribute not in ("src", "srcset", "action")
            assert "href" not in attribute or (value or "").startswith("#")
            assert attribute != "style" or not re.search(r"url\((?!#)", value or "")
    assert "url(" not in page.style and "@import" not in page.style


@pytest.mark.parametrize("name", PAGES)
def test_figures_refer_only_to_their_own_ids(name: str) -> None:
    page = ParsedPage(PAGES[name](""))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    values = " ".join(value or "" for _, attributes in page.tags for value in attributes.values())
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"#([\w-]+)", values)) - set(ids) == set()


@pytest.mark.slow
def test_page_is_reproducible_to_the_byte() -> None:
    first, second = (render_comparison(comparison_result()) for _ in range(2))
    assert first == second


MEASURE = """(() => {
  const box = one => { const b = one.getBoundingClientRect();
    return [b.left, b.top + scrollY, b.right, b.bottom + scrollY] };
  const shown = one => one.checkVisibility() && one.getBoundingClientRect().width > 0;
  const rgb = color => color.match(/[\\d.]+/g).map(Number);
  const luminance = color => rgb(color).slice(0, 3).map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const under = one => { for (; one; one = one.parentElement) {
    const color = getComputedStyle(one).backgroundColor;
    if (rgb(color)[3] !== 0) return color } return "rgb(255, 255, 255)" };
  const contrast = (one, color) => { const [a, b] =
    [luminance(color), luminance(under(one))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05) };
  const all = what => [...document.querySelectorAll(what)].filter(shown);
  const says = one => [...one.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  return {
    figures: all("figure > svg").map(svg => ({box: box(svg),
      texts: [...svg.querySelectorAll("text")].map(box),
      lines: [...svg.querySelectorAll("path")].filter(p => p.style.stroke.startsWith("var"))
        .map(p => contrast(svg, getComputedStyle(p).stroke))})),
    hidden: document.querySelectorAll("figure > svg").length - all("figure > svg").length,
    contrast: all("body *").filter(says).map(one => [contrast(one, one.closest("svg") ?
      getComputedStyle(one).fill : getComputedStyle(one).color), one.textContent.trim()]),
    small: all("body *").filter(says).map(one => [parseFloat(getComputedStyle(one).fontSize) *
      (one.ownerSVGElement ? one.ownerSVGElement.clientWidth /
        one.ownerSVGElement.viewBox.baseVal.width : 1), one.textContent.trim()]),
    background: getComputedStyle(document.body).backgroundColor,
    width: document.documentElement.clientWidth, scroll: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight }
})()"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), VIEWS)
@pytest.mark.parametrize("name", PAGES_WITH_CHARTS)
def test_browser_shows_all_of_a_page(
    name: str, width: int, scheme: str, chromium: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_bytes(PAGES[name](FOREIGN["length"]))  # a long word must not widen the page
    chromium.see(page, width, scheme)
    for unfolded in (False, True):
        if unfolded:
            chromium.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
        found = chromium.ask(MEASURE)
        assert found["scroll"] <= found["width"] == width
        assert found["figures"] and not found["hidden"]
        for figure in found["figures"]:
            left, top, right, bottom = figure["box"]
            assert 0 <= left < right <= width and right - left > 250 and bottom - top > 150
            for text in figure["texts"]:  # none is cut off
                assert left - 1 <= text[0] and text[2] <= right + 1
                assert top - 1 <= text[1] and text[3] <= bottom + 1
            assert figure["lines"] and min(figure["lines"]) >= 3
        assert min(found["contrast"])[0] >= 4.5, min(found["contrast"])
        assert min(found["small"])[0] >= 10.5, min(found["small"])
    light = sum(map(int, re.findall(r"\d+", found["background"]))) > 3 * 128
    assert light == (scheme == "light")
    assert not chromium.heard("Log.entryAdded") and not chromium.heard("Runtime.consoleAPICalled")
    assert not chromium.heard("Runtime.exceptionThrown")
    requests = chromium.heard("Network.requestWillBeSent")
    assert [request["request"]["url"] for request in requests] == [page.as_uri()]
    picture = np.asarray(Image.open(io.BytesIO(chromium.picture())).convert("RGB"))
    assert picture.shape[:2] == (found["height"], width)
    for left, top, right, bottom in (figure["box"] for figure in found["figures"]):
        inside = picture[round(top) : round(bottom), round(left) : round(right)]
        assert len(np.unique(inside.reshape(-1, 3), axis=0)) > 20  # lines, text, and paper


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 400])
def test_browser_breaks_no_cell_name_and_squeezes_no_description(
    width: int, chromium: Browser, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    page.write_bytes(PAGES["comparison"](""))
    chromium.see(page, width, "light")
    lines = chromium.ask(
        """[...document.querySelectorAll(".fold tbody th")].map(head => {
          const range = document.createRange(); range.selectNodeContents(head);
          const tops = [...range.getClientRects()].map(box => box.top);
          return [head.textContent, new Set(tops).size] })"""
    )
    assert ["transformer", 1] in lines and {number for _, number in lines} == {1}
    widths = chromium.ask(
        """[...document.querySelectorAll("[data-head=description]")].map(cell => {
          const style = getComputedStyle(cell);
          return [style.display, cell.clientWidth, cell.closest("table").clientWidth] })"""
    )
    assert widths
    for display, description, table in widths:
        if width == 400:
            assert display == "block" and description == table
        else:
            assert description > 0.7 * table


@pytest.mark.browser
def test_browser_measures_detect_faults(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    wrong = b"body { min-width: 2000px; } .note { opacity: 1; color: #999; }</style>"
    html = PAGES["comparison"]("").replace(b"</style>", wrong)
    page.write_bytes(html.replace(b"<h2>", b"<h2><script>1</script><img src=x.png>"))
    chromium.see(page, 400, "light")
    found = chromium.ask(MEASURE)
    assert found["scroll"] > found["width"]
    assert min(found["contrast"])[0] < 3
    assert "Content Security Policy" in str(chromium.heard("Log.entryAdded"))
