"""Tuning: the same trials for every cell, the best go on, and what is chosen is said."""

import json
import math
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import TINY, charlm, command

from charlm.cells.base import CELLS
from charlm.comparison import tuning as compare_tuning
from charlm.comparison.budget_matching import match_budget
from charlm.comparison.plan import PlannedRun, plan_runs
from charlm.comparison.search import (
    DEFAULT_TRIALS,
    SPACE,
    TUNING_SEED,
    SearchSettings,
    TrialResult,
    boundary_side,
    describe_search,
    make_search,
    rank_trials,
    rung_schedule,
    sample_settings,
    select_best,
    summarize_tuning,
)
from charlm.comparison.tuning import (
    apply_chosen_settings,
    plan_trials,
    run_tuning,
    search_space_for,
)
from charlm.config import Config, validate_config
from charlm.errors import ConfigError
from charlm.execution.jobs import Job, JobProgress
from charlm.models.cost import count_parameters_and_state, meta_device
from charlm.models.initialization import initialize_cell
from charlm.models.recurrent import build_cells
from charlm.reporting.html import tuning as page
from charlm.reporting.wording import boundary_warnings, describe_tuning
from charlm.results.text import CorpusRecord, TextDigest
from charlm.runs.run import Run

pass

TEXT = CorpusRecord((), TextDigest("ab" * 32, (100,)), 100, {"train": (0, 90)}, ())


# what is tried


def test_a_trial_is_drawn_by_its_number_alone() -> None:
    third = {"learning_rate": 0.0209, "dropout": 0.1, "forget_bias": "0", "grad_clip": 0.25}
    usual = Config()
    assert sample_settings(SPACE, 0) == {name: getattr(usual, name) for name in SPACE}
    assert sample_settings(SPACE, 3) == third
    for number in range(50):
        whole = sample_settings(SPACE, number)
        for left in SPACE:  # what a cell has not, or a person gives, changes no other setting
            space = {name: choices for name, choices in SPACE.items() if name != left}
            assert sample_settings(space, number) == {n: whole[n] for n in space}


def test_the_first_trial_is_not_outside_of_the_space() -> None:
    for rates, first in (((1e-4, 1e-3), 1e-3), ((0.01, 0.1), 0.01), ((1e-3, 1.0), 0.006)):
        assert sample_settings({**SPACE, "learning_rate": rates}, 0)["learning_rate"] == first


def test_rates_are_even_on_a_logarithmic_scale_and_all_else_as_often() -> None:
    found = [sample_settings(SPACE, number) for number in range(2000)]
    rates = [one["learning_rate"] for one in found]
    assert min(rates) >= 3e-4 and max(rates) <= 3e-2
    for tenth in range(10):
        low, high = (3e-4 * 100 ** (end / 10) for end in (tenth, tenth + 1))
        assert sum(low <= rate < high for rate in rates) == pytest.approx(200, abs=50)
    for name in ("dropout", "forget_bias", "grad_clip"):
        for choice in SPACE[name]:
            share = sum(one[name] == choice for one in found) / 2000
            assert share == pytest.approx(1 / len(SPACE[name]), abs=0.04)


def test_few_rates_leave_no_wide_gap() -> None:
    low, high = SPACE["learning_rate"]
    for trials in range(4, 40):
        rates = sorted(
            sample_settings(SPACE, number)["learning_rate"] for number in range(1, trials)
        )
        ends = [low, *rates, high]
        gaps = [math.log(after / before) for before, after in pairwise(ends)]
        assert max(gaps) < 2.2 * math.log(high / low) / trials


