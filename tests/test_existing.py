"""Runs that are there already: which may stand side by side, and what is said of them."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import charlm, make_run, prose

from charlm.comparison.existing_runs import (
    check_comparable,
    group_by_config,
    load_runs,
    summarize_runs,
)
from charlm.comparison.plan import check_comparison_dir, initialize_comparison_dir
from charlm.comparison.report import VerdictSettings, build_report
from charlm.errors import ConfigError, OutputExistsError
from charlm.runs.run import Run
from charlm.storage.json_files import encode_json

BLOCKS = 20


def finished(
    place: Path,
    text: Path,
    bits: float | None = 2.0,
    score: dict[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """A run that has come to a score of so many bits; None: it diverged."""
    run, corpus, config = make_run(place, text, **settings)
    if bits is None:
        run.mark_diverged("the loss is nan")
        return run
    start, end = corpus.record.splits["test"]
    told = {
        "bits_per_char": bits,
        "bits_per_byte": bits,
        "protocol": "one-stream",
        "text_sha256": corpus.encoding.sha256(start, end, run.vocabulary.kind),
        "block_bits": [1000 * bits + config.seed % 2 + at % 3 for at in range(BLOCKS)],
        "block_lengths": [1000] * BLOCKS,
    }
    timed = {"chars_per_second": 100.0, "seconds": 1.0}
    facts = {
        "format": 3,
        **run.record.summary(),
        "max_steps": config.max_steps,
        "split_ratios": config.final_eval,
    }
    facts["weights_sha256"] = f"those of {bits}"
    run.write_report(
        {**facts, **timed, "score": told | (score or {}) if config.final_eval != "none" else None}
    )
    return run


def test_runs_that_differ_in_their_seed_alone_are_one_row(tmp_path: Path, book: Path) -> None:
    runs = [
        finished(tmp_path / f"{cell}-{seed}", book, 2 + seed / 10, cell=cell, seed=seed)
        for seed in (3, 0, 7)
        for cell in ("lstm", "gru")
    ]
    check_comparable(runs)
    named = group_by_config(runs)
    assert list(named) == ["lstm", "gru"]
    assert [run.record.config.seed for run in named["gru"]] == [0, 3, 7]
    report = build_report(summarize_runs(named, "lstm"), VerdictSettings("lstm", 0.01))
    (gru,) = (row for row in report["rows"] if row["cell"] == "gru")
    assert gru["seeds"] == [0, 3, 7] and gru["runs"] == ["gru-0", "gru-3", "gru-7"]
    assert gru["bits_per_char"]["per_seed"] == [2.0, 2.3, 2.7]
    assert gru["residual"] == gru["parameters"] / named["lstm"][0].record.parameters - 1 < 0


def test_what_has_a_cell_for_itself_is_called_like_it_else_like_its_directory(
    tmp_path: Path, book: Path
) -> None:
    def names(*settings: dict[str, Any], places: str = "abc") -> list[str]:
        runs = [
            finished(tmp_path / str(number) / place, book, **of)
            for number, (place, of) in enumerate(zip(places, settings, strict=False))
        ]
        found = list(group_by_config(runs))
        for run in runs:
            run.path.rename(tmp_path / f"old-{len(list(tmp_path.iterdir()))}")
        return found

    wide, slow, gru = {"hidden_size": 9}, {"learning_rate": 1e-3}, {"cell": "gru"}
    assert names(wide, gru) == ["lstm", "gru"]
    assert names(wide, slow, gru) == ["a", "b", "gru"]
    assert names(wide, slow, places="aa") == [str(tmp_path / one / "a") for one in "01"]
    # no two are called alike, whatever a directory is called
    assert names(wide, slow, gru, places=["gru", "b", "c"]) == [
        str(tmp_path / one / place) for one, place in zip("012", ("gru", "b", "c"), strict=True)
    ]


def test_runs_of_other_seeds_or_the_same_twice_are_not_compared(tmp_path: Path, book: Path) -> None:
    one = finished(tmp_path / "one", book, seed=1)
    other = finished(tmp_path / "other", book, cell="gru", seed=2)
    with pytest.raises(ConfigError, match="lstm has runs of seed 1, and gru of 2: seeds are comp"):
        group_by_config([one, other])
    again = finished(tmp_path / "again", book, seed=1, save_every=9.0)
    assert group_by_config([one, again, one]) == {
        "lstm": [one]
    }  # as where two comparisons share a run
    other = finished(tmp_path / "better", book, 1.9, seed=1)
    with pytest.raises(ConfigError, match="one and .*/better differ in nothing that decides a run"):
        group_by_config([one, other])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"text": "other"}, "the corpus is that of SHA-256 .*, and not that of SHA-256"),
        ({"split_ratios": "80/10/10"}, "its train split is 0 to 4,800, and not 0 to 5,400"),
        ({"vocab": "bytes"}, "a symbol is one of the bytes, and not one of the characters"),
        ({"final_eval": "valid"}, "what was scored is valid, and not test"),
        ({"final_eval": "none"}, "has no score: it was trained with --final-eval none"),
        ({"score": {"protocol": "windows"}}, "the protocol is windows, and not one-stream"),
        ({"score": {"text_sha256": "ab"}}, "the SHA-256 of the scored text is ab, and not "),
        (
            {"score": {"block_lengths": [9] * 5}},
            r"blocks is 9 to 9 \(5 blocks\), and not 1,000",
        ),
    ],
)
def test_what_was_scored_otherwise_is_refused_with_the_reason(
    tmp_path: Path, book: Path, settings: dict[str, Any], why: str
) -> None:
    one = finished(tmp_path / "one", book)
    settings = dict(settings)
    text = tmp_path / "other.txt" if settings.pop("text", None) else book
    (tmp_path / "other.txt").write_text(prose(6000, seed=9))
    other = finished(tmp_path / "other", text, cell="gru", **settings)
    check_comparable([one, one])
    with pytest.raises(ConfigError, match=f"{other.path} .*{why}") as raised:
        check_comparable([one, other])
    assert "\n" not in str(raised.value)


def test_a_run_that_diverged_is_a_result_and_one_that_is_not_finished_is_none(
    tmp_path: Path, book: Path
) -> None:
    lost = finished(tmp_path / "lost", book, None, cell="gru")
    one = finished(tmp_path / "one", book)
    check_comparable([lost, one])
    report = build_report(
        summarize_runs(group_by_config([lost, one]), "lstm"), VerdictSettings("lstm", 0.01)
    )
    assert [row["verdict"]["word"] for row in report["rows"]] == ["baseline", "diverged 1 of 1"]
    begun, _, _ = make_run(tmp_path / "begun", book, cell="rnn")
    with pytest.raises(
        ConfigError, match="begun is not finished: go on with charlm train --run .*"
    ):
        check_comparable([one, begun])


def test_it_is_said_what_is_alike_and_what_is_not(tmp_path: Path, book: Path) -> None:
    runs = [
        finished(tmp_path / "a", book),
        finished(tmp_path / "b", book, dropout=0.5, max_steps=24),
    ]
    report = build_report(summarize_runs(group_by_config(runs), "a"), VerdictSettings("a", 0.01))
    assert report["differ"] == {
        "dropout": {"a": 0.0, "b": 0.5},
        "max_steps": {"a": 12, "b": 24},
    }
    assert not {"dropout", "max_steps", "hidden_size", "seed"} & set(report["settings"])
    assert report["settings"]["batch_size"] == 4 and report["equal"]["max_steps"] is None
    told = report["equal"]["told"]
    assert "alike within 1 %: parameters, FLOPs per character, floats of state;" in told
    assert told.endswith("not alike: updates (12 to 24), characters read (768 to 1.54k)")


def test_a_comparison_stands_for_the_runs_that_its_report_is_about(
    tmp_path: Path, book: Path
) -> None:
    def comparison(place: Path, cells: dict[str, float], baseline: str, **settings: Any) -> str:
        runs = {
            cell: finished(place / "runs" / f"{cell}-s0", book, bits, cell=cell, **settings)
            for cell, bits in cells.items()
        }
        finished(place / "runs" / "attention-s0", book, cell="attention")  # and not judged
        (place / "runs" / "half").mkdir()  # a start that was killed at once
        named = group_by_config(list(runs.values()))
        report = build_report(summarize_runs(named, baseline), VerdictSettings(baseline, 0.01))
        (place / "report.json").write_bytes(encode_json(report))
        return str(place)

    one = comparison(tmp_path / "a", {"gru": 2.0, "lstm": 2.1}, "lstm")
    two = comparison(tmp_path / "b", {"lstm": 2.1, "rnn": 2.3}, "rnn")
    runs, base = load_runs([one, two])
    assert [run.path.parent.parent.name for run in runs] == ["a", "a", "b", "b"]
    assert {name: len(of) for name, of in group_by_config(runs).items()} == {
        "gru": 1,
        "lstm": 1,
        "rnn": 1,
    }
    assert base.path == tmp_path / "a" / "runs" / "lstm-s0"
    lone = tmp_path / "b" / "runs" / "rnn-s0"
    assert load_runs([str(lone), one])[1].path == lone

    with pytest.raises(ConfigError, match="is not finished: the command that began it goes on"):
        load_runs([str(tmp_path)])
    (tmp_path / "report.json").write_bytes(encode_json({"rows": [{"cell": "gru"}]}))
    with pytest.raises(ConfigError, match="is no comparison that has made runs on a text"):
        load_runs([str(tmp_path)])


def test_a_directory_that_has_anything_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_comparison_dir(out, "text")
    out.mkdir()
    for left in ("lock", "standard-input.txt", "seconds.json"):  # by a start that was refused
        (out / left).touch()
    (out / "logs").mkdir()
    check_comparison_dir(out, "text")
    (out / "notes.txt").touch()
    for place in (out, out / "notes.txt"):
        with pytest.raises(OutputExistsError, match="name another place with --out"):
            check_comparison_dir(place, "text")
    initialize_comparison_dir(out, "text")
    check_comparison_dir(out, "text")
    with pytest.raises(
        OutputExistsError, match="has a comparison of another kind, text: name another --out"
    ):
        check_comparison_dir(out, "runs")
    (out / "comparison.json").write_bytes(encode_json({"format": 3}))  # of an older charlm
    check_comparison_dir(out, "text")
    for kind in ("runs", "task"):
        with pytest.raises(OutputExistsError, match="of another kind, text"):
            check_comparison_dir(out, kind)
    (out / "climbs").mkdir()
    check_comparison_dir(out, "task")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", 1], "--learning-rate is of runs to be made: leave it out, as "),
        (["--seeds", 6], "--seeds is of runs to be made"),
        (["--no-transformer"], "--transformer is of runs to be made"),
        (["--match", "parameters"], "--match is of runs to be made"),
        (["--trials", 2], "--trials is of runs to be made"),
        (["--match", "state"], "--match is of runs to be made"),
        (["--dry-run"], "--dry-run is of runs to be made"),
        (["--cells", "gru"], "--cells is of runs to be made"),
        (["book.txt"], "is of runs, and book.txt is not: name only runs, or only texts"),
        (["--reference", "gru"], "--reference gru: one of lstm"),
    ],
    ids=str,
)
def test_what_runs_that_are_there_cannot_have_is_told_in_a_line(
    trained: Path, tmp_path: Path, words: list[Any], said: str
) -> None:
    done = charlm("compare-cells", trained, *words, "--out", tmp_path / "o")
    assert done.returncode == 78 and said in done.stderr.decode(), done.stderr
    assert done.stderr.count(b"\n") == 1 and not (tmp_path / "o").exists()


def test_a_comparison_of_its_runs_says_what_it_said(tmp_path: Path, book: Path) -> None:
    words = ["--cells", "rnn,gru", "--seeds", 2, "--params", 3030, "--embedding-dim", 8]
    words += [
        "--batch-size",
        4,
        "--seq-len",
        16,
        "--max-steps",
        30,
        "--no-transformer",
        "--trials",
        0,
    ]
    text = tmp_path / "text.txt"
    text.write_bytes(book.read_bytes())
    made = charlm("compare-cells", text, *words, "--out", tmp_path / "made", "--json")
    assert made.returncode == 0, made.stderr
    runs = sorted((tmp_path / "made" / "runs").iterdir())
    before = {path: path.read_bytes() for run in runs for path in run.rglob("*") if path.is_file()}
    words = ["compare-cells", tmp_path / "made", "--out", tmp_path / "again"]
    again = charlm(*words, "--json")
    assert again.returncode == 0, again.stderr
    one, two = json.loads(made.stdout), json.loads(again.stdout)
    assert two["baselines"] == one["baselines"] and two["corpus"] == one["corpus"]
    for row, other in zip(one["rows"], two["rows"], strict=True):
        assert {**row, "residual": 0} == {**other, "residual": 0}
    assert before == {
        path: path.read_bytes() for run in runs for path in run.rglob("*") if path.is_file()
    }
    page = (tmp_path / "again" / "report.html").read_text()
    assert "nothing was made equal; alike within 1 %: parameters" in page
    shown = charlm(*words).stdout.decode()
    assert "These runs were there before" in shown and "unigram" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    # of a text that is gone there are no baselines, and all else is as before
    text.unlink()
    cache = {"CHARLM_CACHE": str(tmp_path / "cache")}
    gone = charlm(*words[:-1], tmp_path / "third", "--json", env={**os.environ, **cache})
    assert gone.returncode == 0 and b"no baselines stand beside these runs: " in gone.stderr
    assert json.loads(gone.stdout) == {**two, "baselines": []}
