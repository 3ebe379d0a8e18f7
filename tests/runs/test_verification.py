"""Tests of `charlm verify`: it names what is wrong with a run, and what would be used."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from conftest import charlm, make_run

import charlm as api
from charlm.errors import DataError, InputNotFoundError
from charlm.results.verification import RunVerification, Verification
from charlm.runs.metrics import iter_events, iter_metrics, load_latest_metrics
from charlm.runs.run import Run
from charlm.storage.append_only_log import AppendOnlyLog
from charlm.training.completion import restore_trainer, score_and_report
from charlm.training.loop import run_training_loop

SIZES = {"hidden_size": 2, "embedding_dim": 2, "batch_size": 2, "seq_len": 4, "max_steps": 6}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Path:
    """A finished run that has kept all its checkpoints."""
    path = tmp_path_factory.mktemp("kept") / "run"
    settings = {**SIZES, "eval_every": 2, "keep": "all", "test_chars": 20}
    run, corpus, config = make_run(path, book, **settings)
    trainer, _ = restore_trainer(run, "cpu", config)
    list(run_training_loop(run, trainer, corpus))
    score_and_report(run, corpus, trainer, "cpu")
    return path


def verified(path: Path) -> RunVerification:
    (run,) = api.verify(path).runs
    return run


def all_files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file())


def test_intact_run_has_no_problems(kept: Path, tmp_path: Path) -> None:
    result = verified(kept)
    assert not result.problems and result.last_step == 6 and result.files == len(all_files(kept))
    assert result.best_step == Run(kept).load_checkpoint("best").progress.step
    assert {(one.folder, one.intact) for one in result.checkpoints} == {
        ("checkpoints", True),
        ("before-decay", True),
    }
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputNotFoundError, match="there is no run, comparison"):
        api.verify([tmp_path])
    for name, problem in {"empty": "is empty", "r.zip": "Unpack it", "b.txt": "is a file"}.items():
        path = tmp_path / name
        if name != "empty":
            path.write_text("a")
        with pytest.raises(InputNotFoundError, match=f"cannot verify {path}: .*{problem}"):
            api.verify(path)


def test_every_flipped_byte_and_every_cut_is_found(kept: Path) -> None:
    """Some bytes of each file, among them the first and the last."""
    for path in all_files(kept):
        original = path.read_bytes()
        positions = {0, len(original) - 1, *range(7, len(original), max(1, len(original) // 5))}
        changed = [
            *(original[:at] + bytes([original[at] ^ 4]) + original[at + 1 :] for at in positions),
            original[: len(original) // 2],
            b"",
        ]
        for data in changed:
            path.write_bytes(data)
            found = verified(kept).problems
            assert found, path
        path.write_bytes(original)
    assert not verified(kept).problems


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


LINK = "link: it is a symbolic link"


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("notes.txt", os.mkfifo, "special: it is a FIFO"),
        ("mine", lambda path: path.symlink_to("report.json"), LINK),
        ("checkpoints", replace_by_link, LINK),
        ("before-decay", replace_by_link, LINK),
        ("checkpoints/step-00000006", replace_by_link, LINK),
        ("checkpoints/step-00000006/model.safetensors", replace_by_link, LINK),
        ("run.json", replace_by_fifo, "special: it is a FIFO"),
        ("metrics.jsonl", replace_by_fifo, "special: it is a FIFO"),
        ("report.json", replace_by_fifo, "special: it is a FIFO"),
        ("events.jsonl", Path.unlink, "damaged: its last lines are missing"),
        ("vocabulary.json", Path.unlink, "missing: it is missing"),
        (
            "checkpoints/step-00000006/manifest.json",
            lambda path: path.write_bytes(path.read_bytes().replace(b'"step":6', b'"step":5')),
            "damaged: its content does not have the SHA-256 at its end",
        ),
        ("run.json", Path.unlink, "missing: it is missing, but checkpoints/ is there"),
        (
            "run.json",
            lambda path: path.write_text('{"format": 7}'),
            "format: it has format 7, this charlm reads format 6. Use a newer charlm",
        ),
    ],
)
def test_what_is_foreign_or_missing_is_named(
    kept: Path, tmp_path: Path, name: str, change: Callable[[Path], object], problem: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    change(run / name)
    found = [(one.file, f"{one.kind}: {one.text}") for one in verified(run).problems]
    assert (name, problem) in found and [file for file, _ in found].count(name) == 1, found


def test_changed_settings_are_one_problem_and_lost_lines_name_their_file(
    kept: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    original = (run / "run.json").read_bytes()
    (run / "run.json").write_bytes(original.replace(b'"seed": ', b'"seed": 1'))
    (problem,) = verified(run).problems
    assert problem.file == "run.json" and "its SHA-256 is" in problem.text
    (run / "run.json").write_bytes(original)
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[:-1]))
    found = verified(run)
    assert ("metrics.jsonl", "it has lost lines") in [(p.file, p.text) for p in found.problems]
    assert found.last_step is None
    (run / "metrics.jsonl").write_bytes(b"".join([lines[0].replace(b"1", b"2"), *lines[1:]]))
    (problem,) = verified(run).problems
    assert problem.text == "line 1 is damaged: its checksum does not match"


@pytest.mark.parametrize("name", ["metrics.jsonl", "events.jsonl"])
def test_every_bit_of_the_last_line_end_is_covered(kept: Path, tmp_path: Path, name: str) -> None:
    """Also where no later line shows that it was changed; a cut and a power cut are no damage."""
    run = Path(shutil.copytree(kept, tmp_path / "r"))
    (run / "report.json").unlink()  # the run goes on: its last lines may be missing
    data = (run / name).read_bytes()
    last = data.splitlines(keepends=True)[-1]
    for bit in range(8):
        (run / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1 << bit]))
        problems = [p for p in verified(run).problems if "its line end was changed" in p.text]
        assert [problem.file for problem in problems] == [name]
        with pytest.raises(DataError, match=f"{name}: line .* its line end was changed"):
            list(iter_metrics(run) if name == "metrics.jsonl" else iter_events(run))
        if name == "metrics.jsonl":
            with pytest.raises(DataError, match="line 1 from the end is damaged"):
                load_latest_metrics(run)
    for kept_bytes in (*range(len(last)), None):
        torn = last[:-1] + b"\0" if kept_bytes is None else last[:kept_bytes]
        (run / name).write_bytes(data[: -len(last)] + torn)
        assert len(list(iter_metrics(run) if name == "metrics.jsonl" else iter_events(run)))


def test_damaged_end_of_a_log_is_removed_with_a_warning(
    kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = Path(shutil.copy(kept / "events.jsonl", tmp_path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines)[:-1])
    AppendOnlyLog(path).close()
    assert path.read_bytes() == b"".join(lines[:-1]) and not caplog.messages
    path.write_bytes(b"".join(lines)[:-1] + b"*")
    AppendOnlyLog(path).close()
    assert path.read_bytes() == b"".join(lines[:-1])
    assert caplog.messages == [f"the last line of {path} was damaged, and is removed"]


def test_files_of_other_programs_and_links_to_runs_are_notes(kept: Path, tmp_path: Path) -> None:
    run, step = tmp_path / "many" / "run", "checkpoints/step-00000006"
    shutil.copytree(kept, run)
    (tmp_path / "many/link").symlink_to(kept)
    names = [".DS_Store", f"{step}/.nfs01", f"{step}/.model.safetensors.aB2", "checkpoints/n.txt"]
    for name in names:
        (run / name).write_text("mine")
    (run / "plots").mkdir()
    found = api.verify(tmp_path / "many")
    assert found.intact and [one.file for one in found.notes] == [str(tmp_path / "many/link")]
    assert {one.file for one in found.runs[0].notes} == {*names, "plots"}
    done = charlm("verify", tmp_path / "many")
    assert done.returncode == 0 and done.stdout.count(b"note: ") == 6, done.stdout


def test_report_of_other_weights_is_found(kept: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    opened = Run(run)
    assert opened.report
    changed = msgspec.structs.replace(opened.report, weights_sha256="0" * 64)
    opened.write_report(changed)
    assert "that of the weights 000000000000" in verified(run).problems[0].text
    text = (kept / "report.json").read_text()
    (run / "report.json").write_text(text.replace('"characters": ', '"characters": 1'))
    assert "does not have the SHA-256 at its end" in verified(run).problems[0].text


def test_command_says_what_is_wrong_and_used_instead(kept: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    done = charlm("verify", run)
    assert done.returncode == 0 and done.stdout.startswith(f"{run}: intact (".encode())
    (run / "checkpoints/step-00000006/model.safetensors").write_bytes(b"junk")
    done = charlm("verify", run, "--json")
    found = msgspec.json.decode(done.stdout, type=Verification)
    assert done.returncode == 65 and not found.intact and found.runs[0].last_step != 6
    assert found.runs[0].problems[0].file == "checkpoints/step-00000006/model.safetensors"
    shown = charlm("verify", tmp_path).stdout.decode()
    assert "charlm would use the weights of step" in shown and "continue from step" in shown
    for weights in run.glob("checkpoints/*/model.safetensors"):
        weights.write_bytes(b"junk")
    shown = charlm("verify", run).stdout.decode()
    assert "no weights can be used, and training cannot continue" in shown
    assert f"    charlm train --resume {run} --max-steps N --run NEW\n" in shown
    (run / "run.json").write_text('{"format": 5}')
    done = charlm("verify", run)
    assert done.returncode == 78 and b"run: not checked\n" in done.stdout
