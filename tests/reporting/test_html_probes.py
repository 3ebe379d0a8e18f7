"""Page of probes: curves, numbers and notes of runs and cells."""

from example_reports import probes_report

from charlm.reporting.html.numbers import (
    format_scalars,
    group_runs,
    scalar_table,
    scalars_by_run,
)
from charlm.reporting.html.probes import (
    grouped_notes,
    not_applicable_notes,
    render_probes,
    split_by_curve,
)
from charlm.results.probes import Curve, Measured, NotApplicable, ProbeResult, ScalarResult


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
    assert format_scalars([scalar(512.0)]) == "512 (430 to 610.5)"
    assert format_scalars([scalar(512.0), scalar(514.0)]) == "513 (512, 514)"
    assert format_scalars([scalar(512.0), beyond]) == "512, more than 4,096"  # without a mean
    assert format_scalars([beyond]) == "more than 4,096" and format_scalars([]) == "–"


def test_numbers_of_a_group_belong_to_its_runs() -> None:
    numbers = [ScalarResult(name="r = 1", value=1.0, unit="steps", run=run) for run in "abc"]
    by_run = scalars_by_run({"group": result(numbers=numbers)})
    groups = group_runs(by_run, {"a": "gru", "b": "rnn", "c": "gru"})
    assert scalar_table(by_run, groups) == (
        ["", "gru", "rnn"],
        [["r = 1, steps", "1 (1, 1)", "1"]],
    )


def test_run_may_have_the_name_of_a_number() -> None:
    """The run "slope" does not own the number "slope, trained" of another run."""
    one = result(numbers=[ScalarResult(name="slope, trained", value=1.0, unit="")])
    by_run = scalars_by_run({"gru": one, "slope": one})
    assert {run: list(scalars) for run, scalars in by_run.items()} == dict.fromkeys(
        ("gru", "slope"), ["slope, trained"]
    )


def test_note_names_its_cells_unless_all_share_it() -> None:
    results = {
        run: result(notes=["all", *notes])
        for run, notes in {"a": ["z"], "b": ["z"], "c": []}.items()
    }
    assert grouped_notes({"gru": ["a", "b"], "rnn": ["c"]}, results) == [("", "all"), ("gru", "z")]


def test_probe_that_does_not_apply_says_why() -> None:
    page = render_probes(probes_report(runs=2)).decode()
    assert "Not applicable: no bracket" in page
    outcomes = {"a": NotApplicable("no"), "b": Measured(result()), "c": NotApplicable("no")}
    assert not_applicable_notes(outcomes) == [("a, c", "no")]
