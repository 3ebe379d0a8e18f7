"""charlm probe: what was answered stays answered, and only runs that read one text are compared."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
from conftest import charlm, prose

from charlm.data.corpus import reload_corpus
from charlm.errors import ConfigError, Interrupted, OutputExistsError
from charlm.execution import executor
from charlm.execution.jobs import LocalExecutor
from charlm.models.build import build_char_lm, load_weights
from charlm.probes import runner
from charlm.probes.base import PROBES, Probe, ProbeContext, ProbeNotApplicable
from charlm.probes.batch import probe_comparison_runs
from charlm.results.probes import Curve, ProbeResult, ScalarResult
from charlm.runs.run import Run

pass

SMALL = [
    "--embedding-dim=6",
    "--batch-size=8",
    "--seq-len=32",
    "--max-steps=30",
    "--split-ratios=40/10/50",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with two runs of one text, `gru` and `lstm`, and a third of another text."""
    place = tmp_path_factory.mktemp("probed")
    (place / "book.txt").write_text(prose(9000))
    (place / "other.txt").write_text(prose(9000, seed=1))
    for name, cell, text in (
        ("gru", "gru", "book"),
        ("lstm", "lstm", "book"),
        ("x", "gru", "other"),
    ):
        words = [f"--cell={cell}", "--hidden-size=8", *SMALL, f"--run={place / name}"]
        done = charlm("train", place / f"{text}.txt", *words)
        assert done.returncode == 0, done.stderr.decode()
    return place


def asking(run: Path, place: Path, *wanted: Probe, seed: int = 0) -> None:
    """What `charlm probe` does with one run, but with probes of a test's own."""
    opened = Run(run)
    corpus = reload_corpus(opened.record.config, opened.record.text)
    weights = opened.load_checkpoint("best", print)
    model = build_char_lm(opened.record.config, opened.vocabulary.size, "loop", "cpu")
    load_weights(model, weights.tensors)
    asked = runner.ProbeRequest("test", 500, seed)
    told = runner.describe_run(opened, corpus, weights, asked)

    def shown(what: str) -> nullcontext[object]:
        return nullcontext(lambda _: None)

    place.mkdir(exist_ok=True)
    runner.probe_run(opened, corpus, told, model, asked, wanted, place, shown)  # type: ignore[arg-type]


def counting(name: str, value: float = 1.0) -> tuple[Probe, list[ProbeContext]]:
    """A probe that notes when it is asked."""
    asked: list[ProbeContext] = []

    def measure(reading: ProbeContext) -> ProbeResult:
        asked.append(reading)
        number = ScalarResult(name="length", value=value, unit="characters")
        return ProbeResult(x="x", y="y", curves=[Curve(x=[1], y=[value])], numbers=[number])

    return Probe(name, measure, None, "", {}), asked


def test_two_runs_are_probed_side_by_side_and_as_a_group(runs: Path, tmp_path: Path) -> None:
    words = ["probe", runs / "gru", runs / "lstm", "--only=context,recl,closing"]
    words += ["--characters=3000", f"--out={tmp_path / 'p'}", "--json"]
    done = charlm(*words)
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "p" / "report.json").read_text())
    assert b"</html>" in (tmp_path / "p" / "report.html").read_bytes()
    assert [run["name"] for run in report["runs"]] == ["gru", "lstm"]
    assert report["command"].startswith("charlm probe ")
    context = report["probes"]["context"]["found"]
    assert set(context) == {"gru", "lstm"}
    for found in context.values():
        (curve,) = found["curves"]
        assert len(curve["x"]) > 5 and all(0 < bits < 8 for bits in curve["y"])
    assert "curves" in report["probes"]["recl"]["found"]["group"]
    for found in report["probes"]["closing"]["found"].values():
        assert "not_measurable" in found, "this text has neither brackets nor blocks"
    again = charlm(*words)
    assert json.loads(again.stdout)["probes"]["context"] == report["probes"]["context"]


def test_what_was_answered_is_not_asked_again(runs: Path, tmp_path: Path) -> None:
    one, asked = counting("one")
    asking(runs / "gru", tmp_path / "p", one)
    asking(runs / "gru", tmp_path / "p", one)
    assert len(asked) == 1
    asking(runs / "gru", tmp_path / "p", one, seed=1)
    assert len(asked) == 2, "with other choices it is another question"
    asking(runs / "lstm", tmp_path / "p", one, seed=1)
    assert len(asked) == 3, "of another run, too"


def test_answers_before_an_interruption_are_kept(runs: Path, tmp_path: Path) -> None:
    one, asked = counting("one")

    def interrupted(reading: ProbeContext) -> ProbeResult:
        raise Interrupted(2)

    with pytest.raises(Interrupted):
        asking(runs / "gru", tmp_path / "p", one, Probe("two", interrupted, None, "", {}))
    two, _ = counting("two")
    asking(runs / "gru", tmp_path / "p", one, two)
    assert len(asked) == 1
    assert (tmp_path / "p" / "two.json").exists()


