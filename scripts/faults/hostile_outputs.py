"""Hostile text in every string of a result, in every format that charlm writes."""

import csv
import io
import re
import resource
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from markdown_it import MarkdownIt

from charlm.exporting.model_card import inline
from charlm.reporting.html.comparison import render_comparison
from charlm.reporting.html.inspect import render_inspection
from charlm.reporting.html.probes import render_probes
from charlm.reporting.html.tasks import render_tasks
from charlm.reporting.memory_figure import render_memory_svg
from charlm.reporting.tables.metrics import render_metrics_csv
from charlm.reporting.tables.render import methods_latex, render_report
from charlm.results.metrics import RunScalars, RunsMetrics, Scalar
from charlm.runs.tensorboard_events import _settings_summary
from faults.hazard import Hazard

TESTS = Path(__file__).parents[2] / "tests"
PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><img src=https:evil.example onerror=alert(1)>",
    "\"><svg onload=alert(1) xmlns='http://www.w3.org/2000/svg'>",
    "javascript:alert(1)",
    "</style><style>@import url(//evil.example)</style>",
    "]]><![CDATA[<x>&xxe;",
    "<!ENTITY xxe SYSTEM 'file:///etc/passwd'>",
    "{{7*7}}{% raw %}${7*7}",
    '=HYPERLINK("http://evil.example")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r\n=1+1",
    "\uff1d1+1",
    "a;=1+1",
    " =1+1",
    "\\input{/etc/passwd}",
    "\\write18{id}}{\\catcode`\\@=11",
    "$\\immediate\\openout1=x$ % & # _ ^^5c ~",
    "\\end{tabular}\\def\\x{\\x}\\x",
    "![a](http://evil.example/a.png)",
    "[a]: http://evil.example/a.png",
    "`|![](//evil.example)|`",
    "|a|b|\n|-|-|\n<b>",
    "@misc{evil, title={x}}",
    "} , note = {evil}",
    "\x1b]52;c;eA==\x07\u202e\u200b\u2028",
    "'\"\\\0\ud800",
)
ACTIVE_TAGS = {"script", "iframe", "object", "embed", "form", "base", "img", "video", "audio"}
ACTIVE_TAGS |= {"input", "button", "foreignobject", "image", "animate", "set", "link"}
# Attributes that are shown or read aloud as they are. Whatever else may be a style or an address,
# where url() is loaded. Styles show data-head; they could also load it, see `ATTRIBUTE_USE`.
TEXT_ATTRIBUTES = {"aria-label", "title", "alt", "content", "data-head"}
ATTRIBUTE_USE = re.compile(r"([\w-]+)\s*:([^;{}]*\battr\([^;{}]*)")  # a property, and its value
SHOWN = re.compile(r"\s*attr\([\w-]+\)(\s+\"[^\"]*\")*\s*")  # an attribute as text
LATEX_COMMANDS = re.compile(r"\\(input|write|immediate|openout|def|catcode|end\{tabular\}\\)")
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]")
FORMULAS = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\t", "\r")


class Tags(HTMLParser):
    """Names of all elements of a page, and what is active in it."""

    def __init__(self, text: str) -> None:
        """Parse a page or an SVG file."""
        super().__init__()
        self.names: list[str] = []
        self.problems: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.names.append(tag)
        if tag in ACTIVE_TAGS:
            self.problems.append(f"<{tag}>")
        for name, value in attrs:
            is_address = name in ("src", "href", "xlink:href", "action", "srcset")
            is_text = name in TEXT_ATTRIBUTES
            is_loaded = not is_text and re.search(r"url\((?!#)", value or "")
            if name.startswith("on") or is_loaded or (is_address and value and value[0] != "#"):
                self.problems.append(f"{tag} {name}={value}")

    def handle_data(self, data: str) -> None:
        """Note a style that uses an attribute otherwise than as text."""
        if self.cdata_elem == "style":
            for name, value in ATTRIBUTE_USE.findall(data):
                if name != "content" or not SHOWN.fullmatch(value):
                    self.problems.append(f"style {name}:{value}")


class Sink(NamedTuple):
    """An output: how it is made of a text, and what may not be in it."""

    name: str
    render: Callable[[str], str]
    problem: Callable[[str, str], str]  # of the output with the payload, and without


def active(text: str, clean: str) -> str:
    """Return what is active in a page or an SVG, or is no element of the page itself."""
    found, sound = Tags(text), Tags(clean)
    other = found.names != sound.names
    return "; ".join(found.problems[:2]) or ("other elements than without it" if other else "")


def formula(text: str, _: str) -> str:
    """Return a cell that a spreadsheet would compute, with either separator."""
    for row in csv.reader(io.StringIO(text)):
        for cell in row:
            if not re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", cell):
                for part in (cell, *cell.split(";")[1:]):
                    if part.lstrip(" ").startswith(FORMULAS):
                        return f"the cell {cell!r}"
    return ""


