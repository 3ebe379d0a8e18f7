"""charlm inspect: each character's bits, what units and gates did there, and a page of it."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
import torch
from browser import Browser
from conftest import charlm, make_run, prose

from charlm.cells.base import CELLS
from charlm.cli.inspect import parse_units
from charlm.data.corpus import Corpus
from charlm.errors import ConfigError, DataError
from charlm.evaluation.scoring import iter_token_nll, score_text
from charlm.inspection.feature_units import survey_units
from charlm.inspection.inspect_run import inspect_run
from charlm.inspection.text_features import text_features
from charlm.inspection.text_span import span_from_corpus, span_from_string
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.reporting.html import inspect as page
from charlm.results.inspection import InspectionReport
from charlm.runs.run import Run

pass


def opened(path: Path, book: Path, **settings: object) -> tuple[Run, Corpus, CharLM]:
    """A run, its text, and a model whose weights are none of the beginning's."""
    run, corpus, config = make_run(path / "run", book, **settings)
    model = build_char_lm(config, corpus.vocabulary.size, "loop", "cpu")
    torch.manual_seed(2)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return run, corpus, model


def looked(
    run: Run, corpus: Corpus, model: CharLM, text: str, *asked: tuple[int, int]
) -> InspectionReport:
    passage = span_from_string(text, 1000, run.vocabulary)
    return inspect_run(run, "0" * 64, model, corpus, passage, "a text", asked, lambda _: None)


