"""Existing runs: which may be compared, and what the report tells of them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from comparison_plans import run_report
from conftest import charlm, make_run, prose

from charlm.comparison import compare_runs
from charlm.comparison.directory import check_comparison_dir, initialize_comparison_dir
from charlm.comparison.entries import Entry
from charlm.comparison.existing_runs import (
    check_comparable,
    describe_matching,
    differing_settings,
    existing_entries,
    group_by_config,
)
from charlm.comparison.loaded_runs import load_runs
from charlm.comparison.memory import MEMORY_MARGINS
from charlm.comparison.outcomes import load_outcomes
from charlm.comparison.report import Findings, build_report
from charlm.errors import ConfigError, OutputExistsError
from charlm.execution.executor import Execution, LocalExecutor
from charlm.reporting.wording import matching as wording
from charlm.reporting.wording.findings import describe_findings
from charlm.results.comparison import ComparisonReport
from charlm.results.probes import ProbesReport
from charlm.results.run import Score
from charlm.results.timing import TimingReport
from charlm.runs.run import Run
from charlm.storage.json_files import seal_json

BLOCKS = 20


def finished(
    directory: Path,
    text: Path,
    bits: float | None = 2.0,
    score: dict[str, Any] | None = None,
    **settings: Any,
) -> Run:
    """Return a run with a score of so many bits; None: it diverged."""
    run, corpus, config = make_run(directory, text, **settings)
    if bits is None:
        run.mark_diverged("the loss is nan")
        return run
    start, end = corpus.record.splits["test"]
    run_score: Score | None = Score(
        bits_per_char=bits,
        bits_per_byte=bits,
        nats_per_char=bits,
        characters=end - start,
        bytes=end - start,
        tokens=end - start,
        unknown_tokens=0,
        protocol="one-stream",
        corpus_sha256=corpus.record.digest.sha256,
        text_sha256=corpus.encoding.sha256(start, end, run.vocabulary.kind),
        block_bits=tuple(1000 * bits + config.seed % 2 + block % 3 for block in range(BLOCKS)),
        unit_kind="block",
        block_lengths=(1000,) * BLOCKS,
    )
    run_score = msgspec.structs.replace(run_score, **(score or {}))
    if config.final_eval == "none":
        run_score = None
    weights = hashlib.sha256(f"weights with {bits} bits".encode()).hexdigest()
    run.write_report(run_report(run.record, run_score, weights))
    return run


def report_of(groups: dict[str, list[Run]], reference: str) -> ComparisonReport:
    """Return the report of existing runs."""
    entries = existing_entries(groups, reference)
    return build_report(
        "text",
        entries,
        load_outcomes(entries),
        Findings(differing_settings=differing_settings(entries)),
        matching=describe_matching(entries, groups),
        reference=reference,
        margin=0.01,
    )


def test_runs_that_differ_in_seed_are_one_row(tmp_path: Path, book: Path) -> None:
    runs = [
        finished(tmp_path / f"{cell}-{seed}", book, 2 + seed / 10, cell=cell, seed=seed)
        for seed in (3, 0, 7)
        for cell in ("lstm", "gru")
    ]
    check_comparable(runs)
    groups = group_by_config(runs)
    assert list(groups) == ["lstm", "gru"]
    assert [run.record.config.seed for run in groups["gru"]] == [0, 3, 7]
    (gru,) = (row for row in report_of(groups, "lstm").rows if row.name == "gru")
    assert gru.seeds == (0, 3, 7) and gru.runs == ("gru-0", "gru-3", "gru-7")
    assert gru.bits_per_char.per_seed == (2.0, 2.3, 2.7)
    lstm_parameters = groups["lstm"][0].record.parameters
    assert gru.relative_error == gru.parameters / lstm_parameters - 1 < 0


def test_group_is_named_after_cell_or_directory(tmp_path: Path, book: Path) -> None:
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


def test_different_seeds_and_contradicting_duplicates_are_refused(
    tmp_path: Path, book: Path
) -> None:
    one = finished(tmp_path / "one", book, seed=1)
    other = finished(tmp_path / "other", book, cell="gru", seed=2)
    with pytest.raises(
        ConfigError, match="lstm with gru: one has runs of seed 1, the other of 2. Seeds are paired"
    ):
        group_by_config([one, other])
    again = finished(tmp_path / "again", book, seed=1, save_every=9.0)
    shared = {one.path: (), again.path: ()}  # by two comparisons
    assert group_by_config([one, again], shared) == {"lstm": [one]}
    for tuned in ({}, {one.path: ()}):
        with pytest.raises(ConfigError, match="one and .*/again: they are the same run, with iden"):
            group_by_config([one, again], tuned)
    with pytest.raises(ConfigError, match="one and .*/one: they are the same run"):
        group_by_config([one, Run(one.path)])
    other = finished(tmp_path / "better", book, 1.9, seed=1)
    with pytest.raises(
        ConfigError, match="one and .*/better: they have identical settings but different"
    ):
        group_by_config([one, other])


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"text": "other"}, "the corpus is that of SHA-256 .*, not that of SHA-256"),
        ({"split_ratios": "80/10/10"}, "its train split is 0 to 4,800, not 0 to 5,400"),
        ({"vocab": "bytes"}, "the vocabulary is one of bytes, not one of chars"),
        ({"final_eval": "valid"}, "the scored split is valid, not test"),
        ({"final_eval": "none"}, "has no score, as it was trained with --final-eval none"),
        ({"score": {"protocol": "windows"}}, "the protocol is windows, not one-stream"),
        ({"score": {"text_sha256": "ab" * 32}}, "the SHA-256 of the scored text is abab.*, not "),
        (
            {"score": {"block_bits": (9.0,) * 5, "block_lengths": (9,) * 5}},
            r"blocks is 9 to 9 \(5 blocks\), not 1,000",
        ),
    ],
)
def test_incomparable_scores_are_refused_with_cause(
    tmp_path: Path, book: Path, settings: dict[str, Any], why: str
) -> None:
    one = finished(tmp_path / "one", book)
    settings = dict(settings)
    text = tmp_path / "other.txt" if settings.pop("text", None) else book
    (tmp_path / "other.txt").write_text(prose(6000, seed=9))
    other = finished(tmp_path / "other", text, cell="gru", **settings)
    check_comparable([one, one])
    with pytest.raises(ConfigError, match=f"{other.path}:? .*{why}") as raised:
        check_comparable([one, other])
    assert "\n" not in str(raised.value)


def test_diverged_run_is_a_result_and_unfinished_run_is_refused(tmp_path: Path, book: Path) -> None:
    lost = finished(tmp_path / "lost", book, None, cell="gru")
    one = finished(tmp_path / "one", book)
    check_comparable([lost, one])
    rows = report_of(group_by_config([lost, one]), "lstm").rows
    assert [(row.quality.verdict.label, row.diverged) for row in rows if row.quality.verdict] == [
        *(("reference", 0), ("diverged", 1))
    ]
    begun, _, _ = make_run(tmp_path / "begun", book, cell="rnn")
    with pytest.raises(
        ConfigError, match="begun: it is not finished. Try charlm train --resume .*begun"
    ):
        check_comparable([one, begun])


def test_report_tells_shared_and_differing_quantities(tmp_path: Path, book: Path) -> None:
    runs = [
        finished(tmp_path / "a", book),
        finished(tmp_path / "b", book, dropout=0.5, max_steps=24),
    ]
    report = report_of(group_by_config(runs), "a")
    assert report.differing_settings == {
        "dropout": {"a": 0.0, "b": 0.5},
        "max_steps": {"a": 12, "b": 24},
    }
    assert not {"dropout", "max_steps", "hidden_size", "seed"} & set(report.settings)
    assert report.settings["batch_size"] == 4 and report.matching.max_steps is None
    quantities = {quantity.name: quantity for quantity in report.matching.quantities}
    assert [name for name, quantity in quantities.items() if quantity.is_equal] == [
        *("parameters", "flops_per_character", "state_size")
    ]
    steps, read = quantities["max_steps"], quantities["characters_read"]
    assert (steps.min, steps.max) == (12, 24) and (read.min, read.max) == (768, 1536)
    text = wording.describe_matching(report.matching)
    assert "1 %: parameters, FLOPs per character, floats of state" in text
    assert "(12 to 24)" in text and "(768 to 1.54k)" in text


def test_runs_that_reset_at_documents_are_named_beside_those_that_do_not(
    tmp_path: Path, book: Path
) -> None:
    runs = [
        finished(tmp_path / "carried", book),
        finished(tmp_path / "reset", book, documents="line", score={"protocol": "by-document"}),
    ]
    check_comparable(runs)
    report = report_of(group_by_config(runs), "carried")
    assert report.protocol == "by-document or one-stream"
    assert describe_findings(report, TimingReport(format=1, command="", cells={}))[0] == (
        "The text is not read alike: carried with the state carried on; reset with each line from "
        "the initial state. So these cells do not differ as cells alone."
    )
    alone = report_of(group_by_config(runs[1:]), "lstm")
    assert alone.protocol == "by-document"
    findings = describe_findings(alone, TimingReport(format=1, command="", cells={}))
    assert not any("alike" in finding for finding in findings)


def test_memory_of_runs_with_other_documents_is_not_probed_and_says_why(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(entries: Sequence[Entry], _: Execution) -> ProbesReport | None:
        probed.append([entry.name for entry in entries])
        return None

    monkeypatch.setattr(compare_runs, "measure_memory", measure)
    runs = [
        finished(tmp_path / "carried", book),
        finished(tmp_path / "reset", book, documents="line", score={"protocol": "by-document"}),
        finished(tmp_path / "diverged", book, None, cell="gru", documents="line"),
    ]
    _, corpus, _ = make_run(tmp_path / "corpus", book)
    execution = Execution(tmp_path, LocalExecutor(1, "cpu"))
    causes: list[set[str]] = []
    probed: list[list[str]] = []
    for compared in (runs, runs[::2]):
        groups = group_by_config(compared)
        entries = existing_entries(groups, next(iter(groups)))
        memory, probes = compare_runs._measure_memory(
            entries, corpus, entries[0].name, execution, memory=True
        )
        assert probes is None and len(memory.unmeasured) == len(MEMORY_MARGINS)
        causes += [{each.cause for each in memory.unmeasured}]
    assert causes == [{"other_documents"}, {"diverged"}] and probed == [["lstm", "gru"]]


def test_option_of_cells_differs_only_between_those_that_have_it(
    tmp_path: Path, book: Path
) -> None:
    runs = [finished(tmp_path / "gru", book, cell="gru")]
    for heads in (2, 4):
        runs.append(finished(tmp_path / f"{heads}", book, cell="deltanet", num_heads=heads))
    report = report_of(group_by_config(runs), "gru")
    assert report.differing_settings == {"num_heads": {"2": 2, "4": 4}}


def test_comparison_expands_to_runs_of_its_report(tmp_path: Path, book: Path) -> None:
    def comparison(place: Path, cells: dict[str, float], reference: str, **settings: Any) -> str:
        runs = {
            cell: finished(place / "runs" / f"{cell}-s0", book, bits, cell=cell, **settings)
            for cell, bits in cells.items()
        }
        finished(place / "runs" / "attention-s0", book, cell="attention")  # not in the report
        (place / "runs" / "half").mkdir()  # a start that was killed at once
        report = report_of(group_by_config(list(runs.values())), reference)
        (place / "report.json").write_bytes(seal_json(msgspec.structs.replace(report, kind="text")))
        initialize_comparison_dir(place, "text")
        return str(place)

    one = comparison(tmp_path / "a", {"gru": 2.0, "lstm": 2.1}, "lstm")
    two = comparison(tmp_path / "b", {"lstm": 2.1, "rnn": 2.3}, "rnn")
    runs, base, tuned = load_runs([one, two])
    assert [run.path.parent.parent.name for run in runs] == ["a", "a", "b", "b"]
    assert {name: len(of) for name, of in group_by_config(runs, tuned).items()} == {
        "gru": 1,
        "lstm": 1,
        "rnn": 1,
    }
    assert base.path == tmp_path / "a" / "runs" / "lstm-s0"
    lone = tmp_path / "b" / "runs" / "rnn-s0"
    assert load_runs([str(lone), one])[1].path == lone

    with pytest.raises(ConfigError, match="it is not finished. Try the command that began it"):
        load_runs([str(tmp_path)])
    (tmp_path / "report.json").touch()
    initialize_comparison_dir(tmp_path, "task")
    with pytest.raises(ConfigError, match="is no comparison that has trained runs on a text"):
        load_runs([str(tmp_path)])


def test_directory_with_anything_else_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_comparison_dir(out, "text")
    out.mkdir()
    for left in ("lock", "stdin.txt", "time_matching.json"):  # by a start that was refused
        (out / left).touch()
    (out / "logs").mkdir()
    check_comparison_dir(out, "text")
    (out / "notes.txt").touch()
    for place in (out, out / "notes.txt"):
        with pytest.raises(OutputExistsError, match="Try another --out"):
            check_comparison_dir(place, "text")
    initialize_comparison_dir(out, "text")
    check_comparison_dir(out, "text")
    with pytest.raises(
        OutputExistsError, match="has a comparison of another kind, text. Try another --out"
    ):
        check_comparison_dir(out, "runs")
    for kind in ("runs", "task"):
        with pytest.raises(OutputExistsError, match="of another kind, text"):
            check_comparison_dir(out, kind)
    initialize_comparison_dir(out, "task")
    check_comparison_dir(out, "task")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lr", 1], "--learning-rate: it is for runs that are yet to be trained, and "),
        (["--seeds", 6], "--seeds: it is for runs that are yet to be trained"),
        (["--baselines", "none"], "--baselines: it is for runs that are yet to be trained"),
        (["--match", "params"], "--match: it is for runs that are yet to be trained"),
        (["--trials", 2], "--trials: it is for runs that are yet to be trained"),
        (["--match", "state"], "--match: it is for runs that are yet to be trained"),
        (["--dry-run"], "--dry-run: it is for runs that are yet to be trained"),
        (["--cells", "gru"], "--cells: it is for runs that are yet to be trained"),
        (["book.txt"], "with book.txt: one is a run, the other is not"),
        (["--reference", "gru"], "--reference gru: it is not among the runs. Try one of lstm"),
    ],
    ids=str,
)
def test_options_without_meaning_for_runs_are_refused(
    trained: Path, tmp_path: Path, words: list[Any], said: str
) -> None:
    done = charlm("compare-cells", trained, *words, "--out", tmp_path / "o")
    assert done.returncode == 78 and said in done.stderr.decode(), done.stderr
    assert done.stderr.count(b"\n") == 1 and not (tmp_path / "o").exists()


@pytest.mark.slow
def test_comparison_of_its_runs_repeats_its_report(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--cells", "rnn,gru", "--seeds", 2, "--params", 3030, "--embedding-dim", 8]
    words += ["--batch-size", 4, "--seq-len", 16, "--max-steps", 30, "--lr", 0.01]
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
        assert {**row, "relative_error": 0} == {**other, "relative_error": 0}
    assert before == {
        path: path.read_bytes() for run in runs for path in run.rglob("*") if path.is_file()
    }
    page = (tmp_path / "again" / "report.html").read_text()
    assert "nothing was matched; equal within 1 %: parameters" in page
    shown = charlm(*words).stdout.decode()
    assert "These are existing runs" in shown and "unigram" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())
    # without the text there are no baselines; everything else is the same
    text.unlink()
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    gone = charlm(*words[:-1], tmp_path / "third", "--json")
    assert gone.returncode == 0 and b"no baselines and no memory: " in gone.stderr
    three = json.loads(gone.stdout)
    of_text = ("baselines", "pairs", "unmeasured", "ngram_memory", "rows")
    assert three["baselines"] == [] and {pair["quantity"] for pair in three["pairs"]} == {
        "bits_per_char"
    }
    assert {name: three[name] for name in three if name not in of_text} == {
        name: two[name] for name in two if name not in of_text
    }
    for row, other in zip(two["rows"], three["rows"], strict=True):
        assert row["quality"] == other["quality"]