def command(text: str, clean: str) -> str:
    """Return a command of LaTeX that foreign text has become; braces must fit."""
    found = LATEX_COMMANDS.search(text)
    depths = (_depth(text), _depth(clean))
    return found[0] if found else "" if depths == (0, 0) else f"braces do not fit: {depths}"


def _depth(text: str) -> int:
    bare = re.sub(r"\\[{}\\%]|^%.*$", "", text, flags=re.MULTILINE)
    return bare.count("{") - bare.count("}")


def markup(text: str, _: str) -> str:
    """Return an image, a link or HTML that foreign text has become in Markdown."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        for part in (token, *(token.children or ())):
            if part.type in ("image", "link_open", "html_inline", "html_block"):
                return f"{part.type} {part.content or part.attrs}"
    return ""


def raw(text: str, _: str) -> str:
    """Return a character that a terminal would obey, or that hides others."""
    found = RAW.search(text)
    return repr(found[0]) if found else ""


def entries(text: str, clean: str) -> str:
    """Return whether BibTeX would read other entries."""
    return "" if text.count("@") == clean.count("@") else "another @"


def run(scale: float) -> Hazard:
    """Render every payload in every output."""
    sinks = make_sinks()
    share = max(1, round(len(PAYLOADS) * min(1.0, scale)))
    failures = list(find_failures(sinks, share))
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Hazard(
        name="hostile text in outputs",
        method="each of several payloads in every string of a result, in every format",
        trials=share * len(sinks),
        failures=tuple(failures),
        seconds=used.ru_utime + used.ru_stime,
    )


def find_failures(sinks: Sequence[Sink], share: int) -> Iterator[str]:
    """Yield what became active; each output gets so many payloads, other ones than the last."""
    for number, sink in enumerate(sinks):
        clean = sink.render("a")
        for offset in range(share):
            payload = PAYLOADS[(number * share + offset) % len(PAYLOADS)]
            problem = sink.problem(sink.render(payload), clean)
            if problem:
                yield f"{sink.name} with {payload!r}: {problem}"


def make_sinks() -> list[Sink]:
    """Return all outputs."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    example: Any = import_module("example_reports")

    def comparison(text: str) -> Any:
        return _everywhere(example.comparison_result("", ("gru", "lstm")), text)

    def page(render: Callable[[Any], bytes], make: Callable[[str], Any]) -> Callable[[str], str]:
        return lambda text: render(make(text)).decode()

    sinks = [
        Sink("page of a comparison", page(render_comparison, comparison), active),
        Sink("page of a task", page(render_tasks, example.task_result), active),
        Sink("page of probes", page(render_probes, example.probes_report), active),
        Sink("page of an inspection", page(render_inspection, example.inspection_report), active),
        Sink("figure of memory", lambda text: _svg(comparison(text)), active),
        Sink("metrics as CSV", _metrics, formula),
        Sink("settings in TensorBoard", _tensorboard, markup),
        Sink("name in a model card", lambda text: f"| a | {inline(text)} |\n", markup),
    ]
    problems: Mapping[Any, Callable[[str, str], str]] = {
        "csv": formula,
        "latex": command,
        "markdown": markup,
        "methods": raw,
        "methods as LaTeX": command,
        "bibtex": entries,
    }
    for name, problem in problems.items():
        sinks += [
            Sink(f"comparison as {name}", partial(_report, comparison, name), problem),
            Sink(f"task as {name}", partial(_report, example.task_result, name), problem),
        ]
    return sinks


def _report(make: Callable[[str], Any], name: Any, text: str) -> str:
    """Return the report of a result with this text, in a format."""
    result = make(text)
    if name == "methods as LaTeX":
        return methods_latex(result.report, result.timing)
    return render_report(result.report, name, result.timing)


def _svg(result: Any) -> str:
    return (render_memory_svg(result.report) or b"").decode()


def _metrics(text: str) -> str:
    scalar = Scalar(tag=text, step=1, characters=9, value=-1.5, time=None)
    runs = (RunScalars(run=text, settings={}, started=None, scalars=(scalar,)),)
    return render_metrics_csv(RunsMetrics(runs=runs))


def _tensorboard(text: str) -> str:
    summary = _settings_summary({"cell": text})
    return summary.value[0].tensor.string_val[0].decode()


def _everywhere(result: Any, text: str) -> Any:
    """Return a result with a text in each string of its report that nobody chooses from a list."""
    report = result.report
    corpus = msgspec.structs.replace(report.corpus, sources=(text,), scored_split=text)
    last = report.rows[-1].name
    rows = tuple(
        msgspec.structs.replace(row, name=f"{text}{number}", cell=text) if row.name == last else row
        for number, row in enumerate(report.rows)
    )
    environment = dict.fromkeys(report.environment, text)
    changed = msgspec.structs.replace(report, corpus=corpus, rows=rows, environment=environment)
    timing = msgspec.structs.replace(result.timing, command=text)
    return msgspec.structs.replace(result, report=changed, timing=timing)
