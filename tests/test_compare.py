"""Comparisons: equal parameters, equal data, one table, and nothing done twice."""

import fcntl
import html
import inspect
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
import typer.main
from conftest import TINY, charlm, command, make_run, on_terminal
from torch.utils.flop_counter import FlopCounterMode

from charlm.cells.base import CELLS
from charlm.cli import app
from charlm.cli.compare import compare_cells
from charlm.comparison import report
from charlm.comparison.budget_matching import match_budget
from charlm.comparison.plan import PlannedRun, plan_runs, run_path
from charlm.comparison.verdicts import MIN_SEEDS
from charlm.config import to_argv, validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus
from charlm.errors import CharlmError, DataError
from charlm.execution import jobs as workers
from charlm.execution import torchrun
from charlm.models.char_lm import CharLM
from charlm.models.cost import flops_per_character
from charlm.models.recurrent import ModelFactory
from charlm.models.regressor import RecurrentRegressor
from charlm.results.text import CorpusRecord, TextDigest
from charlm.runs.run import Run

WORDS = ["--cells", "rnn,gru", "--seeds", 2, "--params", 30_000, "--embedding-dim", 8]
WORDS += ["--batch-size", 4, "--seq-len", 16, "--log-every", 0.2, "--no-transformer"]
WORDS += ["--trials", 0]
TEXT = CorpusRecord((), TextDigest("ab" * 32, (100,)), 100, {"train": (0, 90)}, ())


def test_a_plan_is_a_pure_function_of_its_arguments(tmp_path: Path) -> None:
    def planned(**changed: Any) -> list[PlannedRun]:
        cells = changed.pop("cells", ["rnn", "lstm"])
        words = {"footing": match_budget({}, cells, 150_000, 90), "seeds": 2, "text": TEXT}
        words |= {"settings": {"max_steps": 10}, "symbols": 90, "place": tmp_path}
        return plan_runs(**{**words, **changed})

    assert planned() == planned()
    assert [one.job([]).name for one in planned()] == [
        *("rnn seed 0", "lstm seed 0", "rnn seed 1", "lstm seed 1")
    ]
    assert not list(tmp_path.iterdir())
    paths = {one.path for one in planned()}
    assert len(paths) == 4
    # what decides a run names it; where and how it is run does not
    assert {one.path for one in planned(seeds=3, cells=["rnn", "lstm", "gru"])} > paths
    assert {one.path for one in planned(settings={"max_steps": 10, "save_every": 2.0})} == paths
    assert not paths & {one.path for one in planned(settings={"max_steps": 11})}
    other = msgspec.structs.replace(TEXT, digest=TextDigest("cd" * 32, (100,)))
    assert not paths & {one.path for one in planned(text=other)}
    cut = msgspec.structs.replace(TEXT, splits={"train": (0, 80)})  # as with another --test-file
    assert not paths & {one.path for one in planned(text=cut)}
    moved = msgspec.structs.replace(TEXT, sources=("/elsewhere",))
    assert paths == {one.path for one in planned(text=moved)}


def test_a_run_of_another_text_is_not_taken_for_one_of_the_comparison(
    tmp_path: Path, book: Path
) -> None:
    _, corpus, config = make_run(tmp_path / "run", book)
    for text, fits in ((corpus.record, True), (TEXT, False)):
        planned = PlannedRun(config, run_path(config, text, tmp_path), 1, 1, 1)
        (tmp_path / "run").rename(planned.path)
        if fits:
            assert planned.progress().total == config.max_steps
        else:
            with pytest.raises(DataError, match="has read another text"):
                planned.progress()
        planned.path.rename(tmp_path / "run")


