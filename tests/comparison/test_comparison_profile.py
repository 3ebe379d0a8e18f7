"""Memory profiles of cells: means of what probes and tasks have measured, with their intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
import pytest
from example_reports import task_result

from charlm.comparison.directory import initialize_comparison_dir
from charlm.comparison.entries import Entry, PlannedRun
from charlm.comparison.memory import Places
from charlm.comparison.memory_profile import (
    ProfiledReport,
    build_profiles,
    describe_tasks,
    interval_over_seeds,
    mean_part,
    read_profiled_tasks,
    task_part,
)
from charlm.config import Config
from charlm.errors import ConfigError, InputNotFoundError
from charlm.reporting.wording.memory_profile import describe_profiled_tasks
from charlm.results.comparison import ComparisonKind
from charlm.results.probes import Aspect, ProfileEntry
from charlm.results.tasks import LevelSummary, TaskReport
from charlm.settings.values import Setting
from charlm.storage.json_files import seal_json
from charlm.tasks.base import TASKS

SEEDS, UNITS = 6, 24
LENGTHS = (16, 64)


def part(ceiling: float, chance: float = 0.0) -> ProfileEntry:
    return ProfileEntry(
        aspect="uses",
        value=0.5,
        low=None,
        high=None,
        unit="bits per character",
        chance=chance,
        ceiling=ceiling,
    )


def places(levels: Sequence[float]) -> Places:
    """Return places at which each seed has its level at the first length, and half at the last."""
    counts = np.full((len(LENGTHS), UNITS), 100.0)
    noise = np.random.default_rng(0).normal(0, 0.01, UNITS)
    falling = np.array([1.0, 0.5])[:, None]
    sums = np.stack([(level * falling + noise) * counts for level in levels])
    return Places(np.array(LENGTHS), {"gru": sums}, counts)


@pytest.mark.parametrize(("length", "share"), [(16, 1.0), (64, 0.5), (None, 0.5)])
def test_part_is_the_mean_over_seeds_at_its_length(length: int | None, share: float) -> None:
    levels = [1.0, 1.2, 1.4, 0.8, 0.6, 1.0]
    own = [part(2.0, 0.1), part(4.0, 0.3)]
    found = mean_part("gru", own, places(levels), length, "file")
    assert found is not None and found.aspect == "uses" and found.unit == "bits per character"
    noise = np.random.default_rng(0).normal(0, 0.01, UNITS).mean()
    assert found.value == pytest.approx(share + noise)
    assert found.chance == pytest.approx(0.2) and found.ceiling == 3
    assert found.low is not None and found.high is not None
    assert found.low < found.value - 0.1 * share < found.value + 0.1 * share < found.high


def test_seed_that_diverged_has_no_part_in_the_mean() -> None:
    found = mean_part("gru", [part(2.0)], places([np.nan, 1.0]), 16, "file")
    alone = mean_part("gru", [part(2.0)], places([1.0]), 16, "file")
    assert found is not None and found == alone and found.low is None
    assert mean_part("gru", [], places([np.nan]), 16, "file") is None


def task_report(
    task: str,
    lengths: Sequence[int],
    accuracy: Mapping[int, Sequence[float | None]],
    multiples: Mapping[str, Sequence[float | None]] = {},
    tracked: Sequence[float | None] = (),
    cell: str = "gru",
) -> TaskReport:
    """Return the report of a cell with these accuracies by length and seed."""
    example = task_result().report
    row, seeds = example.rows[0], len(next(iter(accuracy.values())))
    levels = tuple(
        LevelSummary(
            length=length,
            num_survived=0,
            num_seeds=seeds,
            ci_low=0,
            ci_high=1,
            num_attempted=seeds,
            num_diverged=0,
            steps=(None,) * seeds,
            accuracy=tuple(accuracy[length]),
            loss=(None,) * seeds,
            extrapolation={factor: tuple(each) for factor, each in multiples.items()},
            measures={"tracked": tuple(tracked)} if tracked else {},
        )
        for length in lengths
    )
    own = msgspec.structs.replace(
        row,
        name=cell,
        seeds=tuple(range(seeds)),
        max_solved_length_per_seed=(0,) * seeds,
        levels=levels,
    )
    return msgspec.structs.replace(
        example,
        task=msgspec.structs.replace(example.task, name=task),
        lengths=tuple(lengths),
        chance=example.chance[:1] * len(lengths),
        rows=(own,),
        pairs=(),
        measures=tuple(TASKS[task].measures[:1]) if tracked else (),
    )


def value(aspect: Aspect, report: TaskReport) -> float:
    return task_part(ProfiledReport(Path(), aspect, report), report.rows[0]).value


def test_model_that_names_any_value_that_was_read_recalls_one_pair() -> None:
    unbound = TASKS["recall-pairs"].unbound_accuracy
    for pairs in (2, 8, 64):
        report = task_report("recall-pairs", [pairs], {pairs: [unbound(pairs)] * 2})
        assert value("recalls", report) == pytest.approx(1)
        report = task_report("recall-pairs", [pairs], {pairs: [1.0, 1 / 16]})
        assert value("recalls", report) == pytest.approx(pairs / 2)  # all, and none


def test_recall_is_the_most_pairs_of_all_lengths_that_a_run_was_trained_at() -> None:
    half = (1 + 1 / 16) / 2  # knows the value of every second key
    accuracy: dict[int, list[float | None]] = {4: [1.0, half], 16: [half, None]}
    report = task_report("recall-pairs", [4, 16], accuracy, {"2": [1.0, 1.0]})
    found = task_part(ProfiledReport(Path(), "recalls", report), report.rows[0])
    assert found.value == pytest.approx((8 + 2) / 2)
    assert (found.chance, found.ceiling, found.unit) == (0, 16, "pairs")


def test_counting_reaches_the_longest_test_that_is_right() -> None:
    chance = TASKS["anbn"].chance_score(16).accuracy
    multiples = {"2": [1.0, chance], "4": [0.0, 0.0]}
    report = task_report("anbn", [8], {8: [1.0, 1.0]}, multiples)
    found = task_part(ProfiledReport(Path(), "counts", report), report.rows[0])
    assert found.value == pytest.approx((16 + 8) / 2) and found.ceiling == 32


def test_tracking_is_the_longest_tracked_length() -> None:
    report = task_report("word-problem-s3", [8], {8: [1.0] * 3}, tracked=[128.0, 8.0, None])
    found = task_part(ProfiledReport(Path(), "tracks", report), report.rows[0])
    assert found.value == pytest.approx((128 + 8 + 0) / 3) and found.ceiling == 128


def test_interval_is_that_of_student_within_chance_and_ceiling() -> None:
    low, high = interval_over_seeds([3.0, 5.0, 4.0], 100.0) or (0.0, 0.0)
    assert (low, high) == pytest.approx((4 - 2.4841, 4 + 2.4841), abs=1e-3)  # 4.303 / sqrt 3
    assert interval_over_seeds([0.1, 0.9], 1.0) == (0, 1)
    assert interval_over_seeds([1.0], 2.0) is None


@pytest.mark.parametrize("values", [(256, 256, 256), (0, 0, 0), (4, 4, 4), (0, 256, 256)])
def test_values_that_do_not_show_how_far_runs_differ_have_no_interval(
    values: tuple[float, ...],
) -> None:
    assert interval_over_seeds(values, 256.0) is None
    tracked = task_report("word-problem-s3", [16], {16: [1.0] * 3}, tracked=values)
    found = task_part(ProfiledReport(Path(), "tracks", tracked), tracked.rows[0])
    assert found.ceiling == 256 and (found.low, found.high) == (None, None)


def entry(cell: str) -> Entry:
    runs = (PlannedRun(Config(cell=cell), Path(f"{cell}-s0"), 9, 9, 9, 9),)
    return Entry(cell, "cell", None, runs)


def save(directory: Path, report: TaskReport) -> Path:
    directory.mkdir()
    initialize_comparison_dir(directory, "task")
    (directory / "report.json").write_bytes(seal_json(report))
    return directory


def test_finished_task_comparisons_give_their_part_to_the_cells_they_have(tmp_path: Path) -> None:
    recall = save(tmp_path / "recall", task_report("recall-pairs", [4], {4: [1.0, 1.0]}))
    entries = [entry("gru"), entry("rnn")]
    tasks = read_profiled_tasks([recall], entries)
    profiles = build_profiles(entries, None, "block", tasks)
    assert [each.aspect for each in profiles["gru"].entries] == ["recalls"]
    assert profiles["rnn"].entries == ()
    (described,) = describe_tasks(tasks, entries)
    assert (described.aspect, described.task, described.lengths) == (
        "recalls",
        "recall-pairs",
        (4,),
    )


def test_other_options_of_the_cell_on_the_task_are_told() -> None:
    report = task_report("word-problem-s3", [8], {8: [1.0]}, tracked=[8.0], cell="gated-deltanet")
    layers = msgspec.structs.replace(report.rows[0], num_layers=4)
    settings: dict[str, Setting] = {**msgspec.to_builtins(Config()), "eigenvalues": "signed"}
    report = msgspec.structs.replace(
        report,
        settings={**settings, "conv": 4},
        rows=(layers, msgspec.structs.replace(layers, name="gru", num_layers=1)),
    )
    entries = [entry("gated-deltanet"), entry("gru"), entry("rnn")]
    (described,) = describe_tasks([ProfiledReport(Path(), "tracks", report)], entries)
    assert [msgspec.structs.astuple(each) for each in described.other_settings] == [
        ("gated-deltanet", "eigenvalues", "signed", "positive"),
        ("gated-deltanet", "num_layers", 4, 1),
        ("gated-deltanet", "conv", 4, 0),
        ("gru", "conv", 4, 0),
    ]
    (told,) = describe_profiled_tasks([described])
    assert told.endswith(
        "). They are other models, with --eigenvalues signed, not positive as gated-deltanet here; "
        "--num-layers 4, not 1 as gated-deltanet here; --conv 4, not 0 as gated-deltanet and gru "
        "here."
    )


def test_task_comparisons_that_give_no_part_are_refused(tmp_path: Path) -> None:
    recall = save(tmp_path / "recall", task_report("recall-pairs", [4], {4: [1.0, 1.0]}))
    copy = save(tmp_path / "copy", task_report("copy", [4], {4: [1.0, 1.0]}))
    again = save(tmp_path / "again", task_report("recall-pairs", [8], {8: [1.0, 1.0]}))
    with pytest.raises(ConfigError, match="copy: its task, copy, is no part of a memory profile"):
        read_profiled_tasks([copy], [entry("gru")])
    with pytest.raises(ConfigError, match="again: .*recall measures the same part"):
        read_profiled_tasks([recall, again], [entry("gru")])
    with pytest.raises(InputNotFoundError, match="none: there is no such directory"):
        read_profiled_tasks([tmp_path / "none"], [entry("gru")])
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="other: it has no comparison. Try the directory of a"):
        read_profiled_tasks([tmp_path / "other"], [entry("gru")])
    told = {"text": "on a text", "runs": "of runs", "task": "not finished"}
    for kind in get_args(ComparisonKind):
        (tmp_path / kind).mkdir()
        initialize_comparison_dir(tmp_path / kind, kind)
        with pytest.raises(ConfigError, match=f"{kind}: .*{told[kind]}"):
            read_profiled_tasks([tmp_path / kind], [entry("gru")])
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "curriculum.json").touch()
    with pytest.raises(ConfigError, match="trained: it is of charlm tasks train, with one cell"):
        read_profiled_tasks([tmp_path / "trained"], [entry("gru")])
    with pytest.raises(ConfigError, match="recall: it has gru, and none of rnn. Try a comparison"):
        read_profiled_tasks([recall], [entry("rnn")])
