"""Probing of runs: cached results, reports, and which runs may be probed together."""

import shutil
from pathlib import Path

import msgspec
import pytest
import torch
from conftest import make_run, prose
from untrained_models import checkpoint_tensors

import charlm.probes
from charlm.data.corpus import reload_corpus
from charlm.errors import ConfigError, Interrupted, OutputExistsError
from charlm.execution import executor
from charlm.execution.executor import Execution, LocalExecutor
from charlm.models.build import build_char_lm
from charlm.probes import batch, cache, runner
from charlm.probes.base import (
    DEFAULT_PROBES,
    PROBES,
    Probe,
    ProbeContext,
    ProbeNotApplicableError,
    ProbeOutput,
)
from charlm.probes.batch import probe_memory
from charlm.probes.plan import MARKER_FILE, check_same_text, plan_probing
from charlm.probes.report import read_report
from charlm.progress import NoProgress
from charlm.results.probe_limits import NotFinite, TooFewClosers
from charlm.results.probes import (
    Curve,
    Measured,
    NotApplicable,
    ProbeDocumentation,
    ProbeRequest,
    ProbeResult,
    ScalarResult,
)
from charlm.results.training import TrainingProgress
from charlm.runs.run import Run
from charlm.storage.files import write_atomic
from charlm.storage.json_files import encode_json