def test_a_runs_arguments_say_its_settings_again() -> None:

    config = validate_config(
        {**TINY, "tie_weights": True, "embedding_dim": 8, "hidden_size": 8, "dropout": 0.25}
    )

    parsed = typer.main.get_command(app).commands["train"].make_context("", to_argv(config))  # type: ignore
    again = {k: v for k, v in parsed.params.items() if k in type(config).__struct_fields__}
    assert validate_config(again) == config


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_size": 8},
        {"hidden_size": 40, "num_layers": 2, "initial_state": "learned"},
        {
            "hidden_size": 40,
            "embedding_dim": 40,
            "tie_weights": True,
            "num_layers": 2,
            "block": "residual",
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", [CharLM, RecurrentRegressor])
def test_flops_are_those_that_pytorch_counts(
    kind: ModelFactory[CharLM], settings: dict[str, Any], cell: str
) -> None:
    config = validate_config({"embedding_dim": 8, **settings, "cell": cell})
    if kind is RecurrentRegressor:
        config = msgspec.structs.replace(config, tie_weights=False)
    if cell == "depth-gated-lstm" and config.block == "residual":
        return  # it does not stand in one
    model = kind(config, 90, "loop", "cpu")
    x = torch.zeros(1, 1, dtype=torch.long) if kind is CharLM else torch.zeros(1, 1, 90)
    with FlopCounterMode(display=False) as counter:
        model(x, model.initial_state(1))
    assert flops_per_character(config, 90, kind) == counter.get_total_flops()


def test_a_kernel_that_cannot_walk_a_cell_is_refused_before_anything_is_measured(
    tmp_path: Path, book: Path
) -> None:
    words = ["compare-cells", book, "--kernel", "scan", *WORDS, "--out", tmp_path / "o"]
    done = charlm(*words)
    assert done.returncode == 78 and b"scan" in done.stderr, done.stderr
    assert done.stderr.count(b"\n") == 2 and not (tmp_path / "o").exists()
    assert b"note: there can be no verdict: 6 seeds or more are needed, there are 2" in done.stderr


def test_all_cells_read_the_same_data_in_the_same_order(book: Path) -> None:
    corpus = load_corpus([str(book)], validate_config({}))
    orders = []
    symbols = corpus.vocabulary.size
    footing = match_budget(TINY, ["rnn", "lstm"], 3000, symbols)
    for one in plan_runs({**TINY}, 1, footing, TEXT, symbols, Path("x")):
        config = one.config
        batches = BatchSampler(
            corpus.split("train"), config.batch_size, config.seq_len, config.seed
        )
        orders.append([batches[update].x for update in range(100)])
    assert all(torch.equal(a, b) for a, b in zip(*orders, strict=True))


# arithmetic


def reports(cell: str, bits: list[float | None]) -> list[report.Report]:
    return [
        {
            "cell": cell,
            "hidden_size": 8,
            "num_layers": 1,
            "parameters": 990,
            "state_size": 8,
            "flops_per_character": 990,
            "seed": seed,
            "score": one
            and {
                "bits_per_char": one,
                "bits_per_byte": one / 2,
                "block_bits": [1000 * (one + (at % 3 + seed % 2) / 1e4) for at in range(20)],
                "block_lengths": [1000] * 20,
            },
            "chars_per_second": 100.0,
            "seconds": 60.0,
        }
        for seed, one in enumerate(bits)
    ]


def made(cell: str, bits: list[float | None]) -> report.Report:
    return report.summarize_cell(cell, reports(cell, bits), -0.01)


def test_a_row_has_the_mean_and_the_spread_of_its_seeds() -> None:
    row = made("gru", [2.0, 2.5, 3.0])
    assert row["bits_per_char"] == {
        "mean": 2.5,
        "low": 2.0,
        "high": 3.0,
        "per_seed": [2.0, 2.5, 3.0],
    }
    assert row["bits_per_byte"]["mean"] == 1.25
    assert row["residual"] == -0.01


def test_what_runs_took_is_told_apart_and_of_those_that_came_to_the_end() -> None:
    of = reports("gru", [2.0, None, 3.0])
    of[1]["chars_per_second"] = 1.0  # it diverged
    assert report.summarize_timing(of) == {"seconds_per_million": 10_000.0, "minutes": 1.0}
    assert not report.summarize_cell("gru", of, 0.0).keys() & report.summarize_timing(of).keys()
    lost = report.summarize_timing(reports("gru", [None]))
    assert lost == {"seconds_per_million": None, "minutes": None}


def test_rows_stand_by_their_mean_and_those_without_one_come_last() -> None:
    rows = [made("far", [2.4, 2.5]), made("lost", [1.0, None]), made("near", [2.1, 2.3])]
    rows.append(made("first", [2.0, 2.2]))
    assert [row["cell"] for row in report.sort_rows(rows)] == ["first", "near", "far", "lost"]
    assert rows[1]["bits_per_char"]["mean"] is None and rows[1]["diverged"] == 1


def words(bits: dict[str, list[float | None]], baseline: str = "base") -> dict[str, str]:
    found, blocks = report.compute_verdicts(
        {c: reports(c, of) for c, of in bits.items()}, baseline, 0.01
    )
    assert blocks in (0, 20)
    return {cell: one.verdict for cell, one in found.items()}


def test_the_words_are_those_of_seeds_and_blocks_beside_the_baseline() -> None:
    seeds = [2.0, 2.1, 2.2, 2.3, 2.4, 2.5]
    near = [one + 0.001 + place / 1e4 for place, one in enumerate(seeds)]
    far = [one + 0.1 + place / 100 for place, one in enumerate(seeds)]
    wild = [one + (-1) ** place * 0.1 for place, one in enumerate(seeds)]
    lost = [None, *seeds[1:]]
    of = {"far": far, "base": seeds, "near": near, "wild": wild, "lost": lost}
    told = {"near": "equivalent", "wild": "inconclusive", "lost": "diverged 1 of 6"}
    assert words(of) == {**told, "base": "baseline", "far": "worse"}
    other = words(of, "far")  # the order of cells and rows decides nothing
    assert other["base"] == other["near"] == "better" and other["far"] == "baseline"


def test_beside_a_baseline_that_diverged_nothing_is_told() -> None:
    of: dict[str, list[float | None]] = {
        "base": [None, 2.0],
        "other": [1.0, 1.1],
        "lost": [None] * 2,
    }
    told = {"base": "diverged 1 of 2", "other": "inconclusive", "lost": "diverged 2 of 2"}
    assert words(of) == told
    assert set(words({"base": [None, None], "lost": [None, None]}).values()) == {"diverged 2 of 2"}


def test_few_seeds_carry_no_verdict_and_say_how_many_would() -> None:
    few: dict[str, list[float | None]] = {"base": [2.0] * 5, "far": [9.0] * 5}
    found, _ = report.compute_verdicts(
        {cell: reports(cell, of) for cell, of in few.items()}, "base", 0.01
    )
    assert found["far"].verdict == "inconclusive" and found["far"].difference == pytest.approx(7)
    assert "6 seeds or more are needed, there are 5" in found["far"].note


def test_bytes_that_are_no_text_are_ordered_by_the_byte() -> None:
    rows = [made("a", [2.0, 2.2]), made("b", [1.0, 1.2])]
    for row in rows:
        row["bits_per_char"] = report.mean_and_range([None, None])
    assert report.score_unit(rows) == "bits_per_byte"
    assert [row["cell"] for row in report.sort_rows(rows)] == ["b", "a"]
    assert report.score_unit([made("a", [2.0, None])]) == "bits_per_char"


def test_a_diverged_run_is_a_result_and_is_not_done_again(tmp_path: Path, book: Path) -> None:
    words = ["--cells", "rnn", "--seeds", 2, *WORDS[4:], "--max-steps", 200, "--lr", 1000]
    words += [
        "--grad-clip",
        1e9,
        "--warmup-steps",
        0,
        "--weight-decay",
        10,
        "--out",
        tmp_path / "o",
    ]
    first = charlm("compare-cells", book, *words, "--json")
    assert first.returncode == 0, first.stderr
    (row,) = json.loads(first.stdout)["rows"]
    assert row["verdict"]["word"] == "diverged 2 of 2" and row["diverged"] == 2
    assert row["bits_per_char"]["mean"] is None
    logs = {path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "logs").iterdir()}
    again = charlm("compare-cells", book, *words)
    assert again.returncode == 0 and b"diverged 2 of 2" in again.stdout
    assert logs == {path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "logs").iterdir()}


