"""Comparisons from a stranger: links, damaged records and other weights are refused or named."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import safetensors.numpy
from conftest import charlm

from charlm.comparison.curricula import last_validation
from charlm.comparison.directory import check_no_links, initialize_comparison_dir
from charlm.comparison.memory import _are_places
from charlm.comparison.time_budget import _read
from charlm.config import FORMAT_VERSION
from charlm.errors import DataError
from charlm.probes import cache
from charlm.probes.batch import run_probing
from charlm.probes.plan import plan_probing
from charlm.results.comparison_plan import PlannedBudget
from charlm.results.probe_limits import NotFinite
from charlm.results.probes import NotApplicable, ProbeAnswer, ProbeCacheKey, ProbedText
from charlm.storage.json_files import seal_json
from charlm.tasks.curriculum_files import load_level_results

COMPARE = ["compare-cells", "--cells=rnn", "--seeds=1", "--no-memory", "--baselines=none"]


@pytest.mark.parametrize("link", ["logs/rnn-s0.log", "runs", "runs/rnn-s0-00000000", "stdin.txt"])
def test_link_in_a_comparison_is_refused_before_anything_is_written(
    tmp_path: Path, book: Path, link: str
) -> None:
    outside, out = tmp_path / "outside", tmp_path / "out"
    (outside / "logs").mkdir(parents=True)
    (outside / "file").write_text("mine")
    (out / link).parent.mkdir(parents=True, exist_ok=True)
    (out / link).symlink_to(outside / "file" if "." in link else outside)
    initialize_comparison_dir(out, "text")
    before = sorted(out.rglob("*"))
    done = charlm(*COMPARE, book, "--out", out)
    assert done.returncode == 65, done.stderr
    assert f"{link} is a link. Try a copy with real files" in done.stderr.decode()
    assert (outside / "file").read_text() == "mine" and len(list(outside.iterdir())) == 2
    assert sorted(out.rglob("*")) == before


def test_directory_of_a_comparison_may_be_a_link_itself_or_missing(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    check_no_links(tmp_path / "link")
    check_no_links(tmp_path / "missing")


def test_budget_with_a_changed_digit_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    data = seal_json(PlannedBudget(minutes=1.0, entries=("rnn 900",), seeds=1, characters=4000))
    path.write_bytes(data)
    budget = _read(path)
    assert budget is not None and budget.characters == 4000
    path.write_bytes(data.replace(b"4000", b"9000"))
    with pytest.raises(DataError, match="budget.json is damaged: its content does not have the"):
        _read(path)


def test_result_at_a_length_is_verified_and_is_that_of_its_length(tmp_path: Path) -> None:
    (tmp_path / "length-5.json").write_bytes(seal_json({"length": 5}))
    with pytest.raises(DataError, match="length-5.json is damaged: Object missing required"):
        load_level_results(tmp_path, [5])
    log = tmp_path / "length-5.jsonl"
    assert last_validation(log) is None
    log.write_bytes(b'{"step": "x"}\n{"step":')
    with pytest.raises(DataError, match="length-5.jsonl is damaged: Expected `int`"):
        last_validation(log)
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(DataError, match="it is a FIFO"):
        last_validation(log)


def test_results_of_probes_are_not_written_through_a_link_in_a_run(
    trained: Path, tmp_path: Path
) -> None:
    run, outside = tmp_path / "run", tmp_path / "outside"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("probes"))
    outside.mkdir()
    (run / "probes").symlink_to(outside)
    with pytest.raises(DataError, match="probes: it is a link"):
        run_probing(plan_probing(run))
    assert list(outside.iterdir()) == []
    (tmp_path / "chosen").symlink_to(outside)
    assert not plan_probing(run, out=tmp_path / "chosen").check_directory()


TEXT = ProbedText(
    corpus_sha256="ab" * 32,
    text_sha256="cd" * 32,
    split="test",
    characters=90,
    vocabulary_kind="chars",
)
KEY = ProbeCacheKey(format=FORMAT_VERSION, charlm="0", weights_sha256="ef" * 32, text=TEXT, seed=0)


def test_damaged_probe_result_is_measured_again_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tensors = safetensors.numpy.save({"sums": np.ones((1, 2))})
    answer = ProbeAnswer(
        cache_key=KEY,
        seconds=1.5,
        artifacts_sha256=hashlib.sha256(tensors).hexdigest(),
        artifacts_bytes=len(tensors),
        outcome=NotApplicable(NotFinite()),
    )
    record, artifacts = tmp_path / "a.json", tmp_path / "a.safetensors"
    record.write_bytes(seal_json(answer))
    artifacts.write_bytes(tensors)
    assert cache.is_cached(tmp_path, "a", KEY)
    assert not cache.is_cached(tmp_path, "a", msgspec.structs.replace(KEY, seed=1))
    assert not caplog.records
    os.truncate(artifacts, 2**34)  # nothing of it is read
    assert not cache.is_cached(tmp_path, "a", KEY) and "has 17,179,869,184 bytes" in caplog.text
    huge = msgspec.structs.replace(answer, artifacts_bytes=2**34)
    record.write_bytes(seal_json(huge))
    assert not cache.is_cached(tmp_path, "a", KEY) and "than a probe of this text" in caplog.text
    record.write_bytes(seal_json(answer))
    artifacts.write_bytes(tensors[:-1] + b"\1")
    assert not cache.is_cached(tmp_path, "a", KEY)
    assert "a.safetensors is damaged" in caplog.text and "measuring a again" in caplog.text
    artifacts.unlink()
    os.mkfifo(artifacts)
    assert not cache.is_cached(tmp_path, "a", KEY)
    record.write_bytes(record.read_bytes().replace(b"1.5", b"2.5"))
    caplog.clear()
    assert not cache.is_cached(tmp_path, "a", KEY) and "a.json is damaged" in caplog.text


def test_tensors_of_a_probe_that_charlm_does_not_write_are_refused(tmp_path: Path) -> None:
    data = safetensors.numpy.save({"sums": np.ones((1, 2))}, {"note": "foreign"})
    answer = ProbeAnswer(
        cache_key=KEY,
        seconds=1.5,
        artifacts_sha256=hashlib.sha256(data).hexdigest(),
        artifacts_bytes=len(data),
        outcome=NotApplicable(NotFinite()),
    )
    (tmp_path / "a.json").write_bytes(seal_json(answer))
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(DataError, match="it is damaged: its header"):
        cache.read_artifacts(tmp_path, "a")


def test_only_finite_sums_at_ascending_lengths_are_places() -> None:
    sound: dict[str, Any] = {
        "lengths": np.array([64, 128]),
        "sums": np.array([[1.0, 2.0], [0.5, 0.0]]),
        "counts": np.ones((2, 2)),
    }
    assert _are_places(sound)
    for name, value in (
        ("lengths", np.array([128, 64])),
        ("lengths", np.array([64.0, 128.0])),
        ("lengths", np.array([0, 64])),
        ("lengths", np.zeros(0, np.int64)),
        ("sums", np.array([[1.0, np.nan], [0.5, 0.0]])),
        ("sums", np.ones((2, 3))),
        ("sums", np.ones(4)),
        ("counts", -np.ones((2, 2))),
        ("counts", np.zeros((2, 2))),
        ("other", np.ones(1)),
    ):
        assert not _are_places({**sound, name: value}), (name, value)
    assert not _are_places({name: value for name, value in sound.items() if name != "counts"})
