"""Inspection of a run: bits of each token, and traces of units and gates."""

import math
from pathlib import Path

import pytest
import torch
from conftest import prose
from inspected_models import inspect_string, open_model
from page_parser import Page

from charlm.cells.names import CELL_NAMES
from charlm.errors import ConfigError, DataError, DivergedError, InputNotFoundError
from charlm.evaluation.scoring import iter_token_nll, score_text
from charlm.inspection.inspect_run import inspect, inspect_model
from charlm.inspection.text_span import span_from_corpus, span_from_string
from charlm.progress import ignore
from charlm.reporting.html.inspect import render_inspection
from charlm.results.inspection import InspectedText
from charlm.runs.run import Run


def test_bits_equal_those_of_evaluation(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(tmp_path, book, num_layers=2)
    start, end = corpus.record.splits["test"]
    span = span_from_corpus(corpus.encoding, (start, end), 10_000, run.vocabulary)
    assert "".join(span.tokens) == book.read_text()[start:end]
    report = inspect_model(run, "", model, corpus, span, [], ignore)
    score = score_text(model, run.vocabulary, corpus.encoding, (start, end))
    mean = sum(report.bits) / len(report.bits)
    assert mean == pytest.approx(score.bits_per_char, abs=1e-4)


def test_unknown_character_costs_unknown_token_and_its_code(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(tmp_path, book)
    report = inspect_string(run, corpus, model, "The oldé")
    assert report.is_unknown == [False] * 7 + [True]
    assert report.bits[-1] > 20  # one of 1,114,112 code points costs 20.09 bits
    ids = span_from_string("The oldé", run.vocabulary).ids[:, None]
    nats = torch.cat(list(iter_token_nll(model, ids, run.vocabulary)))[:, 0]
    assert report.bits == pytest.approx((nats / math.log(2)).tolist(), abs=1e-4)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_every_cell_shows_its_gates(cell: str, tmp_path: Path, book: Path) -> None:
    """In the report and on the page."""
    hidden_size = 8
    run, corpus, model = open_model(
        tmp_path, book, cell=cell, num_layers=2, hidden_size=hidden_size
    )
    text = "The old cat\tsees a dog.\n"
    report = inspect_string(run, corpus, model, text, (1, 1), (2, hidden_size))
    has_constant_retention = model.cells[0].retention_is_constant
    for unit, layer in zip(report.units, model.cells, strict=True):
        variables = [trace.variable for trace in unit.traces]
        retention = set() if has_constant_retention else {layer.retention_expression} - {""}
        gates = {trace.variable for trace in unit.traces if trace.kind == "gate"}
        assert gates == {*layer.gate_descriptions, *retention}
        assert (layer.candidate_name in variables) == bool(layer.candidate_name)
        assert all(len(trace.values) == 24 for trace in unit.traces)
        assert (unit.retention is not None) == has_constant_retention
    page = Page(render_inspection(report))
    assert ("always at the same rate" in page.text) == has_constant_retention
    titles = {
        attributes["title"] for tag, attributes in page.tags if tag == "b" and "title" in attributes
    }
    assert titles == {trace.description for unit in report.units for trace in unit.traces}
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert all(link and link[1:] in ids for link in links)
    assert bool(links) or cell in ("clockwork", "cornn")  # their equations have no gate
    saturated = report.survey.saturation if report.survey else []
    assert {saturation.variable for saturation in saturated} == {
        gate for layer in model.cells for gate in layer.gate_descriptions
    }
    assert report.survey is not None


def test_traces_equal_equations(tmp_path: Path, book: Path) -> None:
    """A forget gate that equals its bias, and an input gate that opens for one character."""
    run, corpus, model = open_model(tmp_path, book, hidden_size=8, embedding_dim=8)
    cell = model.cells[0]
    with torch.no_grad():
        for parameter in (cell.W.weight, cell.U.weight, cell.W.bias, model.embed.weight):
            parameter.zero_()
        cell.W.bias[:8], cell.W.bias[8:16] = -20, torch.tensor(0.75).logit()
        cell.W.bias[16:24] = 20
        model.embed.weight[run.vocabulary.encode("a")[0], 0] = 1
        cell.W.weight[2, 0] = 40  # input gate of unit 3
    (unit,) = inspect_string(run, corpus, model, "cat, ", (1, 3)).units
    assert [trace.variable for trace in unit.traces] == ["c", "f", "i", "g", "o", "h"]
    c, f, i, g, o, _ = (trace.values for trace in unit.traces)
    assert c == [0, 1, 0.75, 0.5625, 0.4219]
    assert (i, f, o, g) == ([0, 1, 0, 0, 0], [0.75] * 5, [0.5] * 5, [1] * 5)


def test_dropout_is_inactive(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(tmp_path, book, num_layers=2, dropout=0.5)
    model.cells[1].W.weight.data *= 30  # so that gates are saturated
    first, second = (inspect_string(run, corpus, model.train(), "The old cat.") for _ in range(2))
    assert first == second


def test_unit_that_does_not_exist_is_an_error(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(tmp_path, book)
    for unit in ((2, 1), (1, 9), (0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="the run has layers 1 to 1, each with units 1 to 8"):
            inspect_string(run, corpus, model, "text", unit)


def test_empty_text_is_an_error(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(tmp_path, book)
    with pytest.raises(DataError, match="cannot inspect an empty text"):
        inspect_string(run, corpus, model, "")


def test_diverged_model_is_an_error(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(tmp_path, book)
    model.bias.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="not finite"):
        inspect_string(run, corpus, model, "text")


def test_most_variable_unit_is_shown_without_heldout_text(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(prose(1500))
    run, corpus, model = open_model(tmp_path, tmp_path / "book.txt", batch_size=2)
    report = inspect_string(run, corpus, model, "The old cat.")
    assert report.survey is None
    all_units = [(1, unit) for unit in range(1, 9)]
    traced = inspect_string(run, corpus, model, "The old cat.", *all_units).units
    variances = torch.stack([torch.tensor(unit.traces[-1].values).var() for unit in traced])
    assert [(unit.layer, unit.unit) for unit in report.units] == [(1, 1 + int(variances.argmax()))]
    assert b"follow the text" not in render_inspection(report)


def test_inspect_reads_test_split_string_or_file(trained: Path, tmp_path: Path, book: Path) -> None:
    """The function of the API."""
    run = Run(trained)
    report = inspect(run)
    start, end = run.record.text.splits["test"]
    assert report.text == InspectedText(source="test", is_truncated=end - start > 300)
    assert "".join(report.tokens) == book.read_text()[start:end][:300]
    report = inspect(run, "The cat", units=[(1, 3)])
    assert report.text == InspectedText(source="string") and len(report.bits) == 7
    assert [(unit.layer, unit.unit) for unit in report.units] == [(1, 3)]
    path = tmp_path / "some.txt"
    path.write_text("The dog.\n" * 200)
    report = inspect(run, file=path)
    assert report.text == InspectedText(source="file", path=str(path), is_truncated=True)
    assert len(report.bits) == 1000
    with pytest.raises(ConfigError, match="cannot inspect both"):
        inspect(run, "The cat", file=path)
    with pytest.raises(InputNotFoundError):
        inspect(run, file=tmp_path / "none.txt")