def test_a_probe_sees_the_text_that_the_run_was_not_trained_on(runs: Path, tmp_path: Path) -> None:
    one, asked = counting("one")
    asking(runs / "gru", tmp_path / "p", one)
    (reading,) = asked
    text = (runs / "book.txt").read_text()
    alphabet = reading.vocabulary
    assert alphabet.decode(reading.ids).decode() == text[4500:5000]
    assert alphabet.decode(reading.train_ids).decode() == text[:3600]
    assert reading.char_lm is not None and not reading.char_lm.training
    assert reading.make_untrained_model is not None
    trained, fresh = reading.char_lm.state_dict(), reading.make_untrained_model().state_dict()
    assert any((trained[name] != fresh[name]).any() for name in trained)


def test_why_a_question_cannot_be_asked_is_its_answer(runs: Path, tmp_path: Path) -> None:
    def mute(reading: ProbeContext) -> ProbeResult:
        raise ProbeNotApplicable("the text has no brackets")

    asking(runs / "gru", tmp_path / "p", Probe("mute", mute, None, "", {}))
    told = json.loads((tmp_path / "p" / "mute.json").read_text())
    assert told["found"] == {"not_measurable": "the text has no brackets"}
    group = Probe("group", None, lambda kept: ProbeResult(x="", y=""), "mute", {})
    assert runner.evaluate_group_probe(group, {"gru": tmp_path / "p"}) == {
        "not_measurable": "mute was not measurable for gru"
    }


def test_numbers_that_are_none_are_not_reported(runs: Path, tmp_path: Path) -> None:
    """And the probes after it are asked all the same."""
    one, _ = counting("one", value=float("nan"))
    two, asked = counting("two")
    asking(runs / "gru", tmp_path / "p", one, two)
    told = json.loads((tmp_path / "p" / "one.json").read_text())
    assert "not finite" in told["found"]["not_measurable"]
    assert len(asked) == 1


def test_an_answer_that_was_damaged_is_asked_again(runs: Path, tmp_path: Path) -> None:
    one, asked = counting("one")
    for damage in (Path.unlink, lambda path: path.write_bytes(b"{}")):
        asking(runs / "gru", tmp_path / "p", one)
        damage(tmp_path / "p" / "one.safetensors")
    asking(runs / "gru", tmp_path / "p", one)
    assert len(asked) == 3


def test_answers_of_another_run_are_left_alone(runs: Path, tmp_path: Path) -> None:
    asked = runner.ProbeRequest("test", 500, 0)
    gru, lstm = Run(runs / "gru"), Run(runs / "lstm")
    runner.initialize_output_dir(tmp_path, [gru], asked, "best")
    runner.initialize_output_dir(tmp_path, [gru], asked, "best")
    for other in ([lstm], asked, "best"), ([gru], asked._replace(seed=1), "best"):
        with pytest.raises(OutputExistsError, match="name another --out"):
            runner.initialize_output_dir(tmp_path, *other)


def test_runs_of_other_texts_or_of_one_name_are_not_compared(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="read different texts"):
        runner.check_same_text([Run(runs / "gru"), Run(runs / "x")])
    shutil.copytree(runs / "gru", tmp_path / "gru")
    with pytest.raises(ConfigError, match="two runs are called gru"):
        runner.check_same_text([Run(runs / "gru"), Run(tmp_path / "gru")])


def test_every_file_of_a_probe_is_on_the_list() -> None:
    files = {file.stem for file in Path(runner.probes.__file__).parent.glob("[!_]*.py")}
    assert files == set(PROBES)


def test_runs_of_two_cells_of_one_name_are_not_compared(runs: Path) -> None:
    mine = [Run(runs / "gru"), Run(runs / "lstm")]
    for run, cell, digest in zip(mine, ("a/my.py:C", "b/my.py:C"), ("ab", "cd"), strict=True):
        config = msgspec.structs.replace(run.record.config, cell=cell)
        run.record = msgspec.structs.replace(run.record, config=config, cell_sha256=digest)
    runner.check_same_text(mine[:1])
    with pytest.raises(ConfigError, match=r"two different cells are called my\.C"):
        runner.check_same_text(mine)


def test_a_probe_that_needs_another_brings_it_along() -> None:
    assert [probe.name for probe in runner.select_probes(["recl"])] == ["context", "recl"]
    assert [probe.name for probe in runner.select_probes([])] == list(PROBES)
    with pytest.raises(ConfigError, match="did you mean context"):
        runner.select_probes(["contxt"])


def test_a_directory_with_something_else_in_it_is_left_alone(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    done = charlm("probe", runs / "gru", "--only=timescales", "--out", tmp_path)
    assert done.returncode == 73
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_runs_of_a_comparison_are_asked_on_its_device_and_on_a_gpu_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(executor, "probed", lambda *of: told.append(of))
    for device, side_by_side in (("cpu", 5), ("cuda:1", 1)):
        probe_comparison_runs([], executor.Execution(tmp_path, LocalExecutor(5, device), 9.0))
        ((_, wanted, words, work),) = told
        assert words == [f"--device={device}"] and len(wanted) == len(PROBES)
        assert work == executor.Execution(
            tmp_path / "probes", LocalExecutor(side_by_side, device), 9.0
        )
        told.clear()


def test_where_there_is_nothing_to_do_nothing_is_begun(tmp_path: Path) -> None:
    executor.run_jobs([], executor.Execution(tmp_path, LocalExecutor(1, "cpu"), 9.0))
    assert not list(tmp_path.iterdir())
