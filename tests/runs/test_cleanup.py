"""Tests of the cleanup: it frees what is surplus, and nothing that is needed, used or foreign."""

import gc
import hashlib
import shutil
from pathlib import Path

import pytest
from conftest import TINY, charlm, command, on_terminal, prose

from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.results.cleanup import CleanupReport
from charlm.results.comparison import ComparisonKind, ComparisonMarker
from charlm.runs import checkpoint_files
from charlm.runs.cleanup import clean
from charlm.runs.run import Run
from charlm.storage.json_files import encode_json
from charlm.storage.lock import exclusive_lock, is_locked
from charlm.storage.reading import read_regular_file
from charlm.storage.usage import measure_usage
from charlm.training.session import train

KEPT = ["events.jsonl", "metrics.jsonl", "report.json", "run.json", "vocabulary.json"]


def digests(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of every file, without following links."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def kinds(report: CleanupReport) -> set[str]:
    return {item.kind for item in report.surplus}


def reasons(report: CleanupReport) -> dict[str, str]:
    return {item.path: item.reason for item in report.skipped}


@pytest.fixture(scope="module")
def kept_all(tmp_path_factory: pytest.TempPathFactory, book: Path) -> Path:
    """Train a run that keeps all of its last checkpoints."""
    path = tmp_path_factory.mktemp("kept") / "run"
    settings = {**TINY, "eval_every": 4, "save_every": 4, "keep": "all", "final_eval": "valid"}
    train(str(book), validate_config(settings), path)
    return path


@pytest.fixture
def run(kept_all: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept_all, tmp_path / "runs" / "gru"))


def comparison_at(path: Path, kind: ComparisonKind = "text") -> Path:
    path.mkdir(parents=True)
    (path / "comparison.json").write_bytes(encode_json(ComparisonMarker(format=5, kind=kind)))
    return path


def test_cleanup_lists_first_then_keeps_best_weights_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, usage = digests(run), measure_usage(run)
    best = Run(run).load_checkpoint("best")

    def read_record(path: Path, *limit: int) -> bytes:
        assert path.suffix == ".json"  # weights may be larger than the memory
        return read_regular_file(path, *limit)

    monkeypatch.setattr(checkpoint_files, "read_regular_file", read_record)
    plan = clean([run.parent])
    assert digests(run) == before and not plan.removed
    assert kinds(plan) == {"training_state", "checkpoint", "lock"}
    done = clean([run.parent], remove=True)
    monkeypatch.undo()
    assert (done.surplus, done.size, done.removed) == (plan.surplus, plan.size, True)
    assert usage.size - measure_usage(run).size == done.size > 0
    after = digests(run)
    assert {name: after.pop(name) for name in KEPT} == {name: before[name] for name in KEPT}
    names = {Path(name).name for name in after}
    assert names == {"model.safetensors", "progress.json", "manifest.json"} and len(after) == 3
    assert Run(run).load_checkpoint("best").sha256 == best.sha256 == Run(run).report.weights_sha256
    assert not clean([run.parent], remove=True).surplus


def test_unfinished_runs_keep_every_checkpoint(run: Path) -> None:
    (run / "report.json").unlink()
    before = digests(run)
    assert kinds(clean([run], remove=True)) == {"lock"}
    assert digests(run) == {name: value for name, value in before.items() if name != "lock"}


def test_locked_runs_and_all_below_a_locked_comparison_stay(run: Path, tmp_path: Path) -> None:
    comparison = comparison_at(tmp_path / "comparison")
    inner = Path(shutil.copytree(run, comparison / "runs" / "lstm"))
    (comparison / "runs" / "lstm" / "lock").unlink()
    before = digests(inner)
    with exclusive_lock(run), exclusive_lock(comparison):
        report = clean([tmp_path], remove=True)
        assert reasons(report) == {str(run): "in_use", str(comparison): "in_use"}
        for below in (inner, inner.parent):  # the lock of a comparison holds for what is below
            assert reasons(clean([below], remove=True)) == {str(below): "in_use"}
        assert not report.surplus and digests(inner) == before
        assert is_locked(run) and is_locked(comparison)
    report = clean([tmp_path], remove=True)
    assert not report.skipped and not list(tmp_path.rglob("training.safetensors"))
    assert not list(tmp_path.rglob("lock"))