def test_a_comparison_that_is_told_nothing_else_has_the_seeds_that_a_verdict_needs() -> None:
    seeds = inspect.signature(compare_cells).parameters["seeds"]
    assert seeds.default == MIN_SEEDS
    assert f"with fewer than {MIN_SEEDS}, no verdict" in str(seeds.annotation.__metadata__[0].help)


def test_two_cells_of_one_name_are_refused(tmp_path: Path) -> None:
    """What is said of one would be taken for the other's."""
    words = ["--cells", "a/my.py:C,gru,b/my.py:C", "--out", tmp_path / "o"]
    done = charlm("compare-cells", *words)
    said = done.stderr.decode()
    assert done.returncode == 78 and said.count("\n") == 1 and not list(tmp_path.iterdir())
    assert "a/my.py:C and b/my.py:C would both be called my.C" in said


def test_a_tied_table_is_as_wide_as_each_cells_units(tmp_path: Path, book: Path) -> None:
    words = [
        "--cells",
        "rnn,gru",
        "--seeds",
        1,
        "--params",
        4990,
        "--tie-weights",
        "--batch-size",
        4,
    ]
    words += ["--max-steps", 3, "--out", tmp_path / "o", "--no-transformer", "--trials", 0]
    done = charlm("compare-cells", book, *words, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["settings"]["tie_weights"] and "embedding_dim" not in report["settings"]
    hidden = {row["cell"]: row["hidden_size"] for row in report["rows"]}
    runs = [Run(path).record.config for path in (tmp_path / "o" / "runs").iterdir()]
    assert {one.cell: one.embedding_dim for one in runs} == hidden and len(
        set(hidden.values())
    ) == 2
    told = charlm("compare-cells", book, *words, "--embedding-dim", 9)
    assert (
        told.returncode == 78 and b"--tie-weights: the table is as wide as each cell" in told.stderr
    )


# the real thing


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Path:
    """A small comparison that was terminated in the middle, and then went on."""
    out = tmp_path_factory.mktemp("compare") / "out"
    # one at a time: then there is a middle, however many cores there are
    words = command("compare-cells", book, *WORDS, "--max-steps", 1200, "--out", out, "--json")
    words += ["--jobs", "1"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(600):
        if len(list(out.glob("runs/*/metrics.jsonl"))) >= 2:
            break
        time.sleep(0.1)
    locked = charlm("compare-cells", book, *WORDS, "--max-steps", 1200, "--out", out)
    assert process.poll() is not None or locked.returncode == 75
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 143, stderr
    assert stdout == b"" and b"the same command goes on" in stderr
    assert not (out / "report.json").exists()
    before = {path: path.read_bytes() for path in out.glob("runs/*/report.json")}
    assert len(before) < 4

    finished = subprocess.run(words, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == json.loads((out / "report.json").read_text())
    assert (
        before.items()
        <= {path: path.read_bytes() for path in out.glob("runs/*/report.json")}.items()
    )
    return out


def test_a_comparison_that_was_stopped_goes_on(done: Path) -> None:
    assert len(list((done / "runs").iterdir())) == 4
    for path in (done / "runs").iterdir():
        # an update that is on record was done once, or after the checkpoint it went back to
        updates = [
            json.loads(line)["update"]
            for line in (path / "metrics.jsonl").read_text().splitlines()
            if '"bits"' in line
        ]
        assert updates == list(range(1, 1201))


def test_its_report_holds_all_that_the_table_says(done: Path) -> None:
    found = json.loads((done / "report.json").read_text())
    assert [row["verdict"]["word"] for row in found["rows"] if row["cell"] == "rnn"] == ["baseline"]
    (gru,) = (row["verdict"] for row in found["rows"] if row["cell"] == "gru")
    assert gru["word"] == "inconclusive" and "6 seeds or more are needed" in gru["note"]
    means = {row["cell"]: row["bits_per_char"]["mean"] for row in found["rows"]}
    assert gru["difference"] == pytest.approx(means["gru"] - means["rnn"])
    assert found["judged"]["baseline"] == "rnn" and found["judged"]["margin"] == 0.01
    assert [one["name"] for one in found["baselines"]][:3] == ["uniform", "unigram", "n-gram"]
    assert not any("seconds" in one for one in found["baselines"])
    assert found["protocol"] == "one-stream" and len(found["corpus"]["sha256"]) == 64
    for row in found["rows"]:
        assert {"cell", "hidden_size", "parameters", "state_size", "bits_per_char"} <= set(row)
        assert set(row["bits_per_char"]) == {"mean", "low", "high", "per_seed"}
        assert abs(row["residual"]) <= 0.01 and row["state_size"] == row["hidden_size"]
        runs = [Run(path) for path in sorted((done / "runs").glob(f"{row['cell']}-*"))]
        scores = [run.report["score"]["bits_per_char"] for run in runs if run.report]
        assert row["bits_per_char"]["per_seed"] == scores
        assert all(run.record.text.digest.parts == (6000,) for run in runs)  # and nothing else


def test_its_page_has_the_curves_of_every_run_and_a_sample_of_every_cell(done: Path) -> None:
    shown = (done / "report.html").read_text()
    for name in ("rnn seed 0", "rnn seed 1", "gru seed 0", "gru seed 1"):
        assert shown.count(f">{name}<") == 3  # against characters, seconds and FLOPs
        assert shown.count(f">{name}, at<") == 2  # of which the last two are each run's own
    for cell in ("rnn", "gru"):
        (run,) = done.glob(f"runs/{cell}-s0-*")
        written = json.loads((run / "report.json").read_text())["weights_sha256"]
        sample = done / "samples" / f"{written[:16]}.txt"
        assert f"<pre>{html.escape(sample.read_text(), quote=False)}</pre>" in shown
        assert len(sample.read_text()) == 300


def test_its_table_fits_eighty_columns_and_is_alone_on_stdout(done: Path, book: Path) -> None:
    words = ["compare-cells", book, *WORDS, "--max-steps", 1200, "--out", done]
    again = charlm(*words)
    lines = again.stdout.decode().splitlines()
    assert again.returncode == 0 and lines[0].split()[:2] == ["cell", "bits/char"]
    assert {line.split()[0] for line in lines[2:4]} == {"rnn", "gru"}
    assert all(len(line) <= 80 for line in lines), again.stdout.decode()
    assert b"report.html" in again.stderr
    shown, code = on_terminal(command(*words))
    table = shown[shown.index("cell ") :].splitlines()
    assert code == 0 and "\\x1b" not in shown
    assert table[: len(lines)] == lines


def test_an_added_seed_reuses_what_is_done(done: Path, book: Path) -> None:
    kept = {path: path.stat().st_mtime_ns for path in done.glob("runs/*/report.json")}
    words = ["--cells", "gru", "--seeds", 3, *WORDS[4:], "--max-steps", 1200, "--out", done]
    more = charlm("compare-cells", book, *words, "--json")
    assert more.returncode == 0, more.stderr
    (row,) = json.loads(more.stdout)["rows"]
    assert row["seeds"] == [0, 1, 2]
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())


def test_a_lock_that_the_dead_have_left_hinders_nobody(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, "--cells", "rnn", "--seeds", 1, *WORDS[4:], "--max-steps", 3]
    words += ["--out", tmp_path / "o"]
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "lock").write_text("process 1 on a machine that is gone")
    assert charlm(*words).returncode == 0
    with (tmp_path / "o" / "lock").open("w") as file:  # and one that somebody holds does
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("process 1 on a machine that is there")
        file.flush()
        held = charlm(*words)
    assert held.returncode == 75 and b"(process 1 on a machine that is there)" in held.stderr


def test_workers_do_not_outlive_the_comparison(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, *WORDS, "--max-steps", 100_000, "--out", tmp_path / "out"]
    process = subprocess.Popen(command(*words), stderr=subprocess.DEVNULL)
    for _ in range(600):
        if len(list(tmp_path.glob("out/runs/*/metrics.jsonl"))) >= 1:
            break
        time.sleep(0.1)
    process.kill()
    process.wait()

    def writers() -> list[bool]:

        held = []
        for lock in tmp_path.glob("out/runs/*/lock"):
            with lock.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    held.append(False)
                except OSError:
                    held.append(True)
        return held

    for _ in range(300):
        if not any(writers()):
            break
        time.sleep(0.1)
    assert writers() and not any(writers())
    assert list(tmp_path.glob("out/runs/*/checkpoints/step-*"))


def test_a_worker_trains_alone_though_the_comparison_is_one_of_several_processes(
    tmp_path: Path, book: Path
) -> None:
    told = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "none"}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # where nobody listens
    words = ["--cells", "rnn", "--seeds", 1, *WORDS[4:], "--max-steps", 3, "--out", tmp_path / "o"]
    done = charlm("compare-cells", book, *words, env={**os.environ, **told})
    assert done.returncode == 0, done.stderr
    one = dict.fromkeys(told, "3") | {"PATH": "p", "SLURM_JOB_ID": "7"}
    assert [name for name in one if not torchrun.TORCHRUN_VARIABLES.fullmatch(name)] == [
        "PATH",
        "SLURM_JOB_ID",
    ]


