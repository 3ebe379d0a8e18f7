"""Tests of training with documents: each is what it is as a stream of its own."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, make_run
from forked import run_script
from safetensors.torch import load_file
from test_distributed import SCRIPT, run_ranks

from charlm.config import Config, validate_config
from charlm.data.batches import Batch
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelState, detach_state
from charlm.training.trainer import Trainer
from charlm.training.window_loss import window_loss

TIME, STREAMS, VOCABULARY = 19, 3, 9
CELLS = [
    {"cell": "gru", "kernel": "loop", "initial_state": "learned"},
    {"cell": "lstm", "kernel": "compiled", "num_layers": 2, "initial_state": "learned"},
    {"cell": "lstm", "kernel": "native", "block": "residual"},
    {"cell": "mingru", "kernel": "scan", "block": "residual", "num_layers": 2},
    {"cell": "attention", "kernel": "native", "block": "residual"},
]


def settings(**changes: Any) -> Config:
    return validate_config(TINY | {"batch_size": STREAMS, "seq_len": TIME} | changes)


def window(seed: int = 0) -> Batch:
    """Return a window whose streams have documents of 1 to 9 tokens, some at its edges."""
    rng = np.random.default_rng(seed)
    ids = torch.from_numpy(rng.integers(0, VOCABULARY, (TIME + 1, STREAMS)))
    starts = torch.zeros(TIME + 1, STREAMS, dtype=torch.bool)
    for row, places in enumerate(([0, 4, 5, 14], [3, 12, TIME], [])):
        starts[places, row] = True
    return Batch(ids[:-1], ids[1:], False, starts)


def loss_of_separate_streams(
    model: CharLM, batch: Batch, state: ModelState
) -> tuple[torch.Tensor, ModelState]:
    """Return the mean loss and the last state, computed document by document."""
    assert batch.starts is not None
    nats, last = [], []
    for row in range(STREAMS):
        ids = torch.cat((batch.x[:, row], batch.y[-1:, row]))
        cuts = sorted({0, *torch.nonzero(batch.starts[:, row]).flatten().tolist(), TIME + 1})
        document_state: ModelState = tuple(
            tuple(part[row : row + 1] for part in layer) for layer in state
        )
        for start, end in pairwise(cuts):
            logits = []
            if batch.starts[start, row]:
                document_state = model.initial_state(1)
                logits.append(model.next_token_logits(document_state)[None])
            is_read = slice(start, min(end, TIME))  # the last target is not read
            if is_read.stop > start:
                after, document_state = model(ids[is_read, None], document_state)
                logits.append(after)
            targets = ids[start:end] if batch.starts[start, row] else ids[start + 1 : end]
            predicted = torch.cat(logits)[: len(targets), 0]
            if start == 0:  # its first token is a target of the window before
                targets = ids[1:end]
                predicted = torch.cat(logits)[-is_read.stop :, 0][: len(targets)]
            nats.append(torch.nn.functional.cross_entropy(predicted, targets, reduction="sum"))
        if batch.starts[TIME, row]:  # the state before the last target, which is not read
            first, end = cuts[-3], cuts[-2]
            _, document_state = model(ids[first:end, None], model.initial_state(1))
        last.append(document_state)
    joined = tuple(
        tuple(torch.cat(parts) for parts in zip(*layers, strict=True))
        for layers in zip(*last, strict=True)
    )
    return torch.stack(nats).sum() / (TIME * STREAMS), joined


@pytest.mark.parametrize("recompute", [0, 4])
@pytest.mark.parametrize("changes", CELLS, ids=lambda c: f"{c['cell']}-{c['kernel']}")
def test_documents_are_as_separate_streams(changes: dict[str, Any], recompute: int) -> None:
    """Loss, last state, and gradients, also of the state before the window."""
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        model = build_char_lm(settings(**changes), VOCABULARY, changes["kernel"], "cpu")
        batch, results = window(), []
        _, state = model(window(1).x, model.initial_state(STREAMS))
        for compute in (loss_of_separate_streams, window_loss):
            before = tuple(
                tuple(part.requires_grad_() for part in layer) for layer in detach_state(state)
            )
            pieces = (recompute,) if compute is window_loss else ()
            loss, last = compute(model, batch, before, *pieces)
            model.zero_grad()
            (loss + sum(part.sum() for layer in last for part in layer)).backward()
            results.append([loss, *(part for layer in last for part in layer)])
            results[-1] += [p.grad for p in model.parameters() if p.grad is not None]
            results[-1] += [
                part.grad for layer in before for part in layer if part.grad is not None
            ]
    finally:
        torch.set_default_dtype(torch.float32)
    expected, actual = results
    assert len(expected) == len(actual) > 10
    for value, found in zip(expected, actual, strict=True):
        torch.testing.assert_close(found, value, rtol=1e-11, atol=1e-11)


def test_no_gradient_flows_into_the_document_before() -> None:
    model = build_char_lm(settings(cell="gru"), VOCABULARY, "loop", "cpu")
    batch = window()
    assert batch.starts is not None
    starts = torch.zeros_like(batch.starts)
    starts[0, 0] = starts[1, 1] = starts[2, 2] = True
    state = tuple(tuple(part.requires_grad_() for part in s) for s in model.initial_state(STREAMS))
    loss, last = window_loss(model, batch._replace(starts=starts), state)
    (loss + last[0][0].sum()).backward()
    gradient = state[0][0].grad
    assert gradient is not None
    assert [bool(row.any()) for row in gradient] == [False, False, True]
    # In the second stream the first token is read from the state, but what follows it is the
    # first of a document: the initial state predicts that.


def new_trainer(config: Config) -> Trainer[CharLM]:
    torch.manual_seed(0)
    return Trainer(build_char_lm(config, VOCABULARY, "loop", "cpu"), config, 100)


@pytest.mark.parametrize("recompute", [0, 5])
def test_training_resumed_ends_in_the_same_bits(recompute: int) -> None:
    config = settings(cell="lstm", dropout=0.3, recompute=recompute, initial_state="learned")
    whole, first, second = (new_trainer(config) for _ in range(3))
    batches = [window(seed)._replace(is_epoch_start=seed == 0) for seed in range(6)]
    for batch in batches:
        whole.train_step(batch)
    for batch in batches[:3]:
        first.train_step(batch)
    second.load_state(first.state_tensors(), first.progress(0, None))
    for batch in batches[3:]:
        second.train_step(batch)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_processes_train_as_one_process_does(tmp_path: Path) -> None:
    """A document begins in the streams of one process only."""
    script = tmp_path / "script.py"
    marked = "batches[step]._replace(starts=marks(batches[step]))"
    script.write_text(
        SCRIPT.replace("batches[step]", marked).replace(
            "torch.set_default_dtype",
            "def marks(batch):\n"
            "    ids = torch.cat((batch.x, batch.y[-1:]))\n"
            "    return (ids == 0) & (torch.arange(6) == 5)\n\n"
            "torch.set_default_dtype",
        )
    )
    one, two = tmp_path / "one", tmp_path / "two"
    done = run_script(script, "rnn", one, "none", 0.0)
    assert done.returncode == 0, done.stderr
    run_ranks(2, "rnn", two, "none", 0.0, script=script)
    expected, actual = load_file(one), load_file(two)
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-9, atol=1e-9, msg=name)


def test_run_with_documents_marks_them_in_its_batches(tmp_path: Path, book: Path) -> None:
    _, corpus, config = make_run(tmp_path / "run", book, documents="line")
    documents = corpus.stored_split("train").documents
    assert config.documents == "line" and documents is not None