def test_symbolic_links_are_not_followed(run: Path, tmp_path: Path) -> None:
    (run / "lock").unlink()
    outside = tmp_path / "outside"
    shutil.copytree(run, outside / "run")
    (outside / ".tmp-x-1-0123abcd").write_text("foreign")
    inside = tmp_path / "inside"
    comparison_at(inside / "cells")
    (inside / "link").symlink_to(outside)
    (inside / "cells" / "runs").symlink_to(outside)
    (inside / "cells" / ".tmp-x-1-0123abcd").symlink_to(outside / "run" / "run.json")
    for name in ("linked", "part"):
        shutil.copytree(run, inside / name)
    shutil.rmtree(inside / "linked" / "checkpoints")
    (inside / "linked" / "checkpoints").symlink_to(outside / "run" / "checkpoints")
    first = sorted((inside / "part" / "checkpoints").iterdir())[0]
    shutil.rmtree(first)
    first.symlink_to(outside / "run" / "checkpoints" / first.name)
    before = digests(outside)
    report = clean([inside], remove=True)
    assert digests(outside) == before and not report.surplus
    expected = {str(inside / "linked"): "link", str(inside / "part"): "link"}
    assert reasons(report) == expected
    assert (inside / "link").is_symlink() and first.is_symlink()


def test_only_files_of_killed_writers_are_removed(run: Path, tmp_path: Path) -> None:
    (run / "lock").unlink()
    clean([run], remove=True)
    probes = run / "probes"
    probes.mkdir()
    (probes / "probes.json").write_text("{}")
    (probes / "context.json").write_text("{}")
    comparison = comparison_at(tmp_path / "cells")
    (comparison / "logs").mkdir()
    planted = [run / ".tmp-report.json-12-0123abcd", probes / ".tmp-a.json-9-aaaaaaaa"]
    planted += [comparison / "logs" / ".tmp-b-7-00000000"]
    for path in planted:
        path.write_text("half")
    cut_off = run / "checkpoints" / ".tmp-step-00000008-12-0123abcd"
    cut_off.mkdir()
    (cut_off / "model.safetensors").write_bytes(bytes(100))
    foreign = [run / ".tmp-notes", tmp_path / ".tmp-x-12-0123abcd", run / "lock"]
    for path in foreign:
        path.write_text("my work")
    report = clean([tmp_path], remove=True)
    assert {Path(item.path) for item in report.surplus} == {*planted, cut_off}
    assert kinds(report) == {"temporary"} and report.size == 3 * 4 + 100
    assert not any(path.exists() for path in (*planted, cut_off))
    assert all(path.exists() for path in foreign[:2]) and (probes / "context.json").exists()


@pytest.mark.parametrize("damage", ["weights", "missing", "report", "run.json", "format"])
def test_nothing_of_a_damaged_run_is_removed(run: Path, tmp_path: Path, damage: str) -> None:
    (run / "lock").unlink()
    best = run / "checkpoints" / f"step-{Run(run).load_checkpoint('best').progress.step:08d}"
    file = best / "model.safetensors"
    if damage == "weights":
        file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    elif damage == "missing":
        shutil.rmtree(best)
    elif damage == "report":
        (run / "report.json").write_text("{")
    elif damage == "run.json":
        (run / "run.json").write_bytes((run / "run.json").read_bytes() + b" ")
    else:
        (run / "run.json").write_text('{"format": 1}')
    before = digests(tmp_path)
    report = clean([run], remove=True)
    assert reasons(report) == {str(run): "incompatible" if damage == "format" else "damaged"}
    assert not report.surplus and digests(tmp_path) == before


