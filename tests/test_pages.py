"""Pages: foreign text is only ever text, figures say what they show, and a browser shows it all."""

import io
import math
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import numpy as np
import pytest
from browser import Browser
from PIL import Image

from charlm.comparison import report, search
from charlm.config import Config
from charlm.console import escape_control_characters
from charlm.reporting.figures import FigureSpec, Series, draw_figure, make_legend, mean_series
from charlm.reporting.formatting import format_count, format_number, format_tick
from charlm.reporting.html import comparison, numbers, probes, tasks
from charlm.reporting.html.forest import forest_plot
from charlm.results.probes import Curve, ProbeResult, ScalarResult

pass

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
    *("svg", "g", "defs", "path", "use", "clippath", "rect", "text"),
}


def wobbly(number: int, end: float) -> list[float]:
    """Some sort of learning curve."""
    return [end + 3 / (1 + at) + 0.1 * np.sin(at * (number + 1)) / (1 + at) for at in range(20)]


def tuned(cells: Sequence[str]) -> dict[str, Any]:
    """Nine trials of each cell, of which the one with the highest rate diverged; of the last cell
    all did."""
    found = {}
    for number, cell in enumerate(cells):
        rates = {n: search.sample_settings(search.SPACE, n)["learning_rate"] for n in range(9)}
        bits = {n: abs(math.log(rate / 0.01)) + number for n, rate in rates.items() if rate < 0.02}
        first = [
            search.TrialResult(n, 300, bits.get(n) if cell != cells[-1] else None) for n in rates
        ]
        then = [search.TrialResult(n, 900, bits[n] - 0.1) for n in search.rank_trials(first)[:3]]
        found[cell] = search.summarize_tuning(search.SPACE, [*first, *then], 6.0)
    asked = search.describe_search(search.SearchSettings(9, search.SPACE), 2700)
    return {**asked, "uniform_bits": 6.0, "cells": found}


def compared(foreign: str = "", cells: tuple[str, ...] = ("rnn", "gru", "lstm")) -> bytes:
    """The page of a comparison."""
    return comparison.render(*told(foreign, cells))


def told(foreign: str, cells: tuple[str, ...]) -> tuple[Any, ...]:
    """Of a comparison with six seeds, one of which diverged at once; with this text in every place
    where a person or a model may write."""
    names = [*cells, f"{foreign.replace('/', '')}cell.py:MyCell"]
    of, rows = {}, []
    for number, cell in enumerate(names):
        bits = [2 + number / 10 + seed / 30 + number * seed / 300 for seed in range(6)]
        reports = [
            {
                "cell": cell,
                "hidden_size": 100,
                "num_layers": 1,
                "parameters": 20_000,
                "state_size": 100,
                "flops_per_character": 40_000 + 5_000 * number,
                "seed": seed,
                "score": {
                    "bits_per_char": one,
                    "bits_per_byte": one,
                    "block_bits": [1000 * one + at for at in range(20)],
                    "block_lengths": [1000] * 20,
                },
                "chars_per_second": 200_000.0,
                "seconds": 60.0,
            }
            for seed, one in enumerate(bits)
        ]
        if number == len(names) - 1:
            reports[0]["score"] = None
        of[cell] = reports
        rows.append(report.summarize_cell(cell, reports, 0.0))
    verdicts, blocks = report.compute_verdicts(of, "rnn", 0.01)
    for row in rows:
        row["verdict"] = msgspec.to_builtins(verdicts[row["cell"]])
    looks = {
        cell: [
            [
                report.ValidationPoint(1000 * (at + 1), (at + 1) * (1 + number / 9), bits)
                for at, bits in enumerate(wobbly(number + seed, 2 + number / 10))
            ]
            for seed in range(6)
        ]
        for number, cell in enumerate(names)
    }
    looks[names[-1]][0] = []
    return (
        {
            "protocol": "one-stream",
            "corpus": {
                "sources": ["python-docs", foreign],
                "sha256": "ab" * 32,
                "characters": 1000,
                "splits": {"train": [0, 900], "valid": [900, 950], "test": [950, 1000]},
                "scored": "test",
                "scored_sha256": "cd" * 32,
            },
            "equal": {"told": "All have 20,000 parameters (within 1 %)", "max_steps": 100},
            "settings": {**msgspec.to_builtins(Config()), "glob": foreign},
            "made_by": {"charlm": "1", foreign: foreign},
            "unit": report.score_unit(rows),
            "judged": {
                "baseline": "rnn",
                "margin": 0.01,
                "blocks": blocks,
                "level": 0.05,
                "correction": "Holm",
            },
            "rows": report.sort_rows(rows),
            "baselines": [
                {"name": name, "bits_per_char": bits, "protocol": f"{kind}: as told {foreign}"}
                for name, bits, kind in (
                    *(("n-gram", 2.2, "static"), ("xz", 1.7, "adaptive")),
                    ("zstd", None, "not installed"),
                )
            ],
            "differ": None,
            "tuning": tuned(names),
        },
        {
            "command": f"charlm compare-cells {foreign}",
            "cells": {cell: report.summarize_timing(reports) for cell, reports in of.items()},
        },
        looks,
        dict.fromkeys(names[:-1], f"{foreign}\n\twords") | {names[-1]: None},
    )


