"""Checks of kernels against the plain loop, and of resumed training."""

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import Unroll, get_kernel, supported_kernels
from charlm.models.build import build_char_lm, select_kernel
from charlm.models.char_lm import CharLM
from charlm.testing import cell_checks  # noqa: F401  (its checks come first)
from charlm.testing.case import (
    BATCH,
    FLOAT64_TOLERANCE,
    LONG_SEQUENCE,
    TIME,
    VOCABULARY,
    CellCase,
    check,
    fail,
    isolated_rng,
    named_state,
    random_tensor,
    reachable_state,
    relative_difference,
    unroll_reference,
)
from charlm.training.trainer import Trainer

FLOAT32_TOLERANCE = 1e-5  # relative RMS error after a long sequence: a hundred roundings


def forward_and_gradients(
    cell: Cell, unroll: Unroll, x: Tensor, state: State, ids: Tensor | None = None
) -> dict[str, Tensor]:
    """Return outputs, last state, and gradients of x, initial state and weights, by name.

    With ids, all streams start in one state, as in a learned one, and the last state does not count
    for the loss, as in training.
    """
    values = {"x": x, **named_state(cell, state), **dict(cell.named_parameters())}
    for value in values.values():
        value.requires_grad_()
    batch_size = BATCH if ids is None else ids.shape[1]
    initial = tuple(part.expand(batch_size, *part.shape[1:]) for part in state)
    outputs, last = unroll(cell, x, initial, ids)
    parts = zip(cell.states, last, strict=True)
    results = {"the output": outputs, **{f"the last {name}": part for name, part in parts}}
    with isolated_rng(3):
        terms = [(value * torch.randn_like(value)).sum() for value in results.values()]
    loss = terms[0] if ids is not None else torch.stack(terms).sum()
    gradients = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
    for (name, value), gradient in zip(values.items(), gradients, strict=True):
        gradient_name = f"the gradient of {name}"
        results[gradient_name] = torch.zeros_like(value) if gradient is None else gradient
    return {name: value.detach() for name, value in results.items()}


@check("every kernel equals the loop in float64", required=True)
def check_kernels_float64(case: CellCase) -> None:
    """Check inputs and indexed tables, many tokens and one."""
    cell = case.randomized()
    x, state = random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell)
    table, learned = random_tensor(VOCABULARY, cell.input_size), reachable_state(cell, 1)
    ids = torch.randint(VOCABULARY, (TIME, BATCH))
    expected = forward_and_gradients(cell, unroll_loop, x, state)
    expected_of_ids = forward_and_gradients(cell, unroll_loop, table, learned, ids)
    with torch.inference_mode():
        output, last = unroll_reference(cell, x[:1, :1], learned)
    expected_of_token = _by_name(cell, output, last)
    for name in supported_kernels(cell, "cpu"):
        unroll = get_kernel(name, cell, "cpu")
        assert_same(name, forward_and_gradients(cell, unroll, x, state), expected)
        results = forward_and_gradients(cell, unroll, table, learned, ids)
        assert_same(f"{name} with token ids", results, expected_of_ids)
        with torch.inference_mode():
            output, last = unroll(cell, x[:1, :1], learned, None)
        assert_same(f"{name} on one token", _by_name(cell, output, last), expected_of_token)


def _by_name(cell: Cell, outputs: Tensor, last: State) -> dict[str, Tensor]:
    parts = zip(cell.states, last, strict=True)
    return {"the output": outputs, **{f"the last {name}": part for name, part in parts}}


def assert_same(kernel: str, results: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Compare results by name.

    Raises:
        CellCheckError: One has another shape, or is off by more than FLOAT64_TOLERANCE.
    """
    for (name, value), exact in zip(results.items(), expected.values(), strict=True):
        if value.shape != exact.shape:
            fail(f"{kernel}: {name} is {tuple(value.shape)}, not {tuple(exact.shape)}")
        off = relative_difference(value, exact)
        if not off <= FLOAT64_TOLERANCE:
            fail(f"{kernel}: {name} is off by {off:.1e}")


@check("every kernel in float32 is close to the float64 loop")
def check_kernels_float32(case: CellCase) -> None:
    """Check 200 tokens, at weights where the float32 loop is close: large ones amplify rounding."""
    deviation = 1.0
    while True:
        deviation /= 2
        exact = case.randomized(deviation)
        narrow = case.make()
        narrow.load_state_dict(exact.state_dict())
        with isolated_rng(2), torch.no_grad():
            x, state = random_tensor(LONG_SEQUENCE, BATCH, exact.input_size), reachable_state(exact)
            expected = unroll_reference(exact, x, state)
            x, state = x.float(), tuple(part.float() for part in state)
            error = relative_rms_error(unroll_reference(narrow, x, state), expected)
        if error <= FLOAT32_TOLERANCE / 3:
            break
        if deviation < 1e-3:
            fail(f"the loop itself is off by {error:.1e}, near its initial weights")
    for name in supported_kernels(narrow, "cpu"):
        results = get_kernel(name, narrow, "cpu")(narrow, x, state, None)
        error = relative_rms_error(results, expected)
        if not error <= FLOAT32_TOLERANCE:
            fail(f"{name} is off by {error:.1e}")


def relative_rms_error(results: tuple[Tensor, State], expected: tuple[Tensor, State]) -> float:
    """Return the largest relative RMS error of the outputs and of each part of the last state."""
    pairs = zip((results[0], *results[1]), (expected[0], *expected[1]), strict=True)
    errors = [(value - exact).norm() / exact.norm().clamp_min(1e-30) for value, exact in pairs]
    return float(torch.stack(errors).detach().max())


@check("resumed training is bit-exact")
def check_resume_is_bit_exact(case: CellCase) -> None:
    """Check that three steps, a checkpoint and three steps are six steps."""
    sizes = {"embedding_dim": case.input_size, "hidden_size": case.hidden_size, "num_layers": 2}
    training = {"batch_size": BATCH, "seq_len": TIME, "dropout": 0.2, "warmup_steps": 0}
    training |= {"learning_rate": 0.006, "grad_clip": 1.0}
    config = validate_config({"cell": case.name, **sizes, **training, "initial_state": "learned"})
    kernel = select_kernel(config).name
    ids = np.random.default_rng(0).integers(0, VOCABULARY, 150)
    batches = BatchSampler(ids, BATCH, TIME, 0)

    def train(trainer: Trainer[CharLM], until: int) -> Trainer[CharLM]:
        while trainer.step < until:
            trainer.train_step(batches[trainer.step])
        return trainer

    def new_trainer() -> Trainer[CharLM]:
        return Trainer(build_char_lm(config, VOCABULARY, kernel, "cpu"), config, 6)

    whole, half, resumed = train(new_trainer(), 6), train(new_trainer(), 3), new_trainer()
    checkpoint = {
        file: safetensors.load(safetensors.save({k: v.contiguous() for k, v in tensors.items()}))
        for file, tensors in half.state_tensors().items()
    }
    resumed.load_state(checkpoint, half.progress(0, None))
    resumed_tensors = train(resumed, 6).state_tensors()
    for file, tensors in whole.state_tensors().items():
        for name, value in tensors.items():
            if not torch.equal(value, resumed_tensors[file][name]):
                off = relative_difference(resumed_tensors[file][name], value)
                fail(f"{name} is off by {off:.1e} if training is interrupted half-way")
