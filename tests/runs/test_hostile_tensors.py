"""Tests of tensors that a stranger wrote: none is allocated before it fits the settings."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors import torch as safetensors
from torch import Tensor

from charlm.errors import DataError
from charlm.results.training import FileDigest, Manifest
from charlm.runs.run import Run
from charlm.storage.tensor_header import read_header
from charlm.training.completion import restore_trainer


@pytest.fixture
def run(stopped_run: Run) -> Run:
    return stopped_run


Tensors = dict[str, Tensor]


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
