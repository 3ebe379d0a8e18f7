"""Training: batches are pure, a stop loses nothing, and looking changes nothing."""

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, make_run, prose

from charlm.cells.base import CELLS
from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus, reload_corpus
from charlm.errors import ConfigError, DataError, DivergedError
from charlm.evaluation import generation as sampling
from charlm.evaluation import scoring
from charlm.models.build import build_char_lm
from charlm.models.cost import count_parameters_and_state
from charlm.results.training import StepMetrics, ValidationMetrics
from charlm.runs.run import Run
from charlm.training import trainer
from charlm.training.budget import measure_step_time
from charlm.training.loop import train
from charlm.training.optimizer import AdamW
from charlm.training.schedule import learning_rate
from charlm.training.session import create_run, restore_trainer
from charlm.training.trainer import Trainer
from charlm.training.weight_dropout import drop_weights

pass

# batches


def test_batches_are_a_pure_function_of_seed_and_update() -> None:
    ids = np.random.default_rng(0).integers(0, 50, 1000, dtype=np.uint8)
    one, other = BatchSampler(ids, 4, 16, 7), BatchSampler(ids, 4, 16, 7)
    order = [5, 40, 0, 5, 17]
    for update in order:
        a, b = one[update], other[update]
        assert (
            torch.equal(a.x, b.x) and torch.equal(a.y, b.y) and a.is_epoch_start == b.is_epoch_start
        )
    assert any(not torch.equal(one[u].x, BatchSampler(ids, 4, 16, 8)[u].x) for u in order)


def test_a_stream_goes_on_where_it_was_until_the_epoch_ends() -> None:
    ids = np.arange(60_000, dtype=np.uint16)[:1000]
    batches = BatchSampler(ids, 4, 16, 0)
    for update in range(2 * batches.windows):
        batch = batches[update]
        assert batch.is_epoch_start == (update % batches.windows == 0)
        assert torch.equal(batch.y, batch.x + 1)  # the next character; none wraps to the start
        assert torch.equal(batch.x[1:], batch.y[:-1])
        if not batch.is_epoch_start:
            assert torch.equal(batch.x[0], batches[update - 1].y[-1])


def test_an_epoch_reads_each_character_once_but_for_less_than_a_window() -> None:
    ids = np.arange(1000, dtype=np.uint16)
    batches = BatchSampler(ids, 4, 16, 0)
    left_out = []
    for epoch in range(6):
        updates = range(epoch * batches.windows, (epoch + 1) * batches.windows)
        read = sorted(int(i) for u in updates for i in batches[u].y.flatten())
        assert len(set(read)) == len(read) > 999 - 4 * 16
        left_out.append(min(read))
    assert len(set(left_out)) > 1  # and it is not the same ones that are left out each time


def test_text_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(
        DataError, match="65: give more text, or a smaller --batch-size or --seq-len"
    ):
        BatchSampler(np.zeros(64, dtype=np.uint8), 4, 16, 0)
    assert BatchSampler(np.zeros(65, dtype=np.uint8), 4, 16, 0).windows == 1


# the schedule, the loop


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_learning_rate_rises_in_a_line_and_falls_to_two_hundredths(schedule: str) -> None:
    config = validate_config({"lr_schedule": schedule, "warmup_steps": 10, "learning_rate": 1.0})
    rates = [learning_rate(config, update, 100) for update in range(100)]
    assert rates[:10] == pytest.approx([(n + 1) / 11 for n in range(10)])
    assert rates[10] == 1 and all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert 0.02 < rates[-1] < 0.035
    short = [learning_rate(config, update, 20) for update in range(20)]
    assert (
        short.index(max(short)) == 2
    )  # a tenth of the run is the most that is spent on the way up
    half = learning_rate(config, 55, 100)
    assert half == pytest.approx(0.02 + 0.98 / 2)


