"""Page of probes: curves, numbers and notes of runs and cells."""

from typing import Any, get_args

import msgspec
import pytest
from example_reports import probes_report

from charlm.reporting.html.numbers import (
    format_scalars,
    scalars_by_run,
)
from charlm.reporting.html.probes import (
    answer_figures,
    grouped_notes,
    not_applicable_notes,
    probe_figures,
    render_probes,
    split_by_curve,
)
from charlm.reporting.wording.probes import describe_note, describe_reason
from charlm.results.probe_limits import (
    NoGate,
    NotApplicableReason,
    NotCommensurable,
    Note,
    TextTooShort,
)
from charlm.results.probes import (
    Curve,
    Measured,
    NotApplicable,
    ProbeResult,
    ScalarResult,
)

EXAMPLES: dict[str, Any] = {  # values of all fields of notes and reasons
    **dict.fromkeys(("characters", "closers", "layer", "left_out", "letters"), 101),
    **dict.fromkeys(("needed", "nearest", "places", "total", "units", "words"), 2002),
    **dict.fromkeys(("farthest", "window"), 303),
    **dict.fromkeys(("features", "numbers"), 404),
    "counted": "words",
    "curve": "loss",
    "expression": "f",
    "lengths": (1024,),
    "part": "cells",
    "source": "loss",
    "stage": "trained",
    "text": "probed",
}


def result(**fields: object) -> ProbeResult:
    """Return a result without a figure."""
    return ProbeResult(x="", y="", **fields)  # type: ignore[arg-type]


def test_shared_curve_is_in_each_figure() -> None:
    mine, ngram = Curve(x=[1], y=[1.0]), Curve(name="n-gram", x=[1], y=[3.0])
    yours = Curve(x=[1], y=[2.0])
    split = split_by_curve(
        [("a", mine), ("a", ngram), ("b", yours), ("b", ngram)], has_several_runs=True
    )
    assert split == {"": [("a", mine), ("b", yours), ("n-gram", ngram)]}
    alone = split_by_curve([("a", mine), ("a", ngram)], has_several_runs=False)
    assert alone == {"": [("a", mine), ("n-gram", ngram)]}


def test_numbers_have_their_interval_or_their_seeds() -> None:
    def scalar(value: float) -> ScalarResult:
        return ScalarResult(name="n", unit="", value=value, low=430.0, high=610.5)

    beyond = ScalarResult(name="n", unit="", value=None, lower_bound=4096)
    assert format_scalars([scalar(512.0)]) == "512 (430 to 610)"
    assert format_scalars([scalar(512.0), scalar(514.0)]) == "513 (512, 514)"
    assert format_scalars([scalar(512.0), beyond]) == "512, more than 4,096"  # without a mean
    assert format_scalars([beyond]) == "more than 4,096" and format_scalars([]) == "–"


def test_run_may_have_the_name_of_a_number() -> None:
    """The run "slope" does not own the number "slope, trained" of another run."""
    one = result(numbers=[ScalarResult(name="slope, trained", value=1.0, unit="")])
    by_run = scalars_by_run({"gru": one, "slope": one})
    assert {run: list(scalars) for run, scalars in by_run.items()} == dict.fromkeys(
        ("gru", "slope"), ["slope, trained"]
    )


def test_note_names_its_cells_unless_all_share_it() -> None:
    results = {
        run: result(notes=[NotCommensurable(), *notes])
        for run, notes in {"a": [NoGate(2)], "b": [NoGate(2)], "c": []}.items()
    }
    all_share, gru = grouped_notes({"gru": ["a", "b"], "rnn": ["c"]}, results, "character")
    assert all_share[0] == "" and all_share[1].startswith("each curve is relative")
    assert gru == ("gru", "layer 2: autocorrelation only, no gate keeps the state")


def test_probe_that_does_not_apply_says_why() -> None:
    page = render_probes(probes_report(runs=2)).decode()
    assert "Not applicable: the text closes 12 brackets, but 200 are needed." in page
    no = NotApplicable(TextTooShort("training", 99, 1024))
    outcomes = {"a": no, "b": Measured(result()), "c": no}
    reason = "the training text has 99 bytes, but 1,024 are needed"
    assert not_applicable_notes(outcomes, "byte") == [("a, c", reason)]


def test_page_begins_with_a_sentence_per_run_and_one_figure() -> None:
    report = probes_report(runs=1)
    page = render_probes(report).decode()
    sentence = (
        "run-0 loses 0.023 bits per character (−0.005 to 0.049) if all further back than 64 "
        "characters is other text, and uses the order of words up to 96 characters back "
        "(64 to 128)."
    )
    assert page.index(sentence) < page.index("<figure>") < page.index('href="#context-shuffle"')
    assert [figure.spec.y for figure in answer_figures(report)] == ["bits per character "]
    assert answer_figures(msgspec.structs.replace(report, probes={})) == []
    section = page[page.index('<section id="context-replacement">') :].split("</section>")[0]
    outcomes = report.probes["context-replacement"].outcomes
    results = {run: each.result for run, each in outcomes.items() if isinstance(each, Measured)}
    drawn = probe_figures("context-replacement", results, {"run-0": "gru"})
    assert section.count("<figure>") == len(drawn) - 1
    assert 'href="#answer">at the top' in section and '<div id="answer">' in page


@pytest.mark.parametrize("kind", get_args(Note))
def test_every_note_has_a_sentence_of_its_values(kind: type[Note]) -> None:
    note = kind(*(EXAMPLES[name] for name in kind.__struct_fields__))
    sentence = describe_note(note, "byte")
    assert "None" not in sentence and "character" not in sentence
    for value in msgspec.structs.astuple(note):
        expected = str(value[0] if isinstance(value, tuple) else value)
        assert expected in sentence.replace(",", "")


@pytest.mark.parametrize("kind", get_args(NotApplicableReason))
def test_every_reason_has_a_clause_of_its_values(kind: type[NotApplicableReason]) -> None:
    reason = kind(*(EXAMPLES[name] for name in kind.__struct_fields__))
    clause = describe_reason(reason, "byte")
    assert not clause.endswith(".") and "character" not in clause
    for value in msgspec.structs.astuple(reason):
        if value != "probed":
            assert str(value) in clause.replace(",", "")