KS = [2**power for power in range(13)]


def answer(run: int, foreign: str) -> dict[str, Any]:
    """What two probes could have found, with figures of every kind."""
    bits = [2 + 2 / k + run / 10 for k in KS]
    found = ProbeResult(
        x=f"characters read before {foreign}",
        y=f"bits per character {foreign}",
        chance=4.5,
        curves=[Curve(x=KS, y=bits, error=[0.05] * 13, count=[300] * 13)],
        panels=[
            ProbeResult(
                title=f"after training {foreign}",
                x="lag",
                y="norm",
                log_y=True,
                curves=[
                    Curve(name=f"layer {layer} {foreign}", x=KS, y=[layer / k**2 for k in KS])
                    for layer in (1, 2)
                ],
            ),
            ProbeResult(
                title="accuracy",
                x="distance",
                y="share",
                log_x=False,
                curves=[Curve(x=[1, 2, 3], y=[0.5, None, -0.2])],
            ),
        ],
        numbers=[
            ScalarResult(name=f"effective context {foreign}", value=512.0 + run, unit="characters",
                   low=430, high=610.5),
            ScalarResult(name="half", value=None, unit="steps", note=f"more than 4,096 {foreign}"),
        ],
        notes=[f"A note {foreign}"],
    )  # fmt: skip
    return msgspec.to_builtins(found)  # type: ignore[no-any-return]


def probed(foreign: str = "", runs: int = 4) -> bytes:
    """The page of probed runs."""
    return probes.render(answers(foreign, runs))


