"""Comparisons as text for papers: Markdown, CSV, LaTeX, methods and BibTeX."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import yaml
from example_reports import comparison_report, comparison_result, entry_row, task_result

from charlm.cells.names import CELL_NAMES
from charlm.cells.papers.catalog import PAPERS
from charlm.cells.papers.paper import Paper
from charlm.cells.source_listing import read_cell_source
from charlm.errors import InvalidValueError
from charlm.reporting.tables.bibtex import render_bibtex
from charlm.reporting.tables.csv_text import csv_text
from charlm.reporting.tables.formats import ReportFormat
from charlm.reporting.tables.latex import escape_latex, escape_prose, render_latex
from charlm.reporting.tables.markdown import escape_markdown, paragraph
from charlm.reporting.tables.render import methods_latex, render_report
from charlm.reporting.tables.table import Group, Table
from charlm.reporting.wording.citations import short_citation
from charlm.reporting.wording.machine import describe_machine
from charlm.results.comparison import ComparisonReport
from charlm.results.tasks import TaskReport
from charlm.results.timing import TimingReport
from charlm.settings.values import Setting
from charlm.storage.json_files import read_sealed_json

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "docs" / "explanation" / "comparison"
FOREIGN = '=x" \\input{a} <script>|`[b](c)\n$%_&#~^é€\x1b[31m{'
FORMATS: Sequence[ReportFormat] = get_args(ReportFormat)
HOSTILE = [comparison_result(FOREIGN), task_result(FOREIGN)]


def real() -> tuple[ComparisonReport, TimingReport]:
    """Return the comparison of the docs."""
    return (
        read_sealed_json(EXAMPLE / "report.json", ComparisonReport),
        read_sealed_json(EXAMPLE / "timing.json", TimingReport),
    )


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def markdown_rows(text: str, title: str) -> list[list[str]]:
    """Return the cells of the first table below a title."""
    lines = text[text.index(title) :].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


# Numbers


def test_markdown_of_the_example_has_its_numbers_within_80_columns() -> None:
    text = render_report(*real()[:1], "markdown", real()[1])
    heads, _, gru, lstm, _ = markdown_rows(text, "**Quality")
    assert heads == ["cell", "mean", "95 % interval", "to gru", "95 % interval", "verdict", "n"]
    assert gru == ["gru", "2.231", "[2.140, 2.335]", "", "", "reference", "6"]
    assert lstm[3:] == ["+0.048", "[+0.036, +0.060]", "worse", "6"]
    assert markdown_rows(text, "**Memory, order to")[3][3:6] == ["×0.63", "[0.50, 0.85]", "less"]
    assert max(map(len, text.splitlines())) <= 80
    assert "s/M" in text and "1 thread, PyTorch 2.13.0+cpu" in text.replace("\n", " ")


def test_without_times_tables_have_none() -> None:
    text = render_report(real()[0])
    assert "s/M" not in text and "minutes" not in text and "| batch |" in text
    assert "seconds_per_million" not in render_report(real()[0], "csv")


def test_csv_has_every_number_with_all_digits() -> None:
    report, timing = real()
    rows = read_csv(render_report(report, "csv", timing))
    by_kind = {
        kind: [row for row in rows if row["kind"] == kind]
        for kind in ("mean", "seed", "difference", "curve", "cost", "baseline")
    }
    assert sum(map(len, by_kind.values())) == len(rows)
    cells, quantities = len(report.cells), 4
    assert len(by_kind["mean"]) == cells * quantities
    assert len(by_kind["seed"]) == cells * quantities * 6
    assert len(by_kind["difference"]) == 3 * quantities  # all pairs of three cells, once each
    lstm = next(row for row in report.rows if row.name == "lstm")
    assert lstm.quality.verdict is not None
    shown = by_kind["difference"][0]
    assert (shown["cell"], shown["other"], shown["verdict"]) == ("lstm", "gru", "worse")
    for name in ("ci_low", "ci_high", "p_holm", "p_tost_holm"):
        assert float(shown[name]) == getattr(lstm.quality.verdict, name)
    assert float(shown["value"]) == lstm.quality.verdict.difference
    assert (shown["n"], shown["margin"], shown["unit"]) == ("6", "0.01", "bits/char")
    (seconds,) = [r for r in rows if r["cell"] == "lstm" and r["quantity"].startswith("seconds")]
    assert float(seconds["value"]) == timing.cells["lstm"].seconds_per_million


def test_n_counts_seeds_that_both_cells_have() -> None:
    result = comparison_result()
    rows = read_csv(render_report(result.report, "csv"))
    own = result.report.cells[-1].name  # its seed 0 diverged
    found = {
        (row["kind"], row["other"]): row["n"]
        for row in rows
        if row["cell"] == own and row["quantity"] == "bits_per_char" and row["n"]
    }
    assert found["mean", ""] == found["difference", "gru"] == "5"
    seeds = [row["value"] for row in rows if row["kind"] == "seed" and row["cell"] == own]
    assert seeds[0] == "" and "" not in seeds[1:6]
    assert markdown_rows(render_report(result.report), "**Quality")[-1][-1] == "5"


def test_task_tables_have_survival_with_its_interval() -> None:
    result = task_result()
    text = render_report(result.report, "markdown", result.timing)
    assert re.search(r"\| gru +\| +100 \| +2/3 \| +\[0\.40, 0\.80\] \| +1,500 \|", text)
    rows = read_csv(render_report(result.report, "csv", result.timing))
    (row,) = [
        r for r in rows if r["kind"] == "survival" and r["cell"] == "gru" and r["at"] == "100"
    ]
    assert float(row["value"]) == 2 / 3 and (row["ci_low"], row["n"]) == ("0.4", "3")
    assert [r["value"] for r in rows if r["quantity"] == "training_per_seed"] == ["1.5"] * 3
    kinds = [r["kind"] for r in rows if r["quantity"] == "longest_solved"]
    assert kinds.count("median") == 3 and set(kinds) == {"median", "seed"}


def test_report_without_verdicts_says_so() -> None:
    report = comparison_report([entry_row("rnn"), entry_row("gru", [None, None])])
    for kind in FORMATS:
        render_report(report, kind)
    assert "there are no verdicts" in render_report(report, "methods")
    assert markdown_rows(render_report(report), "**Quality")[-1][1] == "-"


def test_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidValueError, match="as html. Try one of markdown, csv, latex"):
        render_report(real()[0], "html")  # type: ignore[arg-type]


# Methods


def test_methods_state_everything_that_a_reader_needs() -> None:
    text = " ".join(render_report(real()[0], "methods", real()[1]).split())
    for fact in (
        "gru (Cho et al. 2014), lstm (Hochreiter & Schmidhuber 1997; Gers et al. 2000)",
        "charlm 0.1.0",
        "python-source (8,681,184 characters, SHA-256 8681ac8bfa553b2645a518da981e1c9b404726fc8e",
        "8,085,745 (train), 345,492 (valid) and 249,947 (test) characters",
        "rarer than 1 in 100,000 there, 97 in all",
        "100,000 parameters (within 1 %)",
        "1,500,000 characters in 2,929 steps",
        "8 streams of 64 tokens",
        "recipe of each cell: 0.00563 (gru), 0.0117 (lstm) and 0.00328 (rnn)",
        "6 runs (seeds 0 to 5)",
        "protocol one-stream",
        "two-way bootstrap of 6 seeds and 101 files",
        "familywise error rate of 5 % for each quantity (Holm)",
        "quality 0.01 bits/char; beyond 64 2 mbit/char",
        "x86_64, cpu, 1 thread, PyTorch 2.13.0+cpu, Python 3.11.7",
        "Command: charlm compare-cells --out comparison",
    ):
        assert fact in text, fact


def methods_of(report: ComparisonReport) -> str:
    return " ".join(render_report(report, "methods").split())


def test_methods_claim_nothing_that_existing_runs_differ_in() -> None:
    report = comparison_report([entry_row("gru"), entry_row("rnn")], "gru")
    differing = {
        "conv": {"gru": 0, "rnn": 4},
        "documents": {"gru": "none", "rnn": "files"},
        "reset_prob": {"gru": 0.0, "rnn": 0.1},
    }
    settings = {name: each for name, each in report.settings.items() if name not in differing}
    report = msgspec.structs.replace(report, settings=settings, differing_settings=differing)
    text = methods_of(report)
    assert "bare cells" not in text and "also from file to file" not in text
    assert "but reset with the probability of --reset-prob" in text
    assert "each document of a run with --documents" in text


def test_papers_are_those_of_the_cell_whatever_the_name_of_the_entry() -> None:
    rows = [
        entry_row("lstm", cell="gru"),
        entry_row("long", cell="gru"),
        entry_row("rnn"),
        entry_row("mine", cell="own.MyCell"),
    ]
    report = comparison_report(rows)
    entries = bib_entries(render_report(report, "bibtex"))
    assert set(entries) == {"charlm", "cho2014gru", "elman1990finding"}
    assert (
        "cells lstm (gru; Cho et al. 2014), long (gru; Cho et al. 2014), rnn (Elman 1990) and "
        "mine (own.MyCell) with"
    ) in methods_of(report)


def test_methods_list_seeds_and_state_differing_numbers_of_runs() -> None:
    seeds = [(0, 5), (0, 1), (1, 2, 3), (7,)]
    shown = [
        methods_of(comparison_report([entry_row("rnn", seeds=each), entry_row("gru", seeds=each)]))
        for each in seeds
    ]
    for text, expected in zip(
        shown,
        (
            "2 runs (seeds 0 and 5)",
            "2 runs (seeds 0 and 1)",
            "3 runs (seeds 1 to 3)",
            "1 run (seed 7)",
        ),
        strict=True,
    ):
        assert f"Each cell has {expected}; a seed draws initial weights" in text
    rows = [entry_row("rnn", seeds=(0,)), entry_row("gru", seeds=(0, 2))]
    expected = "There are 1 run of rnn (seed 0) and 2 runs of gru (seeds 0 and 2);"
    assert expected in methods_of(comparison_report(rows))


def test_methods_state_the_schedule_that_the_runs_had() -> None:
    report = comparison_report([entry_row("rnn"), entry_row("gru")])

    def course(max_steps: int | None, **settings: Setting) -> str:
        matching = msgspec.structs.replace(report.matching, max_steps=max_steps)
        changed = {**report.settings, **settings}
        text = methods_of(msgspec.structs.replace(report, matching=matching, settings=changed))
        (found,) = re.findall(r"The rate (.+?)\. ", text)
        return str(found)

    falls = "falls to 2 % as 1 - sqrt in the last 30 % of the steps"
    assert course(2929) == f"rises over 50 steps, is then constant, and {falls}"
    assert course(10) == f"rises over 1 step, is then constant, and {falls}"
    assert course(9) == course(2929, warmup_steps=0) == f"is constant, and {falls}"
    assert course(None).startswith("rises over 50 steps, but at most a tenth of a run, is then")
    assert course(500, lr_schedule="cosine") == "rises over 50 steps, then falls to 2 % as a cosine"
    assert course(9, lr_schedule="linear") == "falls to 2 % linearly"


def test_methods_say_which_runs_began_with_trained_weights() -> None:
    rows = [entry_row("rnn"), entry_row("tuned", cell="rnn")]
    starts = {"init_from": {"rnn": "none", "tuned": "base"}}
    text = methods_of(comparison_report(rows, differing_settings=starts))
    assert (
        "a seed draws the order of the text, and the initial weights of others. Runs began with "
        "trained weights: tuned with those of base."
    ) in text
    starts = {"init_from": {"rnn": "base", "tuned": "base"}}
    text = methods_of(comparison_report(rows, differing_settings=starts))
    assert "a seed draws the order of the text. Runs began" in text


def test_machine_names_processor_threads_and_versions() -> None:
    known = {"processor": "AMD EPYC", "machine": "x86_64", "threads": "2", "torch": "2.13"}
    assert describe_machine(known) == "AMD EPYC (x86_64), 2 threads, PyTorch 2.13"
    assert describe_machine({}) == "a machine that is not known"


# Foreign text


def latex_tokens(text: str) -> Iterator[str]:
    """Yield commands and single characters of LaTeX, without comments."""
    for line in text.splitlines():
        line = re.sub(r"(?<!\\)%.*", "", line)
        yield from re.findall(r"\\[A-Za-z]+|\\.|[^\\]", line)


COMMANDS = {
    *("begin", "end", "centering", "caption", "label", "toprule", "midrule", "bottomrule", "emph"),
    *("multicolumn", "addlinespace", "textbackslash", "textasciitilde", "textasciicircum"),
    *("times", "cdot", "ldots", "char", "l", "L", "ss", "o", "O", "ae", "AE", "v", "u", "r", "c"),
    "H",
}


def check_latex(text: str) -> None:
    """Check braces, math, environments, commands and that each row has as many cells as columns."""
    depth = dollars = 0
    for token in latex_tokens(text):
        depth += {"{": 1, "}": -1}.get(token, 0)
        dollars += token == "$"
        assert depth >= 0
        if re.fullmatch(r"\\[A-Za-z]+", token):
            assert token[1:] in COMMANDS, token
    assert depth == 0 and dollars % 2 == 0 and text.isascii()
    environments = re.findall(r"\\(begin|end)\{(\w+)\}", text)
    open_ones: list[str] = []
    for which, name in environments:
        if which == "begin":
            open_ones.append(name)
        else:
            assert open_ones.pop() == name
    assert not open_ones
    for columns, body in re.findall(
        r"\\begin\{tabular\}\{@\{\}(\w+)@\{\}\}\n(.*?)\\end\{tabular\}", text, re.S
    ):
        rows = [line.strip() for line in body.splitlines() if line.endswith(r"\\")]
        for row in rows:
            if not row.startswith(r"\multicolumn"):
                cells = re.split(r"(?<!\\)&", row.removesuffix(r"\\"))
                assert len(cells) == len(columns), row
            assert not row.startswith("[")


@pytest.mark.parametrize("result", [*HOSTILE, None], ids=["comparison", "task", "example"])
def test_latex_is_balanced_and_foreign_text_is_no_command(result: object) -> None:
    report, timing = real() if result is None else (result.report, result.timing)  # type: ignore[attr-defined]
    text = render_report(report, "latex", timing)
    check_latex(text)
    check_latex(methods_latex(report, timing))
    assert r"\input" not in text and r"\usepackage{booktabs}" in text.splitlines()[0]
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") >= 2


@pytest.mark.parametrize("name", ["[x]", "*"])
def test_no_latex_row_begins_with_what_the_row_before_would_take(name: str) -> None:
    table = Table("t", "Caption.", ("cell", "n"), [Group("", [("rnn", "1"), (name, "2")])])
    assert f"    {{}}{name} & 2 " in render_latex([table], "1")


def test_latex_escapes_each_special_character() -> None:
    assert escape_latex("a_b & 5% #1 {x} $y$ ~^\\") == (
        r"a\_b \& 5\% \#1 \{x\} \$y\$ \textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escape_latex("Kočiský, Łukasz, Gábor ü") == (
        r"Ko{\v c}isk{\'y}, {\L}ukasz, G{\'a}bor {\"u}"
    )
    assert escape_latex("[-0.5, ×2] one-stream Ж") == r"[$-$0.5, $\times$2] one-stream U+0416"
    assert escape_latex("a --out b --- ''") == "a -{}-out b -{}-{}- '{}'"
    assert escape_latex("1–2") == "1--2"
    assert escape_prose("95 % of") == r"95\,\% of"
    assert escape_latex("\x1b[0m\n").startswith(r"\textbackslash{}x1b")


@pytest.mark.parametrize("result", HOSTILE, ids=["comparison", "task"])
def test_markdown_has_no_html_no_links_and_no_control_characters(result: object) -> None:
    for kind in ("markdown", "methods"):
        text = render_report(result.report, kind, result.timing)  # type: ignore[arg-type, attr-defined]
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    text = render_report(result.report, "markdown", result.timing)  # type: ignore[attr-defined]
    assert "<" not in text and not re.search(r"(?<!\\)\]\(", text)
    widths = {
        line.count("|") - line.count(r"\|")
        for line in text.splitlines()
        if line.startswith("| gru")
    }
    assert widths <= {8, 7, 11, 10}


def test_markdown_escapes_and_starts_no_list() -> None:
    assert escape_markdown("a|b <i> [x](y) *z*") == r"a\|b &lt;i&gt; [x\](y) \*z\*"
    assert escape_markdown("x86_64 _a_ __b__") == r"x86_64 \_a\_ \_\_b\_\_"
    lines = paragraph(f"{'word ' * 15}- not a list, + nor this").splitlines()
    assert all(not line.startswith(("-", "+", "#", "=")) for line in lines)
    assert paragraph("# no title").startswith(r"\#")


def test_csv_has_no_formula() -> None:
    text = csv_text(["a"], [["=1+1"], ["+x"], ["-x"], ["@x"], ["x=1"], [-1.5], [None], ['"']])
    assert text == 'a\n\'=1+1\n\'+x\n\'-x\n\'@x\nx=1\n-1.5\n""\n""""\n'
    for result in HOSTILE:
        for row in csv.reader(io.StringIO(render_report(result.report, "csv", result.timing))):
            for cell in row:
                assert not cell.startswith(("=", "+", "@")), cell
                assert not cell.startswith("-") or float(cell) < 0