class Page(HTMLParser):
    """What is in a page: its tags with their attributes, and its words."""

    def __init__(self, html: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(html.decode())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.words += data


# what is told


def test_bits_are_those_of_eval(tmp_path: Path, book: Path) -> None:
    """To the digits that are told: of the same characters, read from the same start."""
    run, corpus, model = opened(tmp_path, book, num_layers=2)
    start, end = corpus.record.splits["test"]
    passage = span_from_corpus(corpus.encoding, (start, end), 10_000, run.vocabulary)
    assert "".join(passage.symbols) == book.read_text()[start:end]
    found = inspect_run(run, "", model, corpus, passage, "", [], lambda _: None)
    exact = score_text(model, run.vocabulary, corpus.encoding, (start, end))
    assert sum(found.bits) / len(found.bits) == pytest.approx(exact["bits_per_char"], abs=1e-4)


def test_a_character_never_seen_costs_the_escape_and_its_name(tmp_path: Path, book: Path) -> None:
    run, corpus, model = opened(tmp_path, book)
    found = looked(run, corpus, model, "The oldé")
    assert found.unseen == [False] * 7 + [True]
    assert found.bits[-1] > 20  # naming one of 1,114,112 costs 20.09 bits
    ids = span_from_string("The oldé", 100, run.vocabulary).ids[:, None]
    nats = torch.cat(list(iter_token_nll(model, ids, run.vocabulary)))[:, 0]
    assert found.bits == pytest.approx((nats / torch.log(torch.tensor(2.0))).tolist(), abs=1e-4)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_shown_with_what_it_has(cell: str, tmp_path: Path, book: Path) -> None:
    hidden = 8
    run, corpus, model = opened(tmp_path, book, cell=cell, num_layers=2, hidden_size=hidden)
    found = looked(run, corpus, model, "The old cat\tsees a dog.\n", (1, 1), (2, hidden))
    for unit, layer in zip(found.units, model.cells, strict=True):
        letters = [row.letter for row in unit.rows]
        always = cell in ("lru", "clockwork")
        kept = {layer.retention_expression} - {""} if not always else set()
        assert {row.letter for row in unit.rows if row.kind == "gate"} == {
            *layer.gate_descriptions,
            *kept,
        }
        assert (layer.candidate_name in letters) == bool(layer.candidate_name)
        assert all(len(row.values) == 24 for row in unit.rows)
        assert (unit.kept is not None) == always
    shown = Page(page.render(msgspec.to_builtins(found)))
    assert ("always alike" in shown.words) == (cell in ("lru", "clockwork"))
    heads = {words["title"] for tag, words in shown.tags if tag == "b" and "title" in words}
    assert heads == {row.says for unit in found.units for row in unit.rows}
    cells = [words for tag, words in shown.tags if tag == "i" and "title" in words]
    assert len(cells) == sum(len(row.values) for unit in found.units for row in unit.rows)
    gates = {saturation.letter for saturation in found.survey.saturation} if found.survey else None
    assert gates == {gate for layer in model.cells for gate in layer.gate_descriptions}


def test_a_share_that_is_always_kept_is_told_as_a_time() -> None:
    """1/e is left of the state of a clockwork's unit when its clock has gone round."""
    assert (
        page.describe_retention(math.exp(-1 / 64))
        == "It forgets in about 64 characters, always alike."
    )
    assert (
        page.describe_retention(1.01) == "It does not forget."
        and page.describe_retention(None) == ""
    )


def test_rows_are_what_the_unit_did(tmp_path: Path, book: Path) -> None:
    """By hand: a forget gate that is its bias, an input gate that opens for one character."""
    run, corpus, model = opened(tmp_path, book, hidden_size=8, embedding_dim=8)
    cell = model.cells[0]
    with torch.no_grad():
        for parameter in (cell.W.weight, cell.U.weight, cell.W.bias, model.embed.weight):
            parameter.zero_()
        cell.W.bias[:8], cell.W.bias[8:16] = -20, torch.tensor(0.75).logit()
        cell.W.bias[16:24] = 20
        model.embed.weight[run.vocabulary.encode("a")[0], 0] = 1
        cell.W.weight[2, 0] = 40  # the input gate of unit 3
    (unit,) = looked(run, corpus, model, "cat, ", (1, 3)).units
    assert [row.letter for row in unit.rows] == ["c", "i", "f", "o", "g", "h"]
    c, i, f, o, g, _ = (row.values for row in unit.rows)
    assert c == [0, 1, 0.75, 0.5625, 0.4219]
    assert (i, f, o, g) == ([0, 1, 0, 0, 0], [0.75] * 5, [0.5] * 5, [1] * 5)


def test_a_unit_that_counts_brackets_is_found(tmp_path: Path) -> None:
    """An LSTM whose unit 5 adds 1 at an opener and takes 1 at a closer, and whose others are noise;
    each stream begins outside of all brackets."""
    (tmp_path / "book.txt").write_text("(ab) [(cd)] " * 1600)
    run, corpus, model = opened(tmp_path, tmp_path / "book.txt", hidden_size=8, embedding_dim=8)
    cell = model.cells[0]
    with torch.no_grad():
        cell.W.weight[:, :2] = 0
        cell.W.weight[[4, 12, 20]], cell.U.weight[[4, 12, 20]] = 0, 0
        cell.W.bias[[4, 12, 20]] = torch.tensor([-20.0, 20.0, 0.0])
        cell.W.weight[4, 0], cell.W.weight[20, 1] = 40, 40
        model.embed.weight[:, :2] = 0
        for symbols, sign in (("([", 1), (")]", -1)):
            for place in run.vocabulary.encode(symbols):
                model.embed.weight[place, 0], model.embed.weight[place, 1] = 1, sign
    found = survey_units(model, corpus, run.vocabulary, lambda _: None)
    assert found is not None
    (tracker,) = [one for one in found.trackers if one.feature == "bracket depth"]
    assert (tracker.layer, tracker.unit, tracker.letter) == (1, 5, "c")
    assert tracker.selection_correlation > 0.99 and tracker.heldout_correlation > 0.99
    assert found.absent == ["inside a quote", "indentation"]
    (keep,) = [one for one in found.saturation if one.letter == "f"]
    assert keep.high[4] == 1 and keep.low[4] == 0


def test_the_score_is_not_from_where_the_unit_was_found(tmp_path: Path) -> None:
    """In the validation split a y stands in brackets and nowhere else; in the test split it is a z:
    the unit that was found is then wrong."""
    inside, outside = "(yyyy) zzzz ", "(zzzz) yyyy "
    (tmp_path / "book.txt").write_text((inside + outside) * 120 + inside * 40 + outside * 40)
    split = {"split_ratios": "75/12.5/12.5"}
    run, corpus, model = opened(
        tmp_path, tmp_path / "book.txt", hidden_size=8, embedding_dim=8, **split
    )
    cell = model.cells[0]
    with torch.no_grad():
        cell.W.weight[:, 0], model.embed.weight[:, 0] = 0, 0
        cell.W.weight[24:], cell.U.weight[24:] = 0, 0
        for letter, sign in (("y", 1), ("z", -1)):
            model.embed.weight[run.vocabulary.encode(letter)[0], 0] = sign
        cell.W.weight[16, 0] = 9
    found = survey_units(model, corpus, run.vocabulary, lambda _: None)
    assert found is not None and found.symbols.keys() == {"valid", "test"}
    (tracker,) = [one for one in found.trackers if one.feature == "bracket depth"]
    assert (
        abs(tracker.selection_correlation) > 0.5
        and tracker.selection_correlation * tracker.heldout_correlation < 0
    )


def test_dropout_is_of_training_alone(tmp_path: Path, book: Path) -> None:
    run, corpus, model = opened(tmp_path, book, num_layers=2, dropout=0.5)
    model.cells[1].W.weight.data *= 30  # so that gates are saturated
    found, again = (looked(run, corpus, model.train(), "The old cat.") for _ in range(2))
    assert found == again


def test_a_text_without_landmarks_has_no_trackers(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("\n" * 4500)
    run, corpus, model = opened(tmp_path, tmp_path / "book.txt")
    found = looked(run, corpus, model, "\n")
    assert found.survey is not None and found.survey.trackers == []
    assert len(found.survey.absent) == 5 and len(found.units) == 1
    shown = " ".join(Page(page.render(msgspec.to_builtins(found))).words.split())
    assert "as the validation or the test split has none: inside a quote, bracket depth," in shown


def test_landmarks_are_where_a_person_sees_them() -> None:
    marks = {
        name: "".join(f"{int(one):x}" for one in mark)
        for name, mark in text_features('x "(y" [z]\n  w\n').items()
    }
    assert marks == {
        "inside a quote": "001110000000000",
        "bracket depth": "000111122111111",
        "indentation": "000000000001220",
        "place in the line": "123456789a01230",
        "end of a word": "100010001000010",
    }


@pytest.mark.parametrize("empty", ["\n", " \n"])
def test_an_empty_line_ends_what_was_never_closed(empty: str) -> None:
    marks = text_features('("\n' + empty + "y")
    assert marks["inside a quote"][[1, 2, -1]].tolist() == [1, 1, 0]
    assert marks["bracket depth"][[1, 2, -1]].tolist() == [1, 1, 0]
    assert text_features(")(")["bracket depth"].tolist() == [0, 1]


def test_lines_may_end_as_on_windows() -> None:
    marks = text_features('("\r\n  \r\n x\r\n')
    assert marks["inside a quote"].tolist() == [0, 1, 1, 1] + [1, 1, 1, 0] + [0] * 4
    assert marks["bracket depth"].tolist() == [1, 1, 1, 1] + [1, 1, 1, 0] + [0] * 4
    assert marks["indentation"].tolist() == [0, 0, 0, 0] + [1, 2, 2, 0] + [1, 1, 1, 0]


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ('x "y" z', "0011000"),
        ("x “y” z", "0011000"),
        ("x „y“ “z”", "001100110"),
        ("x «y “z» z", "0011111000"),
        ("x» “it’s ‘y’”", "0001111111110"),
    ],
)
def test_a_quote_is_opened_and_closed_by_marks_of_a_kind(text: str, inside: str) -> None:
    assert "".join(f"{int(one)}" for one in text_features(text)["inside a quote"]) == inside