def answers(foreign: str = "", runs: int = 4) -> dict[str, Any]:
    """What runs, two of a cell, were asked; with this text wherever somebody may write."""
    names = [f"run-{number}{foreign}" for number in range(runs)]
    told = {
        part: f"{part.capitalize()} it is. {foreign}"
        for part in ("question", "protocol", "unit", "chance", "source")
    }
    group = ProbeResult(x="k", y="gain", curves=[Curve(name=name, x=KS, y=KS) for name in names])
    return {
        "command": f"charlm probe {foreign}",
        "text": {
            "corpus_sha256": "ab" * 32,
            "text_sha256": "cd" * 32,
            "split_ratios": "test",
            "characters": 12_000,
            "symbols": "characters",
        },
        "runs": [
            {
                "name": name,
                "cell": ("gru", f"cell{foreign}")[number // 2 % 2],
                "seed": number,
                "num_layers": 1,
                "hidden_size": 100,
                "parameters": 20_000,
                "state_size": 100,
                "bits_per_char": 2.0 if number else None,
                "weights_sha256": "ef" * 32,
            }
            for number, name in enumerate(names)
        ],
        "probes": {
            "context": {
                **told,
                "seconds": dict.fromkeys(names, 1.5),
                "found": {name: answer(place, foreign) for place, name in enumerate(names)},
            },
            "recl": {
                **told,
                "seconds": {"group": 0.1},
                "found": {"group": msgspec.to_builtins(group)},
            },
            "closing": {
                **told,
                "seconds": dict.fromkeys(names, 0.1),
                "found": {name: {"not_measurable": f"no bracket {foreign}"} for name in names},
            },
        },
    }


def climbed(foreign: str = "") -> bytes:
    """The page of three cells on a task: one solves all, one some, one nothing."""
    distances = [10, 20, 50, 100]
    cells = ["gru", "lstm", f"{foreign.replace('/', '')}cell.py:MyCell"]

    def at(solved: int, number: int, distance: int) -> dict[str, Any]:
        tried = [seed < solved + 1 for seed in range(3)]
        return {
            "distance": distance,
            "solved": solved,
            "of": 3,
            "interval": [solved / 5, 1 - (3 - solved) / 5],
            "tried": sum(tried),
            "diverged": 0,
            "max_steps": [500 + 10 * distance if seed < solved else None for seed in range(3)],
            "accuracy": [
                0.5 + solved / 6 + seed / 100 if tried[seed] else None for seed in range(3)
            ],
            "loss": [0.1 if one else None for one in tried],
            "farther": {
                times: [0.3 + number / 10 if one else None for one in tried] for times in "24"
            },
        }

    rows = [
        {
            "cell": cell,
            "hidden_size": 100,
            "num_layers": 1,
            "parameters": 20_000,
            "residual": 0.01,
            "state_size": 100,
            "flops_per_character": 40_000,
            "seeds": [0, 1, 2],
            "farthest": {"median": farthest, "per_seed": [farthest] * 3},
            "distances": [at(n, number, d) for n, d in zip(solved, distances, strict=True)],
        }
        for number, (cell, farthest, solved) in enumerate(
            zip(cells, (100, 20, 0), ((3, 3, 3, 2), (3, 2, 0, 0), (0, 0, 0, 0)), strict=True)
        )
    ]
    words = f"charlm compare-cells --task copy {foreign}"
    return tasks.render(
        {
            "charlm": "1",
            "task": dict.fromkeys(("name", "question", "source", *tasks.TOLD), f"so {foreign}"),
            "chance": [{"distance": d, "loss": 1 / d, "accuracy": 0.125} for d in distances],
            "solved_means": "at least 99 % of the answers are right",
            "sequences": {"valid": 256, "test": 1024},
            "distances": distances,
            "equal": {"told": "All have 20,000 parameters (within 1 %)", "max_steps": 100},
            "settings": {**msgspec.to_builtins(Config()), "glob": foreign},
            "rows": rows,
        },
        {"command": words, "cells": dict.fromkeys(cells, {"minutes": 1.5})},
    )


PAGES: dict[str, Callable[[str], bytes]] = {
    "comparison": cache(compared),
    "probes": cache(probed),
    "tasks": cache(climbed),
}


class Seen(HTMLParser):
    """What a parser that is not ours finds in a page."""

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
@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_text_is_only_ever_text(name: str, foreign: str) -> None:
    seen, clean = (Seen(PAGES[name](text)) for text in (FOREIGN[foreign], ""))
    assert [tag for tag, _ in seen.tags] == [tag for tag, _ in clean.tags]
    assert seen.style == clean.style
    assert escape_control_characters(FOREIGN[foreign]) in seen.text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202e\ud800]", seen.text)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_page_loads_nothing_and_runs_nothing(name: str, foreign: str) -> None:
    page = PAGES[name](FOREIGN[foreign])
    seen = Seen(page)
    assert len(page) < 300_000
    policies = [a for tag, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert [policy["content"] for policy in policies] == [CSP]
    for tag, attributes in seen.tags:
        assert tag in TAGS
        for attribute, value in attributes.items():
            assert not attribute.startswith("on") and attribute not in ("src", "srcset", "action")
            assert "href" not in attribute or (value or "").startswith("#")
            assert attribute != "style" or not re.search(r"url\((?!#)", value or "")
    assert "url(" not in seen.style and "@import" not in seen.style


@pytest.mark.parametrize("name", PAGES)
def test_what_a_figure_refers_to_is_its_own(name: str) -> None:
    seen = Seen(PAGES[name](""))
    ids = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    said = " ".join(value or "" for _, attributes in seen.tags for value in attributes.values())
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"#([\w-]+)", said)) - set(ids) == set()


