"""TODO docstring."""

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
from charlm.testing.cell_checks import named
from charlm.testing.check import (
    BATCH,
    FLOAT64_TOLERANCE,
    LONG_SEQUENCE,
    SYMBOLS,
    TIME,
    CellCase,
    check,
    fail,
    isolated_rng,
    random_tensor,
    reachable_state,
    relative_difference,
    unroll_reference,
)
from charlm.training.trainer import Trainer

FLOAT32_TOLERANCE = 1e-5  # relative error (RMS) of a long walk in float32: a hundred roundings


def forward_and_gradients(
    cell: Cell, unroll: Unroll, x: Tensor, start: State, ids: Tensor | None = None
) -> dict[str, Tensor]:
    """Outputs, last state, and the gradient of x, each part of the start state and each weight.

    Characters that are picked begin in one state, as a learned one, and their last counts for
    nothing, as in training.
    """
    values = {"x": x, **named(cell, start), **dict(cell.named_parameters())}
    for value in values.values():
        value.requires_grad_()
    batch = BATCH if ids is None else ids.shape[1]
    before = tuple(part.expand(batch, *part.shape[1:]) for part in start)
    outputs, last = unroll(cell, x, before, ids)
    ends = zip(cell.states, last, strict=True)
    found = {"the output": outputs, **{f"the last {name}": part for name, part in ends}}
    with isolated_rng(3):
        shares = [(value * torch.randn_like(value)).sum() for value in found.values()]
    loss = shares[0] if ids is not None else torch.stack(shares).sum()
    slopes = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
    for (name, value), slope in zip(values.items(), slopes, strict=True):
        found[f"the gradient of {name}"] = torch.zeros_like(value) if slope is None else slope
    return {name: value.detach() for name, value in found.items()}


@check("every kernel is the loop, only faster", sound=True)
def check_kernels_float64(subject: CellCase) -> None:
    """Given characters and picked ones, many and one; in float64."""
    cell = subject.randomized()
    x, start = random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell)
    table, learned = random_tensor(SYMBOLS, cell.input_size), reachable_state(cell, 1)
    ids = torch.randint(SYMBOLS, (TIME, BATCH))
    given = forward_and_gradients(cell, unroll_loop, x, start)
    picked = forward_and_gradients(cell, unroll_loop, table, learned, ids)
    with torch.inference_mode():
        one, after = unroll_reference(cell, x[:1, :1], learned)
    for name in supported_kernels(cell, "cpu"):
        unroll = get_kernel(name, cell, "cpu")
        assert_same(name, forward_and_gradients(cell, unroll, x, start), given)
        assert_same(
            f"{name} on picked characters",
            forward_and_gradients(cell, unroll, table, learned, ids),
            picked,
        )
        with torch.inference_mode():
            output, last = unroll(cell, x[:1, :1], learned, None)
        wanted = dict(enumerate((one, *after)))
        assert_same(f"{name} on one character", dict(enumerate((output, *last))), wanted)


Found = dict[str, Tensor] | dict[int, Tensor]


def assert_same(who: str, found: Found, wanted: Found) -> None:
    for (what, value), exact in zip(found.items(), wanted.values(), strict=True):
        if value.shape != exact.shape:
            fail(f"{who}: {what} is {tuple(value.shape)}, not {tuple(exact.shape)}")
        off = relative_difference(value, exact)
        if not off <= FLOAT64_TOLERANCE:
            fail(f"{who}: {what} is off by {off:.1e}")


@check("every kernel in float32 is near the float64 loop after 200 characters")
def check_kernels_float32(subject: CellCase) -> None:
    """At weights at which the plain loop itself is: wild ones make rounding grow, whoever walks."""
    deviation = 1.0
    while True:
        deviation /= 2
        exact = subject.randomized(deviation)
        narrow = subject.make()
        narrow.load_state_dict(exact.state_dict())
        with isolated_rng(2), torch.no_grad():
            x, start = random_tensor(LONG_SEQUENCE, BATCH, exact.input_size), reachable_state(exact)
            wanted, after = unroll_reference(exact, x, start)
            x, start = x.float(), tuple(part.float() for part in start)
            off = relative_rms_error(unroll_reference(narrow, x, start), (wanted, after))
        if off <= FLOAT32_TOLERANCE / 3:
            break
        if deviation < 1e-3:
            fail(f"the loop itself is off by {off:.1e}, near its first weights")
    for name in supported_kernels(narrow, "cpu"):
        off = relative_rms_error(
            get_kernel(name, narrow, "cpu")(narrow, x, start, None), (wanted, after)
        )
        if not off <= FLOAT32_TOLERANCE:
            fail(f"{name} is off by {off:.1e}")


def relative_rms_error(found: tuple[Tensor, State], wanted: tuple[Tensor, State]) -> float:
    """The largest relative error (RMS) of the outputs and of each part of the last state."""
    pairs = zip((found[0], *found[1]), (wanted[0], *wanted[1]), strict=True)
    off = [(one - exact).norm() / exact.norm().clamp_min(1e-30) for one, exact in pairs]
    return float(torch.stack(off).detach().max())


@check("training that is stopped goes on to the same bits")
def check_resume_is_bit_exact(subject: CellCase) -> None:
    sizes = {"embedding_dim": subject.inputs, "hidden_size": subject.hidden, "num_layers": 2}
    training = {
        "batch_size": BATCH,
        "seq_len": TIME,
        "dropout": 0.2,
        "initial_state": "learned",
        "warmup_steps": 0,
    }
    config = validate_config({"cell": subject.name, **sizes, **training})
    kernel, _ = select_kernel(config)
    batches = BatchSampler(np.random.default_rng(0).integers(0, SYMBOLS, 150), BATCH, TIME, 0)

    def learner(until: int, learner: Trainer[CharLM] | None = None) -> Trainer[CharLM]:
        new = learner or Trainer(build_char_lm(config, SYMBOLS, kernel, "cpu"), config, 6)
        while new.step < until:
            new.train_step(batches[new.step])
        return new

    whole, half, rest = learner(6), learner(3), learner(0)
    kept = {
        file: safetensors.load(safetensors.save({k: v.contiguous() for k, v in tensors.items()}))
        for file, tensors in half.state_tensors().items()
    }
    rest.load_state(kept, half.progress(0, None))
    learner(6, rest)
    for file, tensors in whole.state_tensors().items():
        for name, value in tensors.items():
            other = rest.state_tensors()[file][name]
            if not torch.equal(value, other):
                fail(
                    f"{name} is off by {relative_difference(other, value):.1e} when it was stopped half-way"
                )