# the command


def test_the_command_writes_a_page_and_says_what_it_found(trained: Path, tmp_path: Path) -> None:
    text = "The old cat sees a dog.\nAnd é.\n"
    (tmp_path / "some.txt").write_text(text)
    words = ["inspect", trained, "--text", tmp_path / "some.txt", "--out", tmp_path / "page.html"]
    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode().splitlines()
    assert re.match(r"[0-9.]+ bits/character on 31 characters: .*some.txt$", said[0])
    assert said[-1] == f"page {tmp_path / 'page.html'}"
    scored = json.loads(charlm("eval", trained, "--text", tmp_path / "some.txt", "--json").stdout)
    assert float(said[0].split()[0]) == pytest.approx(scored["bits_per_char"], abs=1e-3)
    shown = Page((tmp_path / "page.html").read_bytes())
    assert "sigmoid(W x + U h + b)" in shown.words


def test_numbers_instead_of_a_page(trained: Path, tmp_path: Path) -> None:
    """Of a text of one character that is no file, and of units that are asked for."""
    words = ["--text", "T", "--units", "1:24, 1:2", "--json", "--out", tmp_path / "none.html"]
    done = charlm("inspect", trained, *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["symbols"] == ["T"] and len(told["bits"]) == 1
    assert [(one["layer"], one["unit"]) for one in told["units"]] == [(1, 24), (1, 2)]
    assert [len(row["values"]) for row in told["units"][0]["rows"]] == [1] * 6
    assert [one["kept"] for one in told["units"]] == [None] * 2  # by no gate that is always alike
    assert not (tmp_path / "none.html").exists()


def test_a_text_of_one_s_own_is_cut_where_its_bytes_are_too_many(
    tmp_path: Path, book: Path
) -> None:
    run = tmp_path / "run"
    few = ["--hidden-size", 4, "--batch-size", 2, "--seq-len", 16, "--max-steps", 1]
    assert charlm("train", book, "--vocab", "bytes", *few, "--run", run).returncode == 0
    for text, where in (
        ("é" * 501, "a text of your own, its beginning"),
        ("é", "a text of your own"),
    ):
        done = charlm("inspect", run, "--text", text, "--json")
        assert json.loads(done.stdout)["text"] == where


def test_units_are_named_by_layer_and_number() -> None:
    assert parse_units("") == [] and parse_units("2:31, 1:7,2:31") == [(2, 31), (1, 7)]
    for wrong in ("7", "1:x", "1:2,", "-1:2"):
        with pytest.raises(ConfigError, match="LAYER:UNIT"):
            parse_units(wrong)
    with pytest.raises(ConfigError, match="8 at most"):
        parse_units(",".join(f"1:{unit}" for unit in range(1, 10)))


def test_what_cannot_be_shown_is_one_line(tmp_path: Path, book: Path) -> None:
    run, corpus, model = opened(tmp_path, book)
    for asked in ((2, 1), (1, 9), (0, 1), (1, 0)):
        with pytest.raises(ConfigError, match="the run has layers 1 to 1, each with units 1 to 8"):
            looked(run, corpus, model, "text", asked)
    with pytest.raises(DataError, match="the text is empty"):
        looked(run, corpus, model, "")


def test_a_run_without_enough_held_out_text_shows_the_liveliest_unit(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(prose(1500))
    run, corpus, model = opened(tmp_path, tmp_path / "book.txt", batch=2)
    found = looked(run, corpus, model, "The old cat.")
    assert found.survey is None
    every = looked(run, corpus, model, "The old cat.", *((1, unit) for unit in range(1, 9))).units
    swing = [torch.tensor(unit.rows[-1].values).var() for unit in every]
    assert [(one.layer, one.unit) for one in found.units] == [
        (1, 1 + int(torch.stack(swing).argmax()))
    ]
    assert b"follow the text" not in page.render(msgspec.to_builtins(found))


# the page


def test_the_page_is_one_file_that_loads_and_runs_nothing(tmp_path: Path, book: Path) -> None:
    run, corpus, model = opened(tmp_path, book)
    text = "<script>alert(1)</script> \x1b[31m & \u202e"
    found = looked(run, corpus, model, text)
    html = page.render(msgspec.to_builtins(found))
    shown = Page(html)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in shown.tags}
    assert not re.search(rb"https?://|url\(|@import|\x1b|\xe2\x80\xae", html)
    policy = next(words for _, words in shown.tags if words.get("http-equiv"))
    assert policy["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    long = [words for _, words in shown.tags if (words.get("class") or "").endswith(" long")]
    assert len(long) == 2 * len(found.units)
    assert "\\x1b" in shown.words and "\\u202e" in shown.words and "never seen" in html.decode()


def test_the_longest_text_and_most_units_fit_into_two_megabytes(tmp_path: Path, book: Path) -> None:
    run, corpus, model = opened(
        tmp_path, book, cell="depth-gated-lstm", num_layers=2, hidden_size=16
    )
    units = [(layer, unit) for layer in (1, 2) for unit in (1, 2, 3, 16)]
    found = looked(run, corpus, model, prose(2000), *units)
    assert len(found.symbols) == 1000 and len(found.units) == 8
    assert len(page.render(msgspec.to_builtins(found))) < 2_000_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_shows_every_cell_of_the_page(
    width: int, scheme: str, chromium: Browser, tmp_path: Path, book: Path
) -> None:
    run, corpus, model = opened(tmp_path, book, cell="slstm", num_layers=2)
    text = "The old cat sees\x1b a dog " + "g" * 70 + ".\n"
    path = tmp_path / "page.html"
    path.write_bytes(page.render(msgspec.to_builtins(looked(run, corpus, model, text, (2, 8)))))
    chromium.see(path, width, scheme)
    assert chromium.ask("document.documentElement.scrollWidth") <= width
    sizes = chromium.ask(
        "[...document.querySelectorAll('.map i, .map s')].map(one => one.getBoundingClientRect())"
        ".map(box => [box.left, box.right, box.height])"
    )
    assert len(sizes) == 6 * len(text)
    assert all(0 < left < right - 8 < width and height > 12 for left, right, height in sizes)
    strong, weak = (
        chromium.ask(f"getComputedStyle(document.querySelector('.ramp .{name}')).backgroundColor")
        for name in ("g10", "g0")
    )
    assert strong != weak
    assert not chromium.heard("Log.entryAdded")