def test_a_page_is_the_same_bytes_each_time() -> None:
    assert compared() == compared()


# figures


def drawn(*lines: Series, **plan: Any) -> str:
    families = [line.group for line in lines]
    return draw_figure(
        "one", FigureSpec("title", "x", "y", **plan), lines, make_legend(families)
    ).svg


def strokes(svg: str) -> list[tuple[str, str]]:
    """Colour and width of each line that is drawn."""
    return re.findall(r"stroke: (var\(--line-\d\))[^\"]*?stroke-width: ([\d.]+)", svg)


def test_seeds_are_thin_and_means_are_thick() -> None:
    seeds = [Series(f"gru {seed}", "gru", [1, 2], [1.0, seed]) for seed in (2, 4)]
    other = Series("rnn 0", "rnn", [1, 2], [0, 3])
    assert mean_series(seeds) == ([1, 2], [1, 3])
    lines = [width for color, width in strokes(drawn(*seeds, other)) if color == "var(--line-0)"]
    assert lines.count("0.8") == 2 and "2" in lines
    assert "0.8" not in [
        w for color, w in strokes(drawn(*seeds, other)) if color != "var(--line-0)"
    ]


def test_a_gap_in_a_line_is_a_gap() -> None:
    whole, gap = (drawn(Series("a", "a", [1, 2, 3, 4], [1, y, 3, 4])) for y in (2, None))
    assert re.search(r'd="M \S+ \S+ L \S+ \S+ L \S+ \S+ L \S+ \S+ "', whole)
    assert not re.search(r'd="M \S+ \S+ L \S+ \S+ L \S+ \S+ L \S+ \S+ "', gap)
    assert math.isnan(
        mean_series([Series("a", "a", [1], [None]), Series("b", "a", [1], [2])])[1][0]
    )


def test_points_that_are_not_joined_have_no_line() -> None:
    joined, points = (
        drawn(Series("b", "gru", range(30), [1] * 30), joined=each) for each in (True, False)
    )
    marks = [len(re.findall("<use[^>]+var", svg)) for svg in (joined, points)]
    assert strokes(joined) and not strokes(points) and marks == [0, 30]


def test_text_in_figures_is_text_in_the_pages_colours() -> None:
    svg = drawn(Series("a", "a", [1, 1000], [0.001, 1]), log_x=True, log_y=True, chance=0.5)
    for said in ("1,000", "0.001"):
        assert f">{said}</text>" in svg
    assert set(re.findall(r"(?:stroke|fill): ([^;\"]+)", svg)) <= {
        *("none", "currentColor", "var(--line-0)")
    }
    assert "#0" not in svg and "font-family" not in svg


def test_more_cells_than_colours_differ_in_their_dashes() -> None:
    looks = make_legend([f"cell {number}" for number in range(21)])
    assert len({(look.color, look.dash) for look in looks}) == 21


def test_what_cannot_stand_on_an_axis_is_left_out() -> None:
    svg = drawn(Series("a", "a", [0, 1, 2], [0, -1, 0]), log_x=True, log_y=True)
    assert "nan" not in svg.lower() and "inf" not in svg.lower()
    deep = drawn(Series("a", "a", [1, 2, 3], [1, 1e-6, 1e-300]), log_y=True)
    assert "10⁻¹²" in deep and "10⁻³⁰⁰" not in deep