def test_what_the_person_gives_is_not_searched() -> None:
    assert make_search(9, {}, "") == SearchSettings(9, SPACE)
    assert "dropout" not in make_search(9, {"dropout": 0.5, "num_layers": 2}, "").space
    assert make_search(9, {}, "1e-3..1").space == {**SPACE, "learning_rate": (1e-3, 1.0)}
    for given, rates, problem in (
        (dict.fromkeys(SPACE, 1), "", "nothing left to search: leave one of --learning-rate, --"),
        ({"learning_rate": 0.1}, "1e-3..1", "--lr-range searches what --lr gives"),
        ({}, "1e-3", "--lr-range 1e-3: two learning rates"),
        ({}, "0.1..0.1", "the lower first"),
        ({}, "0..1", "the lower first"),
        ({}, "nan..1", "the lower first"),
        ({}, "1..inf", "the lower first"),
    ):
        with pytest.raises(ConfigError, match=problem):
            make_search(9, given, rates)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_is_tried_with_what_it_has_and_never_gets_larger(cell: str) -> None:
    def takes(config: Config) -> bool:
        try:
            with meta_device():
                initialize_cell(build_cells(config)[0], config)
        except ConfigError:
            return False
        return True

    config = validate_config({"cell": cell, "hidden_size": 16})
    assert takes(msgspec.structs.replace(config, forget_bias="0")) == (
        "forget_bias" in search_space_for(SPACE, cell)
    )
    for number in range(4):
        tried = msgspec.structs.replace(
            config, **sample_settings(search_space_for(SPACE, cell), number)
        )
        assert takes(tried) and count_parameters_and_state(tried, 90) == count_parameters_and_state(
            config, 90
        )


# who goes on


def test_a_third_goes_on_to_three_times_as_many_updates_and_two_at_least() -> None:
    assert rung_schedule(27, 2700) == {300: 27, 900: 9, 2700: 3}
    assert rung_schedule(10, 2700) == {300: 10, 900: 4, 2700: 2}
    assert describe_search(SearchSettings(9, SPACE), 2700)["cost"] == 4
    # where none would leave, nothing is decided
    assert rung_schedule(4, 2700) == {300: 4, 2700: 2} and rung_schedule(2, 2700) == {2700: 2}
    assert rung_schedule(9, 2) == {1: 9, 2: 2}


def test_the_lowest_goes_on_of_equals_the_first_and_none_that_diverged() -> None:
    rung = [TrialResult(n, 9, bits) for n, bits in enumerate([2.0, None, 1.5, 2.0, 1.5])]
    assert rank_trials(rung) == rank_trials(rung[::-1]) == [2, 4, 0, 3]


def test_the_best_of_the_longest_rung_is_chosen() -> None:
    short = [TrialResult(n, 100, bits) for n, bits in enumerate([2.0, 1.5, 2.5, None])]
    assert select_best(short).number == 1
    long = [TrialResult(0, 300, 1.9), TrialResult(1, 300, 1.9)]
    assert (
        select_best([*short, *long])
        == select_best([*long[::-1], *short])
        == TrialResult(0, 300, 1.9)
    )
    # that a trial diverged where it was trained for longer says more than how it began
    assert select_best([*short, TrialResult(0, 300, None), TrialResult(1, 300, None)]).number == 2
    assert select_best([*short, TrialResult(0, 300, 3.0), TrialResult(1, 300, None)]).number == 0
    assert select_best([TrialResult(1, 100, None), TrialResult(0, 100, None)]).number == 0


def test_a_rate_at_the_end_of_the_space_is_flagged() -> None:
    def ends(*rates: float) -> list[str]:
        of = dict(enumerate(rates))
        return [boundary_side(of, TrialResult(number, 9, 1.0), (3e-4, 3e-2)) for number in of]

    found = ends(0.0004, 0.00045, 0.001, 0.01, 0.018, 0.0205, 0.029)
    assert found == ["low", "low", "", "", "", "high", "high"]
    assert ends(0.001) == [""]


def test_no_trial_counts_for_more_than_a_uniform_code_in_what_is_to_be_expected() -> None:
    for lost in (None, 260.0):
        outcomes = [TrialResult(0, 9, lost), TrialResult(1, 9, 2.0), TrialResult(1, 27, 1.0)]
        found = summarize_tuning(SPACE, outcomes, 6.0)
        assert found["expected_best"] == pytest.approx([4.0, 3.0])  # of the rung where all were
        assert [one["bits"] for one in found["trials"]] == [[lost], [2.0, 1.0]]
        taken = {"number": 1, "max_steps": 27, "bits": 1.0}
        assert found["chosen"] == {**taken, "settings": sample_settings(SPACE, 1)}


