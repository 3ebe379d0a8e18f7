"""Tests of runs that a stranger wrote: nothing of them is used before it fits the settings."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from conftest import charlm, make_run
from safetensors import torch as safetensors
from torch import Tensor

from charlm.data.corpus import Corpus
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DataError, StorageError
from charlm.results.run import RunRecord
from charlm.results.training import FileDigest, Manifest
from charlm.runs.checkpoint import load_checkpoint
from charlm.runs.listing import list_runs
from charlm.runs.metrics import load_latest_metrics, load_validation_curve
from charlm.runs.run import Run
from charlm.storage.append_only_log import seal_line
from charlm.storage.json_files import read_json
from charlm.storage.tensor_header import read_header
from charlm.training.completion import restore_trainer
from charlm.training.loop import run_training_loop

SIZES = {"hidden_size": 3, "embedding_dim": 2, "batch_size": 2, "seq_len": 4, "max_steps": 6}
SETTINGS = {**SIZES, "eval_every": 2, "save_every": 1e-9, "initial_state": "learned"}
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, book: Path) -> tuple[Path, Corpus]:
    """A run with checkpoints of several steps, which is not finished."""
    path = tmp_path_factory.mktemp("trained") / "run"
    run, corpus, config = make_run(path, book, **SETTINGS)
    trainer, _ = restore_trainer(run, "cpu", config)
    for _ in run_training_loop(run, trainer, corpus, stop=lambda: trainer.step == 5):
        pass
    return path, corpus


@pytest.fixture
def run(tmp_path: Path, trained: tuple[Path, Corpus]) -> Run:
    shutil.copytree(trained[0], tmp_path / "run")
    return Run(tmp_path / "run")


def write_manifest(path: Path, run: Run) -> None:
    """Make all hashes of a checkpoint right."""
    manifest = Manifest(
        format=run.record.format,
        step=int(path.name[5:]),
        files={
            name: FileDigest.of((path / name).read_bytes())
            for name in ("model.safetensors", "training.safetensors", "progress.json")
        },
        run={name: FileDigest.of((run.path / name).read_bytes()) for name in run.metadata},
    )
    (path / "manifest.json").write_bytes(manifest.canonical_bytes())


def forge_tensors(run: Run, file: str, change: Callable[[Tensors], object]) -> None:
    """Change tensors of all checkpoints, with right hashes."""
    for path in run.checkpoints.values():
        tensors = safetensors.load((path / file).read_bytes())
        change(tensors)
        (path / file).write_bytes(safetensors.save(tensors))
        write_manifest(path, run)


def replace(name: str, value: Callable[[Tensor], Tensor]) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({name: value(tensors[name]).contiguous()})


def rename(old: str, new: str) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


WEIGHT, MOMENT, VARIANCE = "layers.0.U.weight", "exp_avg/bias", "exp_avg_sq/bias"
TENSORS: list[tuple[str, Callable[[Tensors], object], str]] = [
    ("training", replace("carried/0/0", lambda t: t[:1]), "carried/0/0 is F32"),
    ("training", replace("carried/0/1", lambda t: t.repeat(1, 4000)), "imply at most"),
    ("training", replace("carried/0/0", lambda t: t.double()), "F64"),
    ("training", replace("carried/0/0", lambda t: t.flatten()), "carried/0/0 is F32"),
    ("training", rename("carried/0/1", "carried/1/0"), "carried/0/1 is missing"),
    ("training", rename("carried/0/1", "carried/x/0"), "carried/0/1 is missing"),
    ("training", lambda t: t.update({"carried/0/9": torch.zeros(1)}), "carried/0/9 is unknown"),
    ("training", replace("carried/0/0", lambda t: t * torch.nan), "is not finite"),
    ("training", replace(MOMENT, lambda t: t[:1]), "exp_avg/bias is F32"),
    ("training", replace(MOMENT, lambda t: t.repeat(2)), "exp_avg/bias is F32"),
    ("training", replace(MOMENT, lambda t: t.bfloat16()), "BF16"),
    ("training", replace(MOMENT, lambda t: t.long()), "I64"),
    ("training", replace(MOMENT, lambda t: t / 0), "is not finite"),
    ("training", replace(VARIANCE, lambda t: t[None]), "exp_avg_sq/bias is F32"),
    ("training", replace(VARIANCE, lambda t: t - 1), "is negative"),
    ("training", replace("step/bias", lambda t: t[None]), "step/bias is F32"),
    ("training", replace("step/bias", lambda t: t + 1000), "is not a step of the run"),
    ("training", replace("step/bias", lambda t: -t), "is not a step of the run"),
    ("training", lambda t: t.pop(MOMENT), "exp_avg/bias is missing"),
    ("training", lambda t: t.clear(), "is missing"),
    ("training", lambda t: t.update({"exp_avg/more": torch.zeros(3)}), "exp_avg/more is unknown"),
    ("training", lambda t: t.update({"bad": torch.zeros(3)}), "bad is unknown"),
    ("model", replace("bias", lambda t: t[:-1]), "bias is F32"),
    ("model", replace("bias", lambda t: t.double()), "F64"),
    ("model", replace("bias", lambda t: t.long()), "I64"),
    ("model", replace("bias", lambda t: t * torch.inf), "is not finite"),
    ("model", lambda t: t.pop("bias"), "bias is missing"),
    ("model", lambda t: t.update({"more": torch.zeros(0)}), "more is unknown"),
]


@pytest.mark.parametrize(("file", "change", "problem"), TENSORS)
def test_tensors_that_do_not_fit_the_settings_are_refused(
    run: Run, file: str, change: Callable[[Tensors], object], problem: str
) -> None:
    """The hashes are right. Used, such tensors would be read and written out of bounds."""
    forge_tensors(run, f"{file}.safetensors", change)
    with pytest.raises(DataError, match=f"{problem}.*no other checkpoint is intact"):
        restore_trainer(run, "cpu", run.record.config)
    assert not list(run.path.rglob("damaged-*"))


def test_trainer_itself_refuses_tensors_of_other_shapes(run: Run) -> None:
    """Also where a checkpoint did not come from a file."""
    trainer, _ = restore_trainer(run, "cpu", run.record.config)
    saved = run.load_checkpoint("last")
    before = trainer.state_tensors()["training"][MOMENT].clone()
    training = {**saved.tensors["training"], MOMENT: torch.ones(1)}
    with pytest.raises(DataError, match="exp_avg/bias is F32"):
        trainer.load_state({**saved.tensors, "training": training}, saved.progress)
    assert torch.equal(trainer.state_tensors()["training"][MOMENT], before)


def header(entries: object, size: int = 4, padding: bytes = b"") -> bytes:
    data = entries if isinstance(entries, bytes) else msgspec.json.encode(entries)
    return (len(data) + len(padding)).to_bytes(8, "little") + data + padding + bytes(size)


def entry(offsets: tuple[int, int] = (0, 4), shape: object = (1,), dtype: str = "F32") -> Any:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\0" * 7, b"\xff" * 16, header(b""), header(b"[]"), header(b"{" * 9999)),
        header({"a": entry()}, 8),  # bytes that belong to no tensor
        header({"a": entry((4, 8))}, 8),  # a hole
        header({"a": entry(), "b": entry()}),  # an overlap
        header({"a": entry((0, 8))}, 8),  # more bytes than numbers
        header({"a": entry(shape=(2**61, 2**61, 2**61))}),
        header({"a": entry(shape=(-1,))}),
        header({"a": entry(shape=(1,) * 9)}),
        header({"a": entry(dtype="F8_E4M3")}),
        header({"a": entry(), "__metadata__": {"x": "y"}}),
        header(
            b'{"a":' + msgspec.json.encode(entry()) + b',"a":' + msgspec.json.encode(entry()) + b"}"
        ),
        header(b'{ "a":' + msgspec.json.encode(entry()) + b"}"),
        header(b'{"a":{"shape":[1],"dtype":"F32","data_offsets":[0,4]}}'),
        header({"a": {**entry(), "more": 1}}),
        header({"a": entry((0, 2**70))}),
    ],
)
def test_header_of_another_form_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="m.safetensors: it is damaged"):
        read_header(data, Path("m.safetensors"))
    assert read_header(header({"a": entry()}, padding=b"  "), Path("m")) == {"a": ("F32", (1,))}


def test_file_larger_than_the_settings_imply_is_not_read(run: Run) -> None:
    for path in run.checkpoints.values():
        with (path / "model.safetensors").open("ab") as file:
            file.truncate(10**12)  # a hole: it takes no space on the disk
        manifest = msgspec.json.decode((path / "manifest.json").read_bytes(), type=Manifest)
        digests = {**manifest.files, "model.safetensors": FileDigest(10**12, 64 * "0")}
        forged = msgspec.structs.replace(manifest, files=digests)
        (path / "manifest.json").write_bytes(forged.canonical_bytes())
    with pytest.raises(DataError, match="its settings imply at most"):
        run.load_checkpoint("best")


def snapshot(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["checkpoints", "before-decay", "step"])
def test_links_among_checkpoints_are_refused_and_nothing_there_is_removed(
    run: Run, tmp_path: Path, name: str
) -> None:
    """What they refer to may be another run's."""
    other = tmp_path / "other"
    shutil.copytree(run.path, other)
    shutil.copytree(other / "checkpoints" / run.checkpoints[5].name, other / "step-00009999")
    for folder in ("checkpoints", "before-decay"):
        (other / folder).mkdir(exist_ok=True)
        shutil.copytree(run.checkpoints[5], other / folder / "step-00009999")
        (other / folder / ".tmp-x-1-00000000").mkdir()
    before = snapshot(other)
    target = run.checkpoints[5] if name == "step" else run.path / name
    shutil.rmtree(target, ignore_errors=True)
    target.symlink_to(other / "step-00009999" if name == "step" else other / name)
    done = charlm("train", "--resume", run.path)
    assert done.returncode == 65, done.stderr
    assert b"is a link" in done.stderr and b"Traceback" not in done.stderr
    assert snapshot(other) == before and (other / "checkpoints/.tmp-x-1-00000000").exists()
    if name != "before-decay":
        with pytest.raises(DataError, match="is a link"):
            run.load_checkpoint("best")


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EMFILE, errno.ENOMEM])
def test_failed_read_removes_no_checkpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    before = snapshot(run.path)
    newest = str(max(run.checkpoints.values()))
    real = os.open

    def fail(path: Any, *args: Any, **options: Any) -> int:
        if str(path).startswith(newest):
            raise OSError(code, os.strerror(code))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match="Nothing was changed"):
        restore_trainer(run, "cpu", run.record.config)
    monkeypatch.undo()
    assert snapshot(run.path) == before
    trainer, _ = restore_trainer(run, "cpu", run.record.config)
    assert trainer.step == 5