def test_marks_and_numbers_are_short_and_true() -> None:
    said = [
        format_tick(value)
        for value in (0, 1e-5, 2e-5, 0.001, 1, -0.5, 4096, 2e4, 1e6, 2.5e12, 1e24)
    ]
    assert said == [
        "0",
        "10⁻⁵",
        "2·10⁻⁵",
        "0.001",
        "1",
        "−0.5",
        "4,096",
        "20k",
        "1M",
        "2.5T",
        "1e+24",
    ]
    said = [
        format_count(value) for value in (999.4, 999.6, 45_600, 999_499, 999_960, 1e6, 999.6e6, 2e9)
    ]
    assert said == ["999", "1k", "45.6k", "999k", "1M", "1M", "1G", "2G"]
    said = [format_number(value) for value in (None, 0.0, 3.0, -1.23456, 1234.56, 123456.7, 1e-9)]
    assert said == ["–", "0", "3", "−1.235", "1,234.6", "123,457", "1e−09"]


# what the pages say


def test_a_comparisons_answer_is_what_its_verdicts_say() -> None:
    def row(cell: str, mean: float | None, word: str, diverged: int = 0) -> dict[str, Any]:
        one = {"cell": cell, "b": {"mean": mean}, "verdict": {"word": word}, "seeds": [0, 1]}
        return {**one, "diverged": diverged}

    def said(*rows: dict[str, Any], baseline: str = "gru", others: Any = ()) -> str:
        beside = [{"name": "zstd", "b": None, "protocol": "not installed"}]
        beside += [{"name": name, "b": b, "protocol": kind} for name, b, kind in others]
        told = {"rows": rows, "unit": "b", "baselines": beside}
        return comparison.summary_sentence(
            {**told, "judged": {"baseline": baseline, "margin": 0.02}}
        )

    base, near, far = (
        *(row("gru", 2.0, "baseline"), row("rnn", 2.1, "inconclusive")),
        row("lru", 1.0, "better"),
    )
    mean = "Beside gru (2.0000 b, the mean of 2 seeds), "
    assert said(far, base, near) == mean + "better: lru; inconclusive: rnn."
    assert said(base, row("sru", 2.0, "equivalent")) == mean + "equivalent within 0.02 bits: sru."
    assert said(base) == mean + "there is no other cell."
    lost = [row("lstm", None, "diverged 1 of 2", 1), row("sru", None, "diverged 2 of 2", 2)]
    told = " lstm: 1 of 2 seeds diverged. sru: 2 of 2 seeds diverged."
    assert said(far, base, *lost) == f"{mean}better: lru.{told}"
    assert said(near, *lost, baseline="sru") == f"Beside sru, inconclusive: rnn.{told}"
    assert said(*lost, baseline="sru") == f"No cell came to the end with all of its seeds.{told}"
    static, learning = ("n-gram", 1.5, "static: of train"), ("xz", 1.25, "adaptive: C")
    assert said(base, others=[static, learning]).endswith(
        "Fewer bits than every cell: n-gram (1.5000), xz (1.2500). (xz: adaptive compressors, they "
        "go on learning from test as they read it, and a run does not.)"
    )
    assert said(base, others=[static]).endswith("Fewer bits than every cell: n-gram (1.5000).")
    assert "Fewer bits" not in said(base, others=[("n-gram", 2.5, "static")])
    one = [{**row, "seeds": [0]} for row in (base, near)]
    assert said(*one).startswith("Beside gru (2.0000 b, with one seed), inconclusive: rnn.")


def test_a_curve_is_drawn_against_what_was_read_and_what_it_took() -> None:
    page = compared().decode()
    tables = re.findall(r'<table>\n<tr><th scope="col">(.+?)</table>', page, re.S)
    _, *first = (re.findall("<td>(.*?)</td>", table)[:4] for table in tables)
    assert first[0][0] == "1,000" and first[0][1] == format_number(wobbly(0, 2)[0])
    assert first[1][0] == "1"  # second of rnn seed 0
    assert first[2][0] == format_number(
        1000 * 3 * 40_000
    )  # FLOPs: forward, and twice that backward