# the trials of a comparison


def planned(place: Path, cells: Sequence[str] = ("rnn", "gru"), **more: Any) -> list[PlannedRun]:
    settings = {**TINY, "max_steps": 2700, **more}
    return plan_runs(settings, 2, match_budget(settings, cells, 20_000, 32), TEXT, 32, place)


def tuned(
    base: list[PlannedRun],
    trials: int,
    monkeypatch: pytest.MonkeyPatch,
    bits: Callable[[PlannedRun], float | None],
    space: dict[str, Any] = SPACE,
) -> tuple[dict[str, Any], list[list[Job]]]:
    """What is reported, and the jobs of each rung, of trials that come to these bits."""
    rungs: list[list[Job]] = []
    monkeypatch.setattr(compare_tuning, "bits", bits)
    found = run_tuning(
        {one.config.cell: one for one in base},
        *(SearchSettings(trials, space), 2700, TEXT, 32, lambda one: one.job(["t"]), rungs.append),
    )
    return found, rungs


def after_tuning(base: list[PlannedRun], found: dict[str, Any]) -> list[PlannedRun]:
    """The comparison's runs with what was chosen."""
    chosen = {cell: one["chosen"]["settings"] for cell, one in found["cells"].items()}
    return [
        run for one in base for run in apply_chosen_settings([one], chosen[one.config.cell], TEXT)
    ]


def far(one: PlannedRun) -> float | None:
    """As if a certain rate were best, and the highest diverged."""
    rate = one.config.learning_rate
    return None if rate > 0.02 else abs(rate - 0.01) + 1 / one.config.max_steps


def test_every_cell_has_the_same_trials_and_none_reads_the_test_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[Config]] = {"rnn": [], "gru": []}

    def bits(one: PlannedRun) -> float | None:
        seen[one.config.cell].append(one.config)
        assert one.path.parent == tmp_path / "trials"
        return far(one)

    base = planned(tmp_path)
    found, rungs = tuned(base, 9, monkeypatch, bits)
    assert [len(jobs) for jobs in rungs] == [18, 6, 4]
    assert rungs[1][0].name == "rnn trial 6"
    names = (
        "learning_rate",
        "dropout",
        "grad_clip",
        "max_steps",
        "seed",
        "final_eval",
        "eval_every",
    )
    rnn, gru = ([[getattr(one, n) for n in names] for one in seen[cell]] for cell in seen)
    assert rnn == gru and {one.final_eval for one in seen["gru"]} == {"none"}
    assert (
        {one.forget_bias for one in seen["rnn"]}
        == {"1"}
        != {one.forget_bias for one in seen["gru"]}
    )
    assert not {one.config.seed for one in base} & {one.seed for one in seen["gru"]}
    assert {one.hidden_size for one in seen["gru"]} == {base[1].config.hidden_size}
    assert found["cells"]["gru"]["chosen"]["settings"] == sample_settings(SPACE, 6)


def test_a_comparisons_runs_have_what_was_chosen_and_nothing_else_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = planned(tmp_path)
    found, _ = tuned(base, 9, monkeypatch, far)
    after = after_tuning(base, found)
    space = search_space_for(SPACE, "rnn")
    for before, one in zip(base, after, strict=True):
        settings = sample_settings(space if one.config.cell == "rnn" else SPACE, 6)
        assert one.config == msgspec.structs.replace(before.config, **settings)
        assert one.path.parent == before.path.parent and one.path != before.path
    # and are those of a comparison that was told so
    (gru, *_) = [one for one in after if one.config.cell == "gru"]
    assert gru.path in {one.path for one in planned(tmp_path, ["gru"], **sample_settings(SPACE, 6))}