def test_damaged_checkpoint_is_set_aside_until_the_run_has_finished(
    run: Run, trained: tuple[Path, Corpus], caplog: pytest.LogCaptureFixture
) -> None:
    newest = run.checkpoints[5]
    (newest / "model.safetensors").write_bytes(b"junk")
    trainer, length = restore_trainer(run, "cpu", run.record.config)
    assert trainer.step == 4 and not newest.exists()
    aside = newest.with_name("damaged-step-00000005")
    assert (aside / "model.safetensors").read_bytes() == b"junk" and str(aside) in caplog.text
    list(run_training_loop(run, trainer, trained[1], length))
    assert max(run.checkpoints) == 6 and aside.exists()
    run.keep_best_weights_alone()
    assert not aside.exists() and len(run.checkpoints) == 1


def test_checkpoint_that_is_pruned_while_it_is_read_is_no_damage(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The list is read anew, and what has appeared meanwhile is used."""
    hidden = run.path / "hidden"
    run.checkpoints[5].rename(hidden)
    expected = run.checkpoints[4]
    real = load_checkpoint

    def prune(path: Path, *args: Any, **options: Any) -> Any:
        if path == expected and hidden.exists():
            hidden.rename(path.with_name("step-00000005"))
            shutil.rmtree(path)
        return real(path, *args, **options)

    monkeypatch.setattr("charlm.runs.checkpoint_reader.load_checkpoint", prune)
    assert run.load_checkpoint("last").progress.step == 5 and not caplog.messages


@pytest.mark.parametrize("name", ["run.json", "vocabulary.json", "manifest.json", "progress.json"])
@pytest.mark.parametrize("kind", ["fifo", "link", "directory", "zero"])
def test_only_regular_files_are_read(run: Run, tmp_path: Path, name: str, kind: str) -> None:
    for path in [*run.path.glob(name), *run.path.glob(f"checkpoints/*/{name}")]:
        content = path.read_bytes()
        path.unlink()
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "zero":
            path.symlink_to("/dev/zero")
        elif kind == "directory":
            path.mkdir()
        else:
            (tmp_path / f"real-{path.parent.name}").write_bytes(content)
            path.symlink_to(tmp_path / f"real-{path.parent.name}")
    with pytest.raises(DataError, match="no regular file|is damaged|no other"):
        Run(run.path).load_checkpoint("last")
    if kind != "directory":
        assert list_runs([tmp_path]).runs[0].state in ("damaged", "unfinished")


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(max_steps=0),
        lambda d: d.update(max_steps=10**12),
        lambda d: d.update(parameters=-1),
        lambda d: d["text"].update(sources=[]),
        lambda d: d["text"].update(splits={}),
        lambda d: d["text"]["splits"].update(train=[0, 0]),
        lambda d: d["text"]["splits"].update(train=[5, 2]),
        lambda d: d["text"]["splits"].update(train=[-5, 2]),
        lambda d: d["text"]["splits"].update(test=[0, 10**9]),
        lambda d: d["text"]["splits"].update(test=d["text"]["splits"]["train"]),
        lambda d: d["text"]["splits"].update(more=[0, 1]),
        lambda d: d["text"]["digest"].update(sha256="../../x"),
        lambda d: d["text"]["notes"].append({"kind": "bom", "files": 10**30}),
        lambda d: d["config"].update(forget_bias="1e39"),
        lambda d: d["config"].update(branches="1/2," * 9999),
        lambda d: d["config"].update(learning_rate=1e300),
        lambda d: d["environment"].update(threads=-1),
    ],
)
def test_impossible_settings_are_refused(run: Run, change: Callable[[Any], object]) -> None:
    data = json.loads((run.path / "run.json").read_text())
    change(data)
    (run.path / "run.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match="is damaged: .*Try a copy"):
        Run(run.path)
    assert list_runs([run.path]).runs[0].state == "damaged"


def test_vocabulary_of_another_kind_is_refused(run: Run) -> None:
    vocabulary = Vocabulary("bytes", tuple(range(256)))
    (run.path / "vocabulary.json").write_bytes(msgspec.json.encode(vocabulary))
    with pytest.raises(DataError, match="vocabulary.json is damaged: it has bytes"):
        Run(run.path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format":' + "9" * 5000 + "}", "{}", "\xff"])
def test_json_that_no_parser_survives_is_refused(run: Run, text: str) -> None:
    (run.path / "report.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="is damaged"):
        _ = run.report
    (run.path / "run.json").write_text(text, encoding="latin-1")
    for call in (Run, lambda path: read_json(path / "run.json", RunRecord)):
        with pytest.raises((DataError, ConfigError), match="is damaged|has format"):
            call(run.path)
    assert list_runs([run.path]).runs[0].state in ("damaged", "incompatible")


@pytest.mark.parametrize("line", [b'{"step":1', b'{"step":"one"}', b"", b"\xff", b"[" * 9999])
@pytest.mark.parametrize("is_sealed", [True, False])
def test_damaged_line_of_a_log_is_named(run: Run, line: bytes, is_sealed: bool) -> None:
    path = run.path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = lines[-1] = seal_line(line + b"}") if is_sealed else line + b"\n"
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match="metrics.jsonl: line 2 is damaged"):
        load_validation_curve(run.path)
    with pytest.raises(DataError, match="metrics.jsonl: line 1 from the end is damaged"):
        load_latest_metrics(run.path)
    with pytest.raises(DataError, match="metrics.jsonl: line 2 is damaged"):
        restore_trainer(run, "cpu", run.record.config)


def test_endless_line_of_a_log_is_not_read_into_memory(run: Run) -> None:
    with (run.path / "events.jsonl").open("ab") as file:
        file.truncate(10**11)  # a hole: it takes no space on the disk
    with pytest.raises(DataError, match="it has more than 65,536 bytes"):
        load_validation_curve(run.path)


def test_listing_goes_on_past_runs_that_cannot_be_read(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bad", "worse"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "run.json").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "worse" / "run.json")
    shutil.copytree(run.path, tmp_path / "unreadable")
    real = os.open

    def fail(path: Any, *args: Any, **options: Any) -> int:
        if "unreadable" in str(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", fail)
    states = {Path(listed.path).name: listed.state for listed in list_runs([tmp_path]).runs}
    assert states == {
        "bad": "damaged",
        "worse": "damaged",
        "unreadable": "damaged",
        "run": "unfinished",
    }
