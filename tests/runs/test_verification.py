"""Tests of `charlm verify`: it names what is wrong with a run, and what would be used."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from conftest import charlm, make_run

import charlm as api
from charlm.errors import InputNotFoundError
from charlm.results.verification import RunVerification, Verification
from charlm.runs.run import Run
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
    with pytest.raises(InputNotFoundError, match="there is no run in it"):
        api.verify([tmp_path / "empty"])


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


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("notes.txt", lambda path: path.write_text("mine"), "no part of a run"),
        ("checkpoints", replace_by_link, "no directory"),
        ("before-decay", replace_by_link, "no directory"),
        ("checkpoints/step-00000006", replace_by_link, "no directory"),
        ("checkpoints/step-00000006/model.safetensors", replace_by_link, "no regular file"),
        ("metrics.jsonl", replace_by_fifo, "no regular file"),
        ("report.json", replace_by_fifo, "no regular file"),
        ("events.jsonl", lambda path: path.unlink(), "last lines are missing"),
        ("metrics.jsonl", lambda path: path.unlink(), "lost lines"),
        ("vocabulary.json", lambda path: path.unlink(), "No such file"),
    ],
)
def test_what_is_foreign_or_missing_is_named(
    kept: Path, tmp_path: Path, name: str, change: Callable[[Path], object], problem: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    change(run / name)
    found = [(one.file, one.problem) for one in verified(run).problems]
    assert any(problem in text for _, text in found), found
    assert {Path(name).parts[0], ""} & {Path(file).parts[0] if file else "" for file, _ in found}


def test_report_of_other_weights_is_found(kept: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    opened = Run(run)
    assert opened.report
    changed = msgspec.structs.replace(opened.report, weights_sha256="0" * 64)
    opened.write_report(changed)
    assert "that of the weights 000000000000" in verified(run).problems[0].problem
    text = (kept / "report.json").read_text()
    (run / "report.json").write_text(text.replace('"characters": ', '"characters": 1'))
    assert "does not have the SHA-256 at its end" in verified(run).problems[0].problem


def test_command_says_what_is_wrong_and_used_instead(kept: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(kept, run)
    done = charlm("verify", run)
    assert done.returncode == 0 and done.stdout.startswith(f"{run}: intact (".encode())
    (run / "checkpoints/step-00000006/model.safetensors").write_bytes(b"junk")
    done = charlm("verify", run, "--json")
    found = msgspec.json.decode(done.stdout, type=Verification)
    assert done.returncode == 65 and not found.intact and found.runs[0].last_step != 6
    shown = charlm("verify", tmp_path).stdout.decode()
    assert "charlm would use the weights of step" in shown and "continue from step" in shown
