"""The command compare-cells: one table, and nothing is done twice."""

import fcntl
import html
import inspect
import json
import signal
from pathlib import Path

import pytest
from conftest import charlm, command, on_terminal, start_charlm, wait_until

from charlm.cli.compare import compare_cells
from charlm.comparison.compare import compare as charlm_compare
from charlm.comparison.plan import budget_in_characters
from charlm.comparison.request import (
    BASELINE_NAMES,
    MEASURED_BASELINES,
    TRANSFORMER,
    ComparisonRequest,
    parse_baselines,
    settings_of,
    validate_executor,
)
from charlm.comparison.sample_size import MIN_SEEDS
from charlm.config import Config
from charlm.errors import ConfigError
from charlm.evaluation.baselines import BASELINES
from charlm.execution.torchrun import TORCHRUN_VARIABLES
from charlm.runs.run import Run
from charlm.storage.json_files import unseal_json

WORDS = ["--cells", "rnn,gru", "--seeds", 2, "--params", 30_000, "--embedding-dim", 8]
WORDS += ["--batch-size", 4, "--seq-len", 16, "--log-every", 0.2, "--no-memory", "--lr", 0.006]
FEW_BASELINES = ["--baselines", "uniform,unigram,n-gram"]
STEPS = 300
SMALL = [*WORDS, *FEW_BASELINES, "--max-steps", STEPS]
ONE_RNN = ["--cells", "rnn", "--seeds", 1, *WORDS[4:], "--baselines", "none"]
DEFAULTS = ComparisonRequest()


# requests


def test_default_seeds_allow_a_verdict() -> None:
    seeds = inspect.signature(compare_cells).parameters["seeds"]
    assert seeds.default == MIN_SEEDS == ComparisonRequest().seeds
    assert f"with fewer than {MIN_SEEDS}, no verdict" in str(seeds.annotation.__metadata__[0].help)


def test_defaults_are_recipes_memory_and_a_bracket() -> None:
    assert DEFAULTS.cells == ("gru", "lstm", "rnn") and DEFAULTS.texts == ("python-source",)
    assert DEFAULTS.memory and DEFAULTS.has_bracket and DEFAULTS.search is None
    assert not DEFAULTS.has_transformer
    expected = {"embedding_dim": 32, "split_ratios": "80/5/15", "test_chars": 250_000}
    expected |= {"branches": "1/8,1/3", "keep": "weights"}
    assert DEFAULTS.base_settings == expected
    assert budget_in_characters(DEFAULTS.base_settings, DEFAULTS.cells, 10**6) == 1_500_000


def test_there_is_no_bracket_where_rates_are_given_or_tuned() -> None:
    assert not ComparisonRequest(settings={"learning_rate": 0.01}).has_bracket
    assert ComparisonRequest(settings={"learning_rate": 0.0}).has_bracket
    tuned = ComparisonRequest(trials=6, lr_range="0.01..0.1")
    assert not tuned.has_bracket
    assert tuned.search and tuned.search.space["learning_rate"] == (0.01, 0.1)


def test_schedule_that_depends_on_the_budget_has_no_branches() -> None:
    request = ComparisonRequest(settings={"lr_schedule": "linear"})
    assert "branches" not in request.base_settings


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"cells": ()}, "cannot compare no cells"),
        ({"cells": ("gru",), "reference": "lstm"}, "--reference lstm: it is not among the cells"),
        ({"trials": 0, "lr_range": "0.01..0.1"}, "there are no --trials"),
        ({"settings": {"hidden_size": 8}}, "cannot set hidden_size"),
        ({"margin": 0.0}, "--margin 0.0"),
        ({"match": "parameters"}, "cannot match parameters"),
        ({"minutes": 5, "settings": {"epochs": 1.0}}, "--minutes with --epochs: they are two"),
        ({"baselines": ("lzma",)}, "unknown baseline 'lzma'.*all, none, uniform, .*transformer"),
    ],
    ids=str,
)
def test_contradictory_requests_are_refused(fields: dict[str, object], cause: str) -> None:
    with pytest.raises(ConfigError, match=cause):
        ComparisonRequest(**fields)  # type: ignore[arg-type]