# Bibliography


def test_every_cell_has_a_paper_that_agrees_with_its_docstring() -> None:
    assert list(PAPERS) == CELL_NAMES
    for cell, papers in PAPERS.items():
        citation = read_cell_source(cell).citation
        first = papers[0]
        assert citation.startswith(first.authors.partition(",")[0]), cell
        assert f"({first.year})" in citation, cell
        (title, *_) = re.findall(r'"(.+?)"', citation)
        assert first.title.lower().startswith(title.lower()), cell
        if len(papers) > 1:
            assert short_citation(papers[1]).removesuffix(f" {papers[1].year}") in citation


def bib_entries(text: str) -> dict[str, dict[str, str]]:
    """Return the fields of each entry by its key, after checking that braces are balanced."""
    entries = {}
    for kind, key, body in re.findall(r"^@(\w+)\{([\w-]+),\n(.*?)^\}", text, re.M | re.S):
        fields = re.findall(r"^  (\w+) = \{(.*)\},?$", body, re.M)
        assert len(fields) == body.count("\n"), body
        for _, value in fields:
            assert value.count("{") == value.count("}"), value
        entries[key] = {**dict(fields), "kind": kind}
    return entries


def test_bibtex_of_all_cells_has_what_its_entries_need() -> None:
    text = render_bibtex(CELL_NAMES)
    entries = bib_entries(text)
    papers = {paper.key: paper for each in PAPERS.values() for paper in each}
    assert text.isascii() and set(entries) == {"charlm", *papers} and len(papers) == 41
    needed = {"article": "journal", "inproceedings": "booktitle", "misc": "eprint"}
    for key, paper in papers.items():
        entry = entries[key]
        assert {"author", "title", "year", needed[entry["kind"]]} <= set(entry), key
        check_paper(paper)
    assert "{RNN}" in entries["cho2014gru"]["title"]
    assert entries["melis2020mogrifier"]["author"].startswith(r"Melis, G{\'a}bor and Ko{\v c}isk")


