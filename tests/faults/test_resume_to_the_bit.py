"""Tests of stops and resumptions: the end is the same to the bit, and planted faults are found."""

import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from faults import resume_to_the_bit as resume
from faults.places import memory_directory, place
from faults.processes import write_prose
from faults.resume_design import (
    COMMON,
    FACTORS,
    base_settings,
    cover_pairs,
    covering_settings,
    resolve,
)

from charlm.cells.names import CELL_NAMES
from charlm.config import Config
from charlm.data.batches import Batch, BatchSampler
from charlm.models.recurrent import detach_state
from charlm.storage.append_only_log import AppendOnlyLog
from charlm.training import trainer as trainer_module
from charlm.training.session import train
from charlm.training.trainer import Trainer

# The second epoch begins after 5 steps.
SMALL = {"max_steps": 12, "seq_len": 64, "eval_every": 5, "kernel": "loop", "final_eval": "none"}


def small(cell: str, **settings: object) -> Config:
    return msgspec.structs.replace(base_settings(cell), **{**SMALL, **settings})


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prose(tmp_path_factory.mktemp("text") / "text.txt")


def test_run_resumed_around_an_epoch_edge_ends_in_the_same_bits(text: Path) -> None:
    with memory_directory() as directory:
        found = resume.check_every_start(small("lstm"), text, directory, [1, 4, 5, 11])
    assert found == []


@pytest.mark.slow
def test_rows_of_the_design_end_in_the_same_bits(text: Path) -> None:
    """Rows with branches, and a cell whose state has several parts."""
    rows = [config for config in covering_settings() if config.branches][:2]
    rng = resume.random.Random(0)
    with memory_directory() as directory:
        for config in [msgspec.structs.replace(row, max_steps=30) for row in rows]:
            with place(directory) as folder:
                assert resume.check_chain(config, text, folder, [9, 10, 29]) == []
                assert resume.check_kills(config, text, folder, rng) == []
        with place(directory) as folder:
            assert resume.check_initial_weights(base_settings("gru"), text, folder, rng) == []
        with place(directory) as folder:
            assert resume.check_longer_budget(base_settings("slstm"), text, folder, rng) == []


def test_cell_without_a_bound_stays_finite_with_weight_dropout(text: Path) -> None:
    """The state of ReLU units may grow in every step; a run that diverges tries nothing."""
    row = {"cell": "irnn", "weight_dropout": 0.3, "num_layers": 2, "block": "residual"}
    row |= {"dropout": 0.3, "tie_weights": True, "weight_decay": 0.5, "beta1": 0.0, "seq_len": 48}
    with memory_directory() as directory:
        config = resolve({**COMMON, **row, "kernel": 0, "max_steps": 12, "final_eval": "none"})
        assert not train(str(text), config, directory / "run").diverged


def forget_random_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw dropout from a seed of this process, not of the step."""
    numbers = itertools.count()
    monkeypatch.setattr(trainer_module, "derive_seed", lambda *_: next(numbers))


def forget_carried_state(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Trainer.load_state

    def load_state(self: Trainer, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        self.carried = detach_state(self.model.initial_state(self.config.batch_size))

    monkeypatch.setattr(Trainer, "load_state", load_state)


def forget_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Trainer.load_state

    def load_state(self: Trainer, *arguments: object) -> None:
        original(self, *arguments)  # type: ignore[arg-type]
        self.optimizer.moments.clear()

    monkeypatch.setattr(Trainer, "load_state", load_state)


def shift_position(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read one step too far where a sampler does not begin with the first."""
    original = BatchSampler.__getitem__

    def get(self: BatchSampler, step: int) -> Batch:
        begin = self.__dict__.setdefault("begin", step)
        return original(self, step + (begin > 0))

    monkeypatch.setattr(BatchSampler, "__getitem__", get)


def keep_torn_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AppendOnlyLog, "truncate", lambda *_: None)


@pytest.mark.parametrize(
    "plant, difference",
    [
        (forget_random_state, "differs"),
        (forget_carried_state, "differs"),
        (forget_moments, "differs"),
        (shift_position, "differs"),
        (keep_torn_lines, "metrics.jsonl differs"),
    ],
)
def test_planted_fault_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    difference: str,
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    with memory_directory() as directory:
        (problem,) = resume.check_chain(small("gru"), text, directory, [4])
    assert difference in problem


def test_design_covers_every_pair_of_levels() -> None:
    sizes = [3, 2, 2, 4]
    rows = cover_pairs(sizes, resume.random.Random(0))
    for first, second in itertools.combinations(range(len(sizes)), 2):
        found = {(row[first], row[second]) for row in rows}
        assert len(found) == sizes[first] * sizes[second]
    assert len(rows) < 3 * 2 * 2 * 4
    assert [level["cell"] for level in FACTORS["cell"]] == list(CELL_NAMES)