DOCUMENTATION = ProbeDocumentation(question="", protocol="", unit="", chance="", source="")
REQUEST = ProbeRequest(split="test", max_chars=500, seed=0, checkpoint="best")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directory with the runs `gru` and `lstm` of one text, and `x` of another text."""
    directory = tmp_path_factory.mktemp("runs")
    for text, seed in (("book", 0), ("other", 1)):
        (directory / f"{text}.txt").write_text(prose(9000, seed))
    for name, cell, text in (
        ("gru", "gru", "book"),
        ("lstm", "lstm", "book"),
        ("x", "gru", "other"),
    ):
        run, corpus, config = make_run(
            directory / name,
            directory / f"{text}.txt",
            cell=cell,
            split_ratios="40/10/50",
            kernel="loop",
        )
        model = build_char_lm(config, corpus.vocabulary.size, "loop", "cpu")
        weights = {key: value + 0.1 for key, value in model.state_dict().items()}  # as if trained
        progress = TrainingProgress(
            step=1, seconds=0.0, metrics_bytes=0, valid_bits=None, best_step=None, best_bits=None
        )
        tensors = checkpoint_tensors(model, config.batch_size)
        run.save_checkpoint(progress, {**tensors, "model": weights})
    return directory


def probe_one_run(path: Path, directory: Path, *probes: Probe, seed: int = 0) -> None:
    """Do as `charlm probe` does with one run, but with other probes."""
    run = Run(path)
    corpus = reload_corpus(run.record.config, run.record.text)
    weights = run.load_checkpoint("best")
    model = run.model(kernel="loop")
    request = msgspec.structs.replace(REQUEST, seed=seed)
    description = runner.describe_run(run, corpus, weights, request)
    directory.mkdir(exist_ok=True)
    runner.probe_run(run, corpus, description, model, request, probes, directory, NoProgress())


def recording_probe(name: str, value: float = 1.0) -> tuple[Probe, list[ProbeContext]]:
    """A probe and the contexts of its calls."""
    contexts: list[ProbeContext] = []

    def measure(context: ProbeContext) -> ProbeOutput:
        contexts.append(context)
        number = ScalarResult(name="length", value=value, unit="characters")
        curves = [Curve(x=[1], y=[value])]
        result = ProbeResult(x="x", y="y", curves=curves, numbers=[number])
        return ProbeOutput(result, {"sums": torch.full((1, 2), value)})

    return Probe(name, DOCUMENTATION, measure, 1.0), contexts


def test_results_are_cached_by_seed_and_run(runs: Path, tmp_path: Path) -> None:
    probe, contexts = recording_probe("one")
    probe_one_run(runs / "gru", tmp_path / "p", probe)
    probe_one_run(runs / "gru", tmp_path / "p", probe)
    assert len(contexts) == 1
    probe_one_run(runs / "gru", tmp_path / "p", probe, seed=1)
    assert len(contexts) == 2
    probe_one_run(runs / "lstm", tmp_path / "p", probe, seed=1)
    assert len(contexts) == 3


def test_results_before_interruption_are_kept(runs: Path, tmp_path: Path) -> None:
    first, contexts = recording_probe("one")

    def interrupt(context: ProbeContext) -> ProbeOutput:
        raise Interrupted(2)

    with pytest.raises(Interrupted):
        interrupted = Probe("two", DOCUMENTATION, interrupt, 1.0)
        probe_one_run(runs / "gru", tmp_path / "p", first, interrupted)
    second, _ = recording_probe("two")
    probe_one_run(runs / "gru", tmp_path / "p", first, second)
    assert len(contexts) == 1
    assert (tmp_path / "p" / "two.json").exists()


def test_probe_reads_heldout_text(runs: Path, tmp_path: Path) -> None:
    probe, contexts = recording_probe("one")
    probe_one_run(runs / "gru", tmp_path / "p", probe)
    (context,) = contexts
    text = (runs / "book.txt").read_text()
    vocabulary = context.vocabulary
    assert vocabulary.decode(context.ids).decode() == text[4500:5000]
    assert vocabulary.decode(context.train_ids[:]).decode() == text[:3600]
    assert context.unit_kind == "block" and context.unit_edges.tolist() == [0, 500]  # as it reads
    assert context.char_lm is not None and not context.char_lm.training
    assert context.make_untrained_model is not None
    trained = context.char_lm.state_dict()
    untrained = context.make_untrained_model().state_dict()
    assert any((trained[name] != untrained[name]).any() for name in trained)


def test_reason_is_result_of_probe_that_does_not_apply(runs: Path, tmp_path: Path) -> None:
    def measure(context: ProbeContext) -> ProbeOutput:
        raise ProbeNotApplicableError(TooFewClosers(0, 200))

    probe_one_run(runs / "gru", tmp_path / "p", Probe("mute", DOCUMENTATION, measure, 1.0))
    outcome = cache.read_answer(tmp_path / "p", "mute").outcome
    assert outcome == NotApplicable(TooFewClosers(0, 200))
    assert cache.read_artifacts(tmp_path / "p", "mute") == {}


def test_artifacts_of_a_run_can_be_read(runs: Path, tmp_path: Path) -> None:
    probe, _ = recording_probe("one", value=2.0)
    probe_one_run(runs / "gru", tmp_path / "p", probe)
    assert cache.read_artifacts(tmp_path / "p", "one")["sums"].tolist() == [[2.0, 2.0]]


def test_progress_is_the_share_of_the_work_and_never_falls() -> None:
    """The second probe costs three times as much, and does not say what it will read."""
    shown: list[int] = []
    work = runner.WorkMeter([1.0, 3.0], shown.append)
    work.expect(200)
    work.advance(50)
    work.advance(50)
    assert sum(shown) == runner.WHOLE / 8
    work.advance(500)  # more than it has announced
    assert sum(shown) == runner.WHOLE / 4
    work.finish_probe()
    work.advance(10)
    assert sum(shown) == runner.WHOLE / 4
    work.finish_probe()
    assert sum(shown) == runner.WHOLE and min(shown) > 0


def test_numbers_that_are_not_finite_are_not_reported(runs: Path, tmp_path: Path) -> None:
    """The probes after it run all the same."""
    broken, _ = recording_probe("one", value=float("nan"))
    next_probe, contexts = recording_probe("two")
    probe_one_run(runs / "gru", tmp_path / "p", broken, next_probe)
    outcome = cache.read_answer(tmp_path / "p", "one").outcome
    assert outcome == NotApplicable(NotFinite())
    assert len(contexts) == 1


def test_damaged_artifacts_are_measured_again(runs: Path, tmp_path: Path) -> None:
    probe, contexts = recording_probe("one")
    for damage in (Path.unlink, lambda path: path.write_bytes(b"{}")):
        probe_one_run(runs / "gru", tmp_path / "p", probe)
        damage(tmp_path / "p" / "one.safetensors")
    probe_one_run(runs / "gru", tmp_path / "p", probe)
    assert len(contexts) == 3


def test_damaged_result_is_measured_again(runs: Path, tmp_path: Path) -> None:
    probe, contexts = recording_probe("one")
    probe_one_run(runs / "gru", tmp_path / "p", probe)
    (tmp_path / "p" / "one.json").write_bytes(b"{}")
    probe_one_run(runs / "gru", tmp_path / "p", probe)
    assert len(contexts) == 2


def test_directory_of_other_request_is_refused(runs: Path, tmp_path: Path) -> None:
    plan = plan_probing(runs / "gru", max_chars=500, out=tmp_path / "out")
    assert not plan.check_directory() and not plan.directory.exists()
    plan.directory.mkdir()
    write_atomic(plan.directory / MARKER_FILE, encode_json(plan.marker))
    assert plan.check_directory()
    for run, seed in (("lstm", 0), ("gru", 1)):
        other = plan_probing(runs / run, max_chars=500, seed=seed, out=plan.directory)
        with pytest.raises(OutputExistsError, match="Choose another --out"):
            other.check_directory()


def test_runs_of_different_texts_are_refused(runs: Path) -> None:
    with pytest.raises(ConfigError, match="read different texts"):
        check_same_text([Run(runs / "gru"), Run(runs / "x")])


def test_runs_with_same_name_are_refused(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "gru", tmp_path / "gru")
    with pytest.raises(ConfigError, match="two runs with the name gru"):
        check_same_text([Run(runs / "gru"), Run(tmp_path / "gru")])


def test_different_cells_with_same_name_are_refused(runs: Path) -> None:
    opened = [Run(runs / "gru"), Run(runs / "lstm")]
    for run, cell, digest in zip(opened, ("a/my.py:C", "b/my.py:C"), ("ab", "cd"), strict=True):
        config = msgspec.structs.replace(run.record.config, cell=cell)
        run.record = msgspec.structs.replace(run.record, config=config, cell_sha256=digest)
    check_same_text(opened[:1])
    with pytest.raises(ConfigError, match=r"two different cells with the name my\.C"):
        check_same_text(opened)


def test_no_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="no run is given"):
        check_same_text([])


def test_every_module_of_a_probe_is_registered_under_its_name() -> None:
    infrastructure = {*("base", "batch", "cache", "order_reach", "places", "rare_words", "report")}
    infrastructure |= {
        "runner",
        "dry_run",
        "estimates",
        "linear_readout",
        "plan",
        "state_size",
        "true_context",
        "unit_sums",
        "windows",
    }
    modules = {path.stem for path in Path(charlm.probes.__path__[0]).glob("[!_]*.py")}
    assert {name.replace("_", "-") for name in modules - infrastructure} == set(PROBES)


def test_probes_of_the_profile_are_selected_if_none_is_named() -> None:
    selected = [probe.name for probe in runner.select_probes(["timescales", "gradient-norm"])]
    assert selected == ["gradient-norm", "timescales"]
    assert [probe.name for probe in runner.select_probes([])] == list(DEFAULT_PROBES)
    assert [probe.name for probe in runner.select_probes([], full=True)] == list(PROBES)
    with pytest.raises(ConfigError, match="Try --full or --probes alone"):
        runner.select_probes(["timescales"], full=True)
    with pytest.raises(ConfigError, match="did you mean context-shuffle"):
        runner.select_probes(["context-shufle"])


def test_probe_returns_report_and_writes_it(runs: Path, tmp_path: Path) -> None:
    """The function of the API, with a run of one's own choice."""
    run = Run(runs / "gru")
    report = batch.probe(run, ["timescales"], max_chars=1000, kernel="loop", out=tmp_path / "p")
    assert list(report.probes) == ["timescales"]
    summary = report.probes["timescales"]
    assert isinstance(summary.outcomes["gru"], Measured)
    assert report.runs[0].name == "gru" and report.text.characters == 1000
    assert read_report(tmp_path / "p") == report
    rows = report.to_dicts()
    assert rows and {row["probe"] for row in rows} == {"timescales"}
    assert all(row["run"] == "gru" and isinstance(row["value"], float | None) for row in rows)
    assert (
        batch.probe(run, ["timescales"], max_chars=1000, kernel="loop", out=tmp_path / "p")
        == report
    )
    for wrong in ({"split": "train set"}, {"max_chars": 0}):
        with pytest.raises(ConfigError, match="cannot probe"):
            batch.probe(run, ["timescales"], out=tmp_path / "q", **wrong)