class Scripted:
    """An engine whose workers end at once, with these codes."""

    where = "nowhere"

    def __init__(self, codes: list[int]) -> None:
        self.codes = codes

    def room(self) -> int:
        return 1

    def start(self, _: workers.Job, log: Path) -> "Scripted":
        log.write_text("charlm: the last words\n")
        return self

    def poll(self) -> int:
        return self.codes.pop(0)

    def terminate(self) -> None: ...

    def wait(self) -> int:
        return 0


def test_a_worker_that_is_killed_or_stopped_by_others_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers.time, "sleep", lambda _: None)
    jobs = [
        workers.Job(name, tmp_path / name, [], workers.JobProgress) for name in ("one", "other")
    ]

    def ended(codes: list[int]) -> list[workers.JobState]:
        *_, states = workers.run_jobs(jobs, tmp_path, Scripted(codes), lambda: False)
        return states

    one, other = ended([-9, 143, -15, 0, 130, 76])
    assert (one.status, one.killed) == ("done", 3) and (other.status, other.killed) == (
        *("diverged", 1),
    )
    for code, number in ((-9, 9), (143, 15)):
        with pytest.raises(
            CharlmError, match=f"one: its process was killed 4 times, by signal {number}"
        ):
            ended([code] * 4)
    with pytest.raises(CharlmError, match="one: the last words"):
        ended([74])


def test_a_worker_that_fails_ends_the_comparison_with_its_own_words(tmp_path: Path) -> None:
    job = workers.Job("lstm seed 0", tmp_path / "runs" / "x", [], workers.JobProgress)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "x.log").write_text("note\ncharlm: cannot write here\n")
    assert workers._job_status(0, job, tmp_path) == "done"
    assert workers._job_status(76, job, tmp_path) == "diverged"
    with pytest.raises(CharlmError, match="lstm seed 0: cannot write here") as raised:
        workers._job_status(74, job, tmp_path)
    assert raised.value.code == 74
    with pytest.raises(CharlmError) as raised:
        workers._job_status(-9, job, tmp_path)
    assert raised.value.code == 70


def test_standard_input_is_kept_so_that_workers_and_a_resume_can_read_it(
    tmp_path: Path, book: Path
) -> None:
    words = ["--cells", "rnn", "--seeds", 1, *WORDS[4:], "--max-steps", 3, "--out", tmp_path / "o"]
    first = charlm("compare-cells", "-", *words, "--json", input=book.read_bytes())
    assert first.returncode == 0, first.stderr
    again = charlm("compare-cells", "-", *words, "--json")
    assert again.stdout == first.stdout