def test_training_learns(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(
        tmp_path / "r", book, max_steps=60, hidden_size=24, learning_rate=0.02
    )
    model = restore_trainer(run, "cpu", config, print)[0]
    bits = [h.bits for h in train(run, model, corpus) if isinstance(h, StepMetrics)]
    first = math.log2(run.vocabulary.size)
    assert bits[0] == pytest.approx(first, abs=0.5)
    assert np.mean(bits[-5:]) < first - 1


def test_the_state_is_carried_within_an_epoch_and_reset_at_its_edge(
    tmp_path: Path, book: Path
) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, kernel="loop")
    model, _ = restore_trainer(run, "cpu", config, print)
    batches = BatchSampler(corpus.split("train"), config.batch_size, config.seq_len, config.seed)
    seen: list[tuple[bool, bool]] = []

    def spy(module: torch.nn.Module, given: tuple[object, ...]) -> None:
        state = given[1]
        zero = all(bool((part == 0).all()) for layer in state for part in layer)  # type: ignore
        detached = all(not part.requires_grad for layer in state for part in layer)  # type: ignore
        seen.append((zero, detached))

    model.model.register_forward_pre_hook(spy)
    for update in range(batches.windows + 1):
        model.train_step(batches[update])
    assert [zero for zero, _ in seen] == [True] + [False] * (batches.windows - 1) + [True]
    assert all(detached for _, detached in seen)


def test_a_learned_start_is_learned(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, initial_state="learned", cell="lstm")
    model, _ = restore_trainer(run, "cpu", config, print)
    before = [p.clone() for p in model.model.initial_states]
    list(train(run, model, corpus))
    assert len(before) == 2
    assert all(
        not torch.equal(a, b) for a, b in zip(before, model.model.initial_states, strict=True)
    )


def test_only_matrices_decay() -> None:
    config = validate_config({**TINY, "initial_state": "learned"})
    model = build_char_lm(config, 9, "loop", "cpu")
    (matrices, some), (vectors, none) = Trainer(model, config, 1).optimizer.groups
    assert (some, none) == (0.01, 0)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in matrices} == {
        *("embed.weight", "weight", "layers.0.W.weight", "layers.0.U.weight")
    }
    assert {names[id(p)] for p in vectors} == {*("bias", "layers.0.W.bias", "starts.0", "starts.1")}


def test_an_update_is_that_of_pytorch_s_adamw() -> None:
    """To the bit, at changing rates, and of what has a gradient only now and then."""
    torch.manual_seed(0)
    ours = [torch.randn(5, 7), torch.randn(7), torch.randn(7)]
    theirs = [one.clone() for one in ours]
    mine = AdamW([(ours[:1], 0.3), (ours[1:], 0.0)], (0.8, 0.99))
    groups = [{"params": theirs[:1], "weight_decay": 0.3}, {"params": theirs[1:]}]
    torch_s = torch.optim.AdamW(groups, weight_decay=0.0, betas=(0.8, 0.99), fused=True)
    for update in range(6):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one) if one.shape[0] == 5 or update % 2 else None
            other.grad = one.grad
        for group in torch_s.param_groups:
            group["lr"] = 0.1 / (update + 1)
        mine.step(0.1 / (update + 1))
        torch_s.step()
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one, other)
            assert mine.moments.get(one, {}).keys() == torch_s.state[other].keys()


def test_momentum_is_how_much_of_the_direction_is_of_before() -> None:
    batches = BatchSampler(np.arange(200, dtype=np.uint8) % 7, 4, 16, 0)
    for momentum in (0.0, 0.75):
        config = validate_config({**TINY, "beta1": momentum})
        trainer = Trainer(build_char_lm(config, 7, "loop", "cpu"), config, 1)
        trainer.train_step(batches[0])
        weight = trainer.model.bias
        assert weight.grad is not None
        kept = trainer.optimizer.moments[weight]["exp_avg"]
        torch.testing.assert_close(kept, (1 - momentum) * weight.grad)


def test_dropped_weights_are_not_learnt_in_that_update_and_then_are_there_again() -> None:
    batches = BatchSampler(np.arange(200, dtype=np.uint8) % 7, 4, 16, 0)
    config = validate_config(TINY | {"cell": "gru-cho", "num_layers": 2, "weight_dropout": 0.25})
    trainer = Trainer(build_char_lm(config, 7, "loop", "cpu"), config, 1)
    names = {id(p): name for name, p in trainer.model.named_parameters()}
    assert {names[id(p)] for p in trainer.recurrent_weights} == {
        f"layers.{layer}.{matrix}.weight" for layer in (0, 1) for matrix in ("U", "U_n")
    }
    before = [p.detach().clone() for p in trainer.recurrent_weights]
    with drop_weights(trainer.recurrent_weights, 0.25):
        for weight, whole in zip(trainer.recurrent_weights, before, strict=True):
            there = weight != 0
            assert 0.5 < there.double().mean() < 0.95
            torch.testing.assert_close(weight[there], whole[there] / 0.75)
    assert all(torch.equal(a, b) for a, b in zip(trainer.recurrent_weights, before, strict=True))
    trainer.train_step(batches[0])
    for weight in trainer.recurrent_weights:
        assert weight.grad is not None
        assert 0.5 < (weight.grad != 0).double().mean() < 0.95