def test_as_many_trials_are_foreseen_as_are_done_and_then_the_very_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = planned(tmp_path)
    found, rungs = tuned(base, 9, monkeypatch, far)
    done = [job.path for jobs in rungs for job in jobs]
    cells = {one.config.cell: one for one in base}
    trials, settings = plan_trials(cells, SearchSettings(9, SPACE), 2700, TEXT)
    lengths = sorted(one.config.max_steps for one in trials)
    assert lengths == [300] * 18 + [900] * 6 + [2700] * 4 and {one.path for one in trials[:18]} == {
        *done[:18]
    }
    assert settings == {"rnn": None, "gru": None}
    assert [one.path.name for one in apply_chosen_settings(base[:2], None, TEXT)] == [
        "rnn-s0-…",
        "gru-s0-…",
    ]
    monkeypatch.setattr(PlannedRun, "look", lambda _: JobProgress("done"))
    trials, settings = plan_trials(cells, SearchSettings(9, SPACE), 2700, TEXT)
    assert {one.path for one in trials} == {*done}
    assert settings == {of: one["chosen"]["settings"] for of, one in found["cells"].items()}


def test_more_trials_and_cells_reuse_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, few = tuned(planned(tmp_path), 9, monkeypatch, far)
    _, more = tuned(planned(tmp_path, ["lstm", "gru", "rnn"]), 12, monkeypatch, far)
    first, later = ({job.path for job in rungs[0]} for rungs in (few, more))
    assert len(first) == 18 and len(later) == 36 and first < later


def test_trials_that_are_alike_are_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = {"forget_bias": SPACE["forget_bias"]}
    found, rungs = tuned(planned(tmp_path), 9, monkeypatch, far, space)
    assert sorted(job.name.split()[0] for job in rungs[0]) == ["gru"] * 3 + ["rnn"]
    assert [len(one["trials"]) for one in found["cells"].values()] == [9, 9]
    assert [one["chosen"]["number"] for one in found["cells"].values()] == [0, 0]


# what is said


def test_what_was_tuned_is_said() -> None:
    one = {"tuning": None, "settings": {"learning_rate": 0.01}}
    assert describe_tuning(one) == "one learning rate 0.01, not tuned for each cell"
    assert describe_tuning({**one, "tuning": {"trials": 3}}).endswith(
        "0.01, the rest tuned for each cell"
    )
    assert describe_tuning({"tuning": {"trials": 3}, "settings": {}}) == "tuned for each cell"


def test_a_cell_at_the_edge_is_named_with_the_way_out() -> None:
    of = [("gru", "high", 2.0), ("rnn", "", 2.0), ("my.C", "low", 2.0), ("lru", "high", None)]
    cells = {cell: {"edge": edge, "chosen": {"bits": bits}} for cell, edge, bits in of}
    cells["irnn"] = {"edge": "low", "chosen": {"bits": 8204.0}}
    space = {"learning_rate": (0.001, 0.1)}
    gru, mine, *lost = boundary_warnings({"cells": cells, "space": space, "uniform_bits": 6.0})
    assert [said.split(",")[0] for said in lost] == ["lru: not tuned", "irnn: not tuned"]
    assert gru.startswith("gru: ") and "a higher" in gru and "--lr-range 0.001..1," in gru
    assert mine.startswith("my.C: ") and "--lr-range 0.0001..0.1," in mine