def test_baseline_names_are_those_that_can_be_measured() -> None:
    assert (*BASELINES, TRANSFORMER) == BASELINE_NAMES


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("all", MEASURED_BASELINES),
        (["all"], MEASURED_BASELINES),
        ("all,transformer", BASELINE_NAMES),
        ("none", ()),
        ([], ()),
        ("gzip, n-gram", ("gzip", "n-gram")),
        (["gzip", "n-gram"], ("gzip", "n-gram")),
    ],
    ids=str,
)
def test_baselines_are_all_none_or_names(names: str | list[str], expected: tuple[str, ...]) -> None:
    assert parse_baselines(names) == expected


def test_config_sets_what_differs_from_default_and_is_shared() -> None:
    config = Config(cell="lstm", hidden_size=8, seed=3, batch_size=4, device="cpu")
    assert settings_of(config) == {"batch_size": 4}
    assert settings_of({"batch_size": 32}) == {"batch_size": 32} and settings_of(None) == {}
    with pytest.raises(ConfigError, match="cannot set device in config"):
        settings_of({"device": "cuda"})


def test_unknown_executor_is_refused() -> None:
    with pytest.raises(ConfigError, match="executor slurm: it must be local or ray"):
        validate_executor("slurm")
    with pytest.raises(ConfigError, match="in a cluster: cells are timed on this machine"):
        validate_executor("ray", times_cells=True)


@pytest.mark.slow
def test_cells_may_be_text_with_commas(tmp_path: Path, book: Path) -> None:
    report = charlm_compare(
        book,
        "rnn, gru",
        parameters=30_000,
        seeds=1,
        first_seed=3,
        baselines=["transformer"],
        memory=False,
        config=Config(cell="lstm", embedding_dim=8, batch_size=4, seq_len=16, max_steps=40),
        device="cpu",
        out=tmp_path / "o",
    )
    assert {row.name for row in report.cells} == {"rnn", "gru"}
    assert all(row.quality.verdict and row.seeds == (3,) for row in report.cells)
    assert report.statistics.reference == "gru"
    assert {one.cause for one in report.unmeasured} == {"disabled"}
    assert report.budget and report.budget.gradient_reach == 16
    assert {one.cell for one in report.budget.bracket} == {"rnn", "gru"}
    for one in report.budget.bracket:
        assert [(point.factor, point.seeds) for point in one.points] == [(0.5, 1), (1, 1), (2, 1)]
        assert one.fit is None and one.characters == 13 * 4 * 16  # of one seed nothing is known
    assert [row.role for row in report.rows].count("transformer") == 1
    assert report.settings["batch_size"] == 4
    assert len(list((tmp_path / "o" / "samples").iterdir())) == 2  # of cells
    first, *others = report.to_dicts()
    assert all(list(row) == list(first) for row in others)


def test_two_cells_with_one_label_are_refused(tmp_path: Path) -> None:
    words = ["--cells", "a/my.py:C,gru,b/my.py:C", "--out", tmp_path / "o"]
    done = charlm("compare-cells", *words)
    stderr = done.stderr.decode()
    assert done.returncode == 78 and stderr.count("\n") == 1 and not list(tmp_path.iterdir())
    assert "a/my.py:C and b/my.py:C: both would be called my.C" in stderr


def test_unsupported_kernel_is_refused_before_anything_is_measured(
    tmp_path: Path, book: Path
) -> None:
    words = ["compare-cells", book, "--kernel", "scan", *WORDS, "--out", tmp_path / "o"]
    done = charlm(*words)
    assert done.returncode == 78 and b"scan" in done.stderr, done.stderr
    assert done.stderr.count(b"\n") == 1 and not (tmp_path / "o").exists()


def test_unknown_baseline_is_refused(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, *WORDS, "--baselines", "lzma", "--out", tmp_path / "o"]
    done = charlm(*words)
    assert done.returncode == 2 and b"unknown baseline 'lzma'" in done.stderr, done.stderr
    assert not (tmp_path / "o").exists()


# runs