def test_the_gradient_is_clipped_by_its_whole_norm(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, grad_clip=1e-3)
    model, _ = restore_trainer(run, "cpu", config, print)
    told = model.train_step(BatchSampler(corpus.split("train"), 4, 16, 0)[0])
    norm = torch.stack([p.grad.norm() for p in model.model.parameters()]).norm()  # type: ignore
    assert told.gradient_norm > 1e-2 and norm == pytest.approx(1e-3, rel=1e-3)


# budgets


@pytest.mark.parametrize(
    ("budget", "updates"), [({"max_steps": 7}, 7), ({"epochs": 1.5}, 126), ({}, 2000)]
)
def test_a_budget_becomes_updates(
    tmp_path: Path, book: Path, budget: dict[str, float], updates: int
) -> None:
    config = validate_config({**{k: v for k, v in TINY.items() if k != "max_steps"}, **budget})
    corpus = load_corpus([str(book)], config)
    assert BatchSampler(corpus.split("train"), 4, 16, 0).windows == 84
    assert create_run(tmp_path / "r", config, corpus, "cpu").record.max_steps == updates


def test_minutes_become_updates_once_by_timing(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = validate_config({**TINY, "max_steps": 0, "minutes": 0.05})
    corpus = load_corpus([str(book)], config)
    timed: list[float] = []

    def timing(*args: Any, **options: Any) -> float:
        timed.append(measure_step_time(*args, **options))
        return timed[-1]

    monkeypatch.setattr("charlm.train.seconds_per_update", timing)
    record = create_run(tmp_path / "r", config, corpus, "cpu").record
    assert len(timed) == 1 and timed[0] > 0
    assert record.max_steps == max(1, round(3 / timed[0]))
    assert Run(tmp_path / "r").record.max_steps == record.max_steps


def test_two_budgets_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="keep one of --max-steps, --minutes"):
        validate_config({"max_steps": 3, "minutes": 1.0})


# a stop loses nothing

HARD = {
    "dropout": 0.3,
    "num_layers": 2,
    "lr_schedule": "cosine",
    "initial_state": "learned",
    "eval_every": 5,
}


def walk(run: Run, *, stop_after: int = 0, abandon_after: int = 0) -> Trainer:
    """Train until the end, or a stop, or a kill: then the generator is dropped where it is."""

    config = run.record.config
    corpus = reload_corpus(config, run.record.text)
    model, metrics = restore_trainer(run, "cpu", config, print)
    happenings: Iterator[object] = train(
        run, model, corpus, metrics, lambda: model.step == stop_after
    )
    for happened in happenings:
        if isinstance(happened, StepMetrics) and happened.step == abandon_after:
            break
    return model


def result_of(run: Run) -> dict[str, bytes]:
    """All that must be the same, byte for byte."""
    last = max(run.checkpoints)
    place = run.checkpoints[last]
    found = {name: (place / f"{name}.safetensors").read_bytes() for name in ("model", "training")}
    progress = json.loads((place / "progress.json").read_bytes())
    del progress["seconds"]
    found["progress"] = json.dumps(progress).encode()
    found["metrics"] = (run.path / "metrics.jsonl").read_bytes()
    config = run.record.config
    model = build_char_lm(config, run.vocabulary.size, "loop", "cpu")
    model.load_state_dict(run.load_checkpoint("best", print).tensors["model"])
    found["sample"] = b"".join(sampling.iter_generated(model, run.vocabulary, "The ", 40, seed=3))
    return found