def test_differences_stand_about_zero_with_their_intervals_in_the_order_of_the_table() -> None:
    def row(cell: str, low: float, high: float) -> dict[str, Any]:
        told = {"low": low, "high": high, "difference": (low + high) / 2, "word": "worse"}
        return {"cell": cell, "verdict": {**told, "p": 0.01, "p_holm": 0.02, "p_equivalent": 1.0}}

    rows = [row("gru", -2, -1), row("rnn", 2, 4)]
    looks = make_legend(["rnn", "base", "gru"])
    figure = forest_plot(rows, 1.0, looks)
    assert figure.rows[0][:4] == ("gru", "-1.5000", "-2.0000", "-1.0000")
    drawn = re.findall(r'd="M (\S+) (\S+) L (\S+) (\S+) "[^>]*?var\(--line-(\d)\)', figure.svg)
    (left, top, right, same, first), (low, bottom, high, _, second) = drawn
    assert (first, second) == ("2", "0") and same == top and float(top) < float(bottom)
    each = (float(right) - float(left)) / 1  # pixels a bit
    assert float(high) - float(low) == pytest.approx(2 * each, rel=0.01)
    (band,) = re.findall(r'd="M (\S+) \S+ L \S+ \S+ L (\S+) [^>]*?opacity: 0.12', figure.svg)
    assert [float(x) for x in band] == pytest.approx([float(right), float(low) - each], abs=0.1)


def test_what_all_runs_have_alike_stands_in_each_figure() -> None:
    mine, yours, counts = ({"name": name, "y": [name]} for name in ("", "", "n-gram"))
    yours["y"] = ["other"]
    found = probes.split_by_curve(
        [("a", mine), ("a", counts), ("b", yours), ("b", counts)], several=True
    )
    assert found == {"": [("a", mine), ("b", yours), ("n-gram", counts)]}
    alone = probes.split_by_curve([("a", mine), ("a", counts)], several=False)
    assert alone == {"": [("a", mine), ("n-gram", counts)]}


def test_numbers_have_their_interval_or_their_seeds() -> None:
    one = {"value": 512.0, "note": "", "low": 430.0, "high": 610.5}
    beyond = {"value": None, "note": "more than 4,096", "low": None, "high": None}
    assert numbers.format_scalars([one]) == "512 (430 to 610.5)"
    assert numbers.format_scalars([one, {**one, "value": 514.0}]) == "513 (512, 514)"
    assert numbers.format_scalars([one, beyond]) == "512, more than 4,096"  # which has no mean
    assert (
        numbers.format_scalars([beyond]) == "more than 4,096" and numbers.format_scalars([]) == "–"
    )


def test_what_a_group_found_of_a_run_is_the_runs() -> None:
    number = {"value": 1.0, "unit": "steps", "note": "", "low": None, "high": None}
    found = {"group": {"numbers": [{**number, "name": "r = 1", "run": run} for run in "abc"]}}
    of = numbers.scalars_by_run(found)
    groups = numbers.group_runs(of, {"a": "gru", "b": "rnn", "c": "gru"})
    assert numbers.scalar_table(of, groups) == (
        ["", "gru", "rnn"],
        [["r = 1, steps", "1 (1, 1)", "1"]],
    )


def test_a_run_may_be_called_like_a_number() -> None:
    """Its name does not make it the owner of another run's "slope, trained"."""
    number = ScalarResult(name="slope, trained", value=1.0, unit="")
    one = msgspec.to_builtins(ProbeResult(x="", y="", numbers=[number]))
    of = numbers.scalars_by_run({"gru": one, "slope": one})
    assert {run: list(there) for run, there in of.items()} == dict.fromkeys(
        ("gru", "slope"), ["slope, trained"]
    )


def test_a_note_says_whose_it_is_unless_it_is_of_all() -> None:
    found = {
        run: {"notes": ["all", *notes]} for run, notes in {"a": ["z"], "b": ["z"], "c": []}.items()
    }
    assert probes.grouped_notes({"gru": ["a", "b"], "rnn": ["c"]}, found) == [
        ("", "all"),
        ("gru", "z"),
    ]


def test_what_is_not_measurable_says_why() -> None:
    page = probed(runs=2).decode()
    assert "Not measurable here: no bracket" in page
    some = {"a": {"not_measurable": "no"}, "b": {}, "c": {"not_measurable": "no"}}
    assert probes.not_measurable_notes(some) == [("a, c", "no")]