@pytest.mark.slow
def test_diverged_run_is_a_result_and_is_not_repeated(tmp_path: Path, book: Path) -> None:
    words = ["--cells", "rnn", "--seeds", 2, *WORDS[4:], "--max-steps", 200, "--lr", 1000]
    words += ["--grad-clip", 1e9, "--warmup-steps", 0, "--weight-decay", 10]
    words += ["--baselines", "none", "--out", tmp_path / "o"]
    first = charlm("compare-cells", book, *words, "--json")
    assert first.returncode == 0, first.stderr
    (row,) = json.loads(first.stdout)["rows"]
    assert row["quality"]["verdict"]["label"] == "diverged" and row["diverged"] == 2
    assert row["bits_per_char"]["mean"] is None
    logs = {path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "logs").iterdir()}
    again = charlm("compare-cells", book, *words)
    assert again.returncode == 0 and b"diverged" in again.stdout
    assert logs == {path: path.stat().st_mtime_ns for path in (tmp_path / "o" / "logs").iterdir()}


@pytest.mark.slow
def test_tied_embedding_is_as_wide_as_each_cell(tmp_path: Path, book: Path) -> None:
    words = ["--cells", "rnn,gru", "--seeds", 1, "--params", 4990, "--tie-weights"]
    words += ["--batch-size", 4, "--max-steps", 3, "--out", tmp_path / "o"]
    words += ["--baselines", "none", "--no-memory", "--lr", 0.006]
    done = charlm("compare-cells", book, *words, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["settings"]["tie_weights"] and "embedding_dim" not in report["settings"]
    sizes = {row["name"]: row["hidden_size"] for row in report["rows"]}
    configs = [Run(path).record.config for path in (tmp_path / "o" / "runs").iterdir()]
    assert {config.cell: config.embedding_dim for config in configs} == sizes
    assert len(set(sizes.values())) == 2
    refused = charlm("compare-cells", book, *words, "--embedding-dim", 9)
    assert refused.returncode == 78
    assert b"--tie-weights makes the embedding as wide as each cell" in refused.stderr


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Path:
    """A small comparison that was terminated in the middle, and then went on."""
    out = tmp_path_factory.mktemp("compare") / "out"
    # one at a time: then there is a middle, however many cores there are
    words = ["compare-cells", book, *SMALL, "--out", out, "--json", "--jobs", 1]
    process = start_charlm(*words)
    wait_until(lambda: len(list(out.glob("runs/*/metrics.jsonl"))) >= 2)
    locked = charlm("compare-cells", book, *SMALL, "--out", out)
    assert process.poll() is not None or locked.returncode == 75
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate()
    assert process.returncode == 143, stderr
    assert json.loads(stdout)["error"]["exit_code"] == 143
    assert b"the same command again" in stderr
    assert not (out / "report.json").exists()
    before = {path: path.read_bytes() for path in out.glob("runs/*/report.json")}
    assert len(before) < 4

    finished = charlm(*words)
    assert finished.returncode == 0, finished.stderr
    written = unseal_json((out / "report.json").read_bytes(), out)
    assert json.loads(finished.stdout) == json.loads(written)
    assert (
        before.items()
        <= {path: path.read_bytes() for path in out.glob("runs/*/report.json")}.items()
    )
    return out


@pytest.mark.slow
def test_interrupted_comparison_continues(done: Path) -> None:
    assert len(list((done / "runs").iterdir())) == 4
    for path in (done / "runs").iterdir():
        # every recorded step was done once, or again after the checkpoint that was restored
        steps = [
            json.loads(line)["step"]
            for line in (path / "metrics.jsonl").read_text().splitlines()
            if '"bits"' in line
        ]
        assert steps == list(range(1, STEPS + 1))


@pytest.mark.slow
def test_report_has_everything_in_the_table(done: Path) -> None:
    found = json.loads((done / "report.json").read_text())
    verdicts = {row["name"]: row["quality"]["verdict"] for row in found["rows"]}
    assert verdicts["gru"]["label"] == "reference"
    rnn = verdicts["rnn"]
    assert rnn["label"] == "inconclusive"
    needed = {"cause": "seeds", "available": 2, "needed": 6}
    assert needed.items() <= rnn["insufficient"].items()
    means = {row["name"]: row["bits_per_char"]["mean"] for row in found["rows"]}
    assert rnn["difference"] == pytest.approx(means["rnn"] - means["gru"])
    assert found["statistics"]["reference"] == "gru"
    assert found["statistics"]["margins"]["bits_per_char"] == 0.01
    points = found["budget"]["points"]
    assert [point["fraction"] for point in points] == pytest.approx([1 / 8, 1 / 3, 1])
    assert all(set(point["ranking"]) == {"gru", "rnn"} for point in points)
    assert [one["name"] for one in found["baselines"]][:3] == ["uniform", "unigram", "n-gram"]
    assert not any("seconds" in one for one in found["baselines"])
    assert found["protocol"] == "one-stream" and len(found["corpus"]["sha256"]) == 64
    for row in found["rows"]:
        assert {"name", "hidden_size", "parameters", "state_size", "bits_per_char"} <= set(row)
        assert set(row["bits_per_char"]) == {"mean", "median", "min", "max", "per_seed"}
        assert abs(row["relative_error"]) <= 0.01 and row["state_size"] == row["hidden_size"]
        runs = [Run(path) for path in sorted((done / "runs").glob(f"{row['name']}-*"))]
        scores = [run.report.score.bits_per_char for run in runs if run.report]
        assert row["bits_per_char"]["per_seed"] == scores
        assert all(run.record.text.digest.parts == (6000,) for run in runs)  # and nothing else


@pytest.mark.slow
def test_page_has_curves_of_runs_and_samples_of_cells(done: Path) -> None:
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


@pytest.mark.slow
def test_table_fits_eighty_columns_and_is_alone_on_stdout(done: Path, book: Path) -> None:
    words = ["compare-cells", book, *SMALL, "--out", done]
    again = charlm(*words)
    lines = again.stdout.decode().splitlines()
    assert again.returncode == 0 and "has the lowest mean" in lines[0], again.stderr
    assert {"rnn", "gru"} <= {line.split()[0] for line in lines if line}
    assert all(len(line) <= 80 for line in lines), again.stdout.decode()
    assert b"report.html" in again.stderr
    shown, code = on_terminal(command(*words))
    assert code == 0 and "\\x1b" not in shown
    answer = shown[shown.index(lines[0]) :].splitlines()
    reproducible = next(n for n, line in enumerate(lines) if "of CPU time" in line)
    assert answer[:reproducible] == lines[:reproducible]


@pytest.mark.slow
def test_added_seed_reuses_finished_runs(done: Path, book: Path) -> None:
    kept = {path: path.stat().st_mtime_ns for path in done.glob("runs/*/report.json")}
    words = ["--cells", "gru", "--seeds", 3, *SMALL[4:], "--out", done]
    more = charlm("compare-cells", book, *words, "--json")
    assert more.returncode == 0, more.stderr
    (row,) = json.loads(more.stdout)["rows"]
    assert row["seeds"] == [0, 1, 2]
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())