# That each cell goes on to the same bits is in its contract; here it is about the run.
MODELS = [
    {"cell": "rnn"},
    {"cell": "gru", "forget_bias": "chrono"},
    {"cell": "gru-cho", "weight_dropout": 0.3},
    {"cell": "lstm"},
    {"cell": "lstm", "block": "residual", "recurrent_init": "orthogonal"},
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_training_that_was_stopped_anywhere_ends_in_the_same_bytes(
    tmp_path: Path, model: dict[str, str]
) -> None:
    """Weights, moments, carried state, metrics and samples; dropout, schedule, two epoch edges."""
    (tmp_path / "book.txt").write_text(prose(450))
    run, corpus, _ = make_run(tmp_path / "whole", tmp_path / "book.txt", **model, **HARD)
    assert BatchSampler(corpus.split("train"), 4, 16, 0).windows == 6  # 12 updates: two epochs
    walk(run)
    whole = result_of(run)
    for k in range(1, 12):
        stopped, _, _ = make_run(tmp_path / f"stopped{k}", tmp_path / "book.txt", **model, **HARD)
        assert walk(stopped, stop_after=k).step == k
        assert walk(stopped).step == 12
        assert result_of(stopped) == whole, f"stopped after {k}"


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_training_that_was_killed_anywhere_ends_in_the_same_bytes(
    tmp_path: Path, model: dict[str, str]
) -> None:
    """A kill saves nothing: the run goes back to its last checkpoint, or to its beginning."""
    (tmp_path / "book.txt").write_text(prose(450))
    run, _, _ = make_run(tmp_path / "whole", tmp_path / "book.txt", **model, **HARD)
    walk(run)
    whole = result_of(run)
    for k in (1, 4, 6, 7, 11):
        killed, _, _ = make_run(tmp_path / f"k{k}", tmp_path / "book.txt", **model, **HARD)
        walk(killed, abandon_after=k)
        with (killed.path / "metrics.jsonl").open("ab") as torn:
            torn.write(b'{"update":99,"bi')
        walk(killed)
        assert result_of(killed) == whole, f"killed after {k}"


def test_training_goes_on_from_the_newest_sound_checkpoint(tmp_path: Path, book: Path) -> None:
    run, _, _ = make_run(tmp_path / "whole", book, eval_every=3)
    walk(run)
    damaged, _, _ = make_run(tmp_path / "damaged", book, eval_every=3)
    walk(damaged, stop_after=9)
    older, newer = list(damaged.checkpoints.items())[-2:]
    (newer[1] / "progress.json").write_bytes(b"{}")
    said: list[str] = []
    corpus = reload_corpus(damaged.record.config, damaged.record.text)
    model, metrics = restore_trainer(damaged, "cpu", damaged.record.config, said.append)
    assert model.step == older[0] < newer[0] == 9
    assert "progress.json is damaged" in said[0] and f"with update {older[0]}" in said[0]
    assert newer[0] not in damaged.checkpoints
    list(train(damaged, model, corpus, metrics))
    assert result_of(damaged) == result_of(run)


@pytest.mark.parametrize("what", ["carried", "exp_avg", "step"])
def test_each_thing_in_a_checkpoint_is_needed(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The faults planted for good: leave one thing out, and the bytes must differ."""
    run, _, _ = make_run(tmp_path / "whole", book)
    walk(run)
    stopped, _, _ = make_run(tmp_path / "stopped", book)
    walk(stopped, stop_after=5)
    restore = Trainer.load_state

    def forgetful(
        self: Trainer, tensors: trainer.Tensors, progress: trainer.TrainingProgress
    ) -> None:
        training = {
            name: torch.zeros_like(value) if name.split("/")[0] == what else value
            for name, value in tensors["training"].items()
        }
        restore(self, {**tensors, "training": training}, progress)

    monkeypatch.setattr(Trainer, "restore", forgetful)
    walk(stopped)
    assert result_of(stopped) != result_of(run)


def test_a_run_that_was_moved_goes_on(tmp_path: Path, book: Path) -> None:
    run, _, _ = make_run(tmp_path / "whole", book)
    walk(run)
    stopped, _, _ = make_run(tmp_path / "stopped", book)
    walk(stopped, stop_after=5)
    shutil.move(stopped.path, tmp_path / "moved")
    walk(Run(tmp_path / "moved"))
    assert result_of(Run(tmp_path / "moved")) == result_of(run)


def test_evaluating_otherwise_never_changes_training(tmp_path: Path, book: Path) -> None:
    """More often, less often, with an exact score in between: the same updates, bit for bit."""
    updates = []
    for number, every in enumerate((1, 5, 12)):
        settings = {**HARD, "eval_every": every}
        run, corpus, config = make_run(tmp_path / str(number), book, **settings)
        model, _ = restore_trainer(run, "cpu", config, print)
        happened = []
        for one in train(run, model, corpus):
            happened.append(one)
            if every == 5:
                scoring.score_text(
                    model.model, corpus.vocabulary, corpus.encoding, corpus.record.splits["test"]
                )
                torch.rand(5)  # nor does anybody else's use of the global generator
        updates.append([one for one in happened if isinstance(one, StepMetrics)])
        assert (
            sum(isinstance(one, ValidationMetrics) for one in happened)
            == {1: 12, 5: 3, 12: 1}[every]
        )
    assert updates[0] == updates[1] == updates[2]


def test_weights_order_and_dropout_depend_on_the_seed(tmp_path: Path, book: Path) -> None:
    bits = []
    for seed in (0, 0, 1):
        run, corpus, config = make_run(tmp_path / f"{len(bits)}", book, seed=seed, **HARD)
        model, _ = restore_trainer(run, "cpu", config, print)
        bits.append([h.bits for h in train(run, model, corpus) if isinstance(h, StepMetrics)])
    assert bits[0] == bits[1] != bits[2]


# what is not finite


@pytest.mark.parametrize("where", ["weights", "state"])
def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(
    tmp_path: Path, book: Path, where: str
) -> None:
    run, _, config = make_run(tmp_path / "r", book, eval_every=3)
    model = walk(run, stop_after=6)
    kept = {n: p.read_bytes() for n, p in files_of(run).items()}
    if where == "weights":
        with torch.no_grad():
            model.model.bias[0] = math.nan
    else:
        assert model.carried
        model.carried[0][0][0, 0] = math.inf
    before = {name: value.clone() for name, value in model.model.state_dict().items()}

    with pytest.raises(DivergedError, match="update 7: the loss is .*nan"):
        list(train(run, model, reload_corpus(config, run.record.text), 10**9))
    after = model.model.state_dict()
    assert all(torch.equal(before[n].nan_to_num(7), after[n].nan_to_num(7)) for n in before)
    assert {n: p.read_bytes() for n, p in files_of(run).items()} == kept
    assert walk(run).step == 12


def test_a_validation_that_is_not_finite_stops_too(
    tmp_path: Path, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, eval_every=5)
    model, _ = restore_trainer(run, "cpu", config, print)
    monkeypatch.setattr("charlm.train.quick_bits", lambda *_: math.inf)
    with pytest.raises(DivergedError, match="update 5: validation gives inf bits"):
        list(train(run, model, corpus))


def test_timing_meets_no_fault_and_changes_nothing(tmp_path: Path, book: Path) -> None:
    config = validate_config(
        {**TINY, "cell": "rnn", "learning_rate": 1000.0, "grad_clip": 1e9, "warmup_steps": 0}
    )
    corpus = load_corpus([str(book)], config)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    ids, symbols = corpus.split("train"), corpus.vocabulary.size
    assert measure_step_time(config, 400, symbols, "loop", "cpu", ids) > 0
    assert torch.equal(before, torch.get_rng_state())


def test_metrics_that_lost_lines_are_bad_data(tmp_path: Path, book: Path) -> None:
    run, _, config = make_run(tmp_path / "r", book)
    walk(run, stop_after=6)
    path = run.path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="metrics.jsonl has lost lines"):
        restore_trainer(run, "cpu", config, print)


def files_of(run: Run) -> dict[str, Path]:
    return {str(p.relative_to(run.path)): p for p in (run.path / "checkpoints").rglob("*.*")}


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, book: Path) -> None:
    run, _, _ = make_run(tmp_path / "r", book)
    model = walk(run, stop_after=6)
    with torch.no_grad():
        model.model.embed.weight[0, 0] = math.nan
    with pytest.raises(DivergedError, match="embed.weight is not finite after update 6"):
        run.save(model.progress(0, None), model.state_tensors())


# sizes


@pytest.mark.parametrize("cell", CELLS)
def test_the_size_of_a_model_is_known_before_it_is_made(cell: str) -> None:
    config = validate_config({**TINY, "cell": cell, "num_layers": 2, "initial_state": "learned"})
    parameters, state = count_parameters_and_state(config, 9)
    model = build_char_lm(config, 9, "loop", "cpu")
    assert parameters == sum(p.numel() for p in model.parameters())
    carried = [
        part for layer in model.cells for part in layer.initial_state(1)[layer.output_is_readout :]
    ]  # an output that is only read from the rest is not
    assert state == sum(part.numel() for part in carried)