# in a browser


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
      (one.ownerSVGElement ? one.ownerSVGElement.clientWidth / 380 : 1), one.textContent.trim()]),
    background: getComputedStyle(document.body).backgroundColor,
    width: document.documentElement.clientWidth, scroll: document.documentElement.scrollWidth,
    height: document.documentElement.scrollHeight }
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", PAGES)
def test_a_browser_shows_all_of_a_page(
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
        assert found["figures"] and not found["hidden_size"]
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
    asked = chromium.heard("Network.requestWillBeSent")
    assert [one["request"]["url"] for one in asked] == [page.as_uri()]
    picture = np.asarray(Image.open(io.BytesIO(chromium.picture())).convert("RGB"))
    assert picture.shape[:2] == (found["height"], width)
    for left, top, right, bottom in (figure["box"] for figure in found["figures"]):
        inside = picture[round(top) : round(bottom), round(left) : round(right)]
        assert len(np.unique(inside.reshape(-1, 3), axis=0)) > 20  # lines, text, and paper


def test_the_browsers_measures_see_what_is_wrong(chromium: Browser, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    wrong = "body { min-width: 2000px; } .note { opacity: 1; color: #999; }"
    page.write_bytes(compared().replace(b"</style>", wrong.encode() + b"</style>"))
    page.write_bytes(page.read_bytes().replace(b"<h2>", b"<h2><script>1</script><img src=x.png>"))
    chromium.see(page, 400, "light")
    found = chromium.ask(MEASURE)
    assert found["scroll"] > found["width"]
    assert min(found["contrast"])[0] < 3
    assert "Content Security Policy" in str(chromium.heard("Log.entryAdded"))


def test_a_run_that_is_about_to_diverge_spoils_no_figure() -> None:
    row = {"cell": "gru", "seeds": [0, 1], "flops_per_character": 10.0}
    said = {"settings": {"vocab": "characters"}, "rows": [row]}
    lost = [report.ValidationPoint(320, 1.0, 5.0), report.ValidationPoint(640, 2.0, 1e24)]
    never = [report.ValidationPoint(320, 1.0, 1e22)]
    drawn = comparison.learning_curves(said, {"gru": [lost, never]}, make_legend(["gru"]))
    assert len(drawn) == 3
    assert "1e+2" not in drawn[0].svg
    assert all("seed 1" not in str(one.heads) for one in drawn)


def test_figures_of_a_comparison_stand_alone_as_files(tmp_path: Path) -> None:
    cells = ("rnn", "gru", "lstm", "irnn", "lru", "sru")
    compared, *_ = told("", cells)
    (tmp_path / "report.json").write_bytes(msgspec.json.encode(compared))
    script = Path(__file__).parent.parent / "scripts" / "figures.py"
    words = [sys.executable, script, tmp_path / "report.json", tmp_path / "figures"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = [Path(line) for line in done.stdout.splitlines()]
    assert len(written) == 1 + len(cells) + 1  # of the last cell no trial learnt anything
    for path in written:
        shown = list(ElementTree.parse(path).getroot().itertext())
        every = path.name.startswith("differences") or "expected" in path.name
        own = path.stem.removeprefix("tuning-").partition("-")[2]
        named = {name for name in (*cells, "300 updates", "chosen") if name in shown}
        assert named == ({*cells} if every else {"300 updates", "chosen"}), path
        assert every or shown[0].startswith(f"{own}: ")


def test_probed_runs_are_told_apart_as_the_rows_of_the_comparison_are() -> None:
    rows = [{"cell": "slow", "runs": ["run-3", "run-0"]}, {"cell": "fast", "runs": ["run-2"]}]
    found = answers(runs=4)
    del found["runs"][1]
    for one in found["probes"].values():
        one["found"].pop("run-1", None)
    first, *_ = comparison.probe_sections(found, rows)
    heads, *_ = first.numbers
    assert heads[1:] == ["slow", "fast"]
    shown = {head for head in first.drawn[0].heads if head.startswith("run-")}
    assert shown == {"run-0", "run-2", "run-3"}