@pytest.mark.slow
def test_stale_lock_is_ignored(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, *ONE_RNN, "--max-steps", 3]
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


@pytest.mark.slow
def test_workers_do_not_outlive_the_comparison(tmp_path: Path, book: Path) -> None:
    words = ["compare-cells", book, *WORDS, "--baselines", "none", "--max-steps", 100_000]
    words += ["--out", tmp_path / "out"]
    process = start_charlm(*words)
    wait_until(lambda: list(tmp_path.glob("out/runs/*/metrics.jsonl")))
    process.kill()
    process.communicate()

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

    wait_until(lambda: not any(writers()))
    assert writers()
    assert list(tmp_path.glob("out/runs/*/checkpoints/step-*"))


@pytest.mark.slow
def test_worker_ignores_torchrun_variables_of_its_parent(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "3", "TORCHELASTIC_RUN_ID": "none"}
    told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}  # where nobody listens
    words = [*ONE_RNN, "--max-steps", 3, "--out", tmp_path / "o"]
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    done = charlm("compare-cells", book, *words)
    assert done.returncode == 0, done.stderr
    one = dict.fromkeys(told, "3") | {"PATH": "p", "SLURM_JOB_ID": "7"}
    assert [name for name in one if not TORCHRUN_VARIABLES.fullmatch(name)] == [
        "PATH",
        "SLURM_JOB_ID",
    ]


@pytest.mark.slow
def test_standard_input_is_saved_for_workers_and_resume(tmp_path: Path, book: Path) -> None:
    words = [*ONE_RNN, "--max-steps", 3, "--out", tmp_path / "o"]
    first = charlm("compare-cells", "-", *words, "--json", input=book.read_bytes())
    assert first.returncode == 0, first.stderr
    again = charlm("compare-cells", "-", *words, "--json")
    assert again.stdout == first.stdout