@pytest.mark.parametrize("lost", [None, 5.1])
def test_a_figure_of_trials_that_are_all_worse_than_a_uniform_code_is_left_out(
    lost: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bits(one: PlannedRun) -> float | None:
        return lost if one.config.cell == "rnn" else far(one)

    found, _ = tuned(planned(tmp_path), 9, monkeypatch, bits)
    assert not page.loss_by_learning_rate(0, found, "rnn") and page.loss_by_learning_rate(
        1, found, "gru"
    )
    heads, rows = page.trial_table(found)
    assert {len(row) for row in rows} == {len(heads)} and len(rows) == 18
    fourth = rows[9 + 3]  # of rnn, which has no keep bias
    assert fourth[:2] == ["rnn", "3"] and fourth[4] == "-"
    assert fourth[-3:] == [page.format_bits(lost), "", ""]


def test_a_figure_shows_every_trial_at_each_rung_and_the_one_that_was_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, _ = tuned(planned(tmp_path), 9, monkeypatch, far)
    (figure,) = page.loss_by_learning_rate(0, found, "gru")
    assert [look.family for look in figure.key] == [
        *("300 updates", "900 updates", "2,700 updates", "chosen")
    ]
    columns = dict(zip(figure.heads, zip(*figure.rows, strict=True), strict=True))
    assert len(columns["300 updates"]) == 9 and columns["300 updates"].count("diverged") == 1
    assert sum(map(bool, columns["900 updates"])) == 3
    assert sum(map(bool, columns["2,700 updates"])) == 2
    assert columns["chosen, at"][0] == "0.0107"


# the real thing


def test_cells_are_tuned_unless_a_learning_rate_is_given(tmp_path: Path, book: Path) -> None:
    def planned(*words: str) -> Counter[str]:
        small = ["--cells", "rnn", "--seeds", "1", "--params", "3030", "--embedding-dim", "8"]
        small += [
            "--batch-size",
            "4",
            "--seq-len",
            "16",
            "--max-steps",
            "90",
            "--no-transformer",
            *words,
        ]
        out = tmp_path / "-".join(words)
        done = charlm("compare-cells", book, *small, "--out", out, "--dry-run", "--json")
        assert done.returncode == 0, done.stderr
        return Counter(run["purpose"] for run in json.loads(done.stdout)["runs"])

    assert planned() == {"trial": DEFAULT_TRIALS + 2, "run": 1}
    assert planned("--lr", "0.01") == planned("--trials", "0") == {"run": 1}
    assert planned("--lr-range", "0.01..0.1")["trial"] == DEFAULT_TRIALS + 2


def test_tuning_that_was_stopped_goes_on_and_its_choice_is_trained(
    tmp_path: Path, book: Path
) -> None:
    out = tmp_path / "out"
    words = [
        "--cells",
        "gru",
        "--seeds",
        1,
        "--params",
        3030,
        "--embedding-dim",
        8,
        "--batch-size",
        4,
    ]
    words += [
        "--seq-len",
        16,
        "--max-steps",
        600,
        "--trials",
        2,
        "--jobs",
        1,
        "--out",
        out,
        "--json",
    ]
    begun = subprocess.Popen(command("compare-cells", book, *words), stderr=subprocess.PIPE)
    for _ in range(600):
        if list(out.glob("trials/*/report.json")):
            break
        time.sleep(0.1)
    begun.send_signal(signal.SIGTERM)
    _, said = begun.communicate(timeout=120)
    assert begun.returncode == 143 and b"the same command goes on" in said, said
    kept = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/report.json")}
    assert kept and not list(out.glob("runs/*/report.json"))

    done = charlm("compare-cells", book, *words)
    assert done.returncode == 0, done.stderr
    assert b"2 trials of each cell, which cost 2 times as much" in done.stderr
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())
    report = json.loads(done.stdout)
    tuning = report["tuning"]["cells"]["gru"]
    runs = {run.record.config.learning_rate: run for run in map(Run, out.glob("trials/*"))}
    for one in tuning["trials"]:
        run = runs[one["settings"]["learning_rate"]]
        assert run.report and one["bits"] == [run.report["best_valid_bits"]]
        assert run.report["score"] is None and run.report["max_steps"] == 600
        assert run.record.config.seed == TUNING_SEED
    (best,) = [Run(path).record.config for path in (out / "runs").iterdir()]
    taken = tuning["chosen"]
    assert taken["bits"] == min(one["bits"][0] for one in tuning["trials"])
    assert {name: getattr(best, name) for name in SPACE} == taken["settings"]
    assert not set(SPACE) & set(report["settings"])
    assert "<h2>Tuning</h2>" in (out / "report.html").read_text()