def check_paper(paper: Paper) -> None:
    """Check the form of the identifiers of a paper."""
    assert all(", " in author for author in paper.authors.split(" and ")), paper.key
    assert 1990 <= paper.year <= 2026
    assert re.fullmatch(r"(\d{4}\.\d{4,5})?", paper.arxiv) and re.fullmatch(
        r"(10\.\d+/\S+)?", paper.doi
    )
    assert re.fullmatch(r"(\d+-\d+)?", paper.pages)
    if paper.arxiv:  # its number begins with year and month; some came after the conference
        assert -1 <= paper.year - (2000 + int(paper.arxiv[:2])) <= 2, paper.key


def test_charlm_cites_itself_as_its_citation_file_does() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    entry = bib_entries(render_bibtex([]))["charlm"]
    assert entry["title"] == citation["title"]
    assert entry["author"] == f"{{{citation['authors'][0]['name']}}}"
    assert entry["note"].endswith(citation["version"])


def test_own_cells_and_the_transformer_are_in_the_bibliography() -> None:
    text = render_report(comparison_result(FOREIGN).report, "bibtex")
    assert "vaswani2017attention" in bib_entries(text)
    own = [line for line in text.splitlines() if line.startswith("%")]
    assert len(own) == 1 and "charlm knows no paper of this cell" in own[0]


def test_every_report_is_a_task_or_a_comparison() -> None:
    assert isinstance(HOSTILE[1].report, TaskReport)
    for result in HOSTILE:
        for kind in FORMATS:
            assert render_report(result.report, kind, result.timing).endswith("\n")