def test_results_of_two_runs_are_in_their_directories_by_default(runs: Path) -> None:
    for name in ("gru", "lstm"):
        report = batch.probe(Run(runs / name), ["timescales"], max_chars=1000, kernel="loop")
        assert read_report(runs / name / "probes") == report
    with pytest.raises(ConfigError, match="several runs without a directory"):
        batch.probe([Run(runs / "gru"), Run(runs / "lstm")], ["timescales"])


def test_probe_command_of_report_reproduces_it(runs: Path, tmp_path: Path) -> None:
    run = Run(runs / "gru")
    report = batch.probe(
        run, ["timescales"], seed=3, max_chars=1000, kernel="loop", out=tmp_path / "p"
    )
    words = report.command.split()
    assert words[:3] == ["charlm", "probe", str(runs / "gru")]
    assert {"--probes=timescales", "--seed=3", "--max-chars=1000", "--split=test"} <= set(words)


def test_comparison_runs_are_probed_on_its_device_one_at_a_time_on_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(batch, "probe_side_by_side", lambda *arguments: calls.append(arguments))
    for device, parallel in (("cpu", 5), ("cuda:1", 1)):
        probe_memory([], Execution(tmp_path, LocalExecutor(5, device)))
        ((_, probes, options, execution),) = calls
        assert options == [f"--device={device}"] and len(probes) == len(DEFAULT_PROBES)
        assert execution == Execution(tmp_path / "probes", LocalExecutor(parallel, device))
        calls.clear()


def test_run_jobs_without_jobs_writes_nothing(tmp_path: Path) -> None:
    executor.run_jobs([], Execution(tmp_path, LocalExecutor(1, "cpu")))
    assert not list(tmp_path.iterdir())