def test_probes_of_missing_runs_are_orphans_in_comparisons_on_a_text(tmp_path: Path) -> None:
    kinds_of_comparison: tuple[ComparisonKind, ...] = ("text", "runs")
    for kind in kinds_of_comparison:
        comparison = comparison_at(tmp_path / kind, kind)
        for name in ("there", "gone"):
            (comparison / "probes" / name).mkdir(parents=True)
            (comparison / "probes" / name / "probes.json").write_text("{}")
        (comparison / "runs" / "there").mkdir(parents=True)
        (comparison / "probes" / "report.json").write_text("{}")
    (item,) = clean([tmp_path], remove=True).surplus
    assert (item.kind, item.path) == ("orphaned_probes", str(tmp_path / "text/probes/gone"))
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/probes/*")}
    assert left == {f"runs/probes/{name}" for name in ("there", "gone", "report.json")} | {
        f"text/probes/{name}" for name in ("there", "report.json")
    }


def test_cache_keeps_texts_in_use_foreign_files_and_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("CHARLM_CACHE", str(cache))
    (tmp_path / "a.txt").write_text(prose(3000))
    config = validate_config({**TINY})
    corpus = load_corpus([str(tmp_path / "a.txt")], config)
    (ids,) = cache.glob("*.ids")
    (cache / "thesis.json").write_text("mine")
    (cache / "corpora").mkdir()
    (cache / "corpora" / "text8.json").write_text("download")
    (cache / "kernels").mkdir()
    kernel = cache / "kernels" / f"{'a' * 32}-{'b' * 32}.so"
    kernel.write_bytes(b"\x7fELF")
    report = clean(cache=True, remove=True)
    assert {Path(item.path) for item in report.surplus} == {kernel} and not kernel.exists()
    assert reasons(report) == {str(ids): "in_use"}
    assert ids.exists() and ids.with_suffix(".json").exists()
    assert len(corpus.split("train"))
    del corpus
    gc.collect()
    report = clean(cache=True, remove=True)
    assert kinds(report) == {"cached_text"} and not report.skipped
    assert {path.name for path in cache.iterdir()} == {"thesis.json", "corpora", "kernels"}
    assert (cache / "corpora" / "text8.json").exists()
    assert load_corpus([str(tmp_path / "a.txt")], config).split("train")[0] >= 0


def test_command_removes_nothing_without_yes(run: Path) -> None:
    before = digests(run)
    done = charlm("clean", run)
    assert done.returncode == 0 and digests(run) == before
    assert b"optimizer state" in done.stdout and b"would remove" in done.stdout
    assert done.stderr.decode().splitlines()[-1] == "nothing was removed. Try --yes"
    done = charlm("clean", run, "--json")
    assert b'"removed": false' in done.stdout and digests(run) == before
    done = charlm("clean", run, "--yes")
    assert b"\nremoved " in done.stdout and len(digests(run)) == len(KEPT) + 3


@pytest.mark.parametrize(
    ("typed", "code", "last", "is_removed"),
    [
        (b"y\n", 0, "removed ", True),
        (b"n\n", 0, "nothing was removed", False),
        (b"\n", 0, "nothing was removed", False),
        (b"\x04", 0, "nothing was removed", False),
    ],
    ids=["yes", "no", "nothing", "end of input"],
)
def test_question_on_a_terminal_is_answered(
    typed: bytes, code: int, last: str, is_removed: bool, run: Path
) -> None:
    before = digests(run)
    shown, ended = on_terminal(command("clean", run), typed=typed)
    lines = shown.replace("\r", "").strip().splitlines()
    assert "Remove this? [y/N]:" in shown and "Traceback" not in shown
    answer = lines[-1].removeprefix("Remove this? [y/N]: ")  # the line end was echoed before
    assert ended == code and answer.startswith(last), shown
    assert (digests(run) == before) is not is_removed
