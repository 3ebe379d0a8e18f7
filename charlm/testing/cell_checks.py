"""TODO docstring."""

import re

import torch
from safetensors import torch as safetensors
from torch import Tensor
from torch.nn.functional import embedding
from torch.utils.flop_counter import FlopCounterMode

from charlm.cells.base import Cell, State
from charlm.models.activation_capture import RecordingUnroll
from charlm.testing.check import (
    BATCH,
    FLOAT64_TOLERANCE,
    SYMBOLS,
    TIME,
    CellCase,
    check,
    fail,
    random_tensor,
    reachable_state,
    relative_difference,
    unroll_reference,
)
from charlm.testing.parameter_formula import evaluate_parameter_formula


@check("its state is as listed and begins with the output", sound=True)
def check_state_shapes(subject: CellCase) -> None:
    cell = subject.randomized()
    start = cell.initial_state(BATCH)
    after = cell.step(cell.project_inputs(random_tensor(BATCH, cell.input_size)), start)
    listed = f"`states` lists {len(cell.states)} ({', '.join(cell.states)})"
    for what, state in (("start", start), ("step", after)):
        if not (isinstance(state, tuple) and all(isinstance(part, Tensor) for part in state)):
            fail(f"{what} does not give a tuple of tensors")
        if len(state) != len(cell.states):
            fail(f"{what} gives {len(state)} parts and {listed}")
    for name, one, other in zip(cell.states, start, after, strict=True):
        if one.shape != other.shape:
            fail(f"{name} is {tuple(one.shape)} from start and {tuple(other.shape)} from step")
        if one.dtype != torch.float64 or other.dtype != torch.float64:
            fail(f"{name} is {one.dtype} from start and {other.dtype} from step: not the weights'")
    if after[0].shape != (BATCH, cell.output_size):
        fail(
            f"state[0] is {tuple(after[0].shape)}, not (batch, width): {(BATCH, cell.output_size)}"
        )
    for name, one, other in zip(cell.states, cell.initial_state(1), start, strict=True):
        if not torch.equal(one.expand_as(other), other):
            fail(f"not every stream begins with the same {name}")


@check("its step is a pure function", sound=True)
def check_step_is_pure(subject: CellCase) -> None:
    cell = subject.randomized()
    Wx, state = cell.project_inputs(random_tensor(BATCH, cell.input_size)), reachable_state(cell)
    given = [part.clone() for part in (Wx, *state)]
    first, again = cell.step(Wx, state), cell.step(Wx, state)
    if not all(map(torch.equal, (Wx, *state), given)):
        fail("step changes what it is given")
    if not all(map(torch.equal, first, again)):
        fail("the same step gives something else when it is done again")


@check("no character sees the future", sound=True)
def check_causality(subject: CellCase) -> None:
    cell = subject.randomized()
    x, start = random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell)
    before, _ = unroll_reference(cell, x, start)
    for changed in range(TIME):
        other = x.clone()
        other[changed] += 1
        after, _ = unroll_reference(cell, other, start)
        if not torch.equal(after[:changed], before[:changed]):
            off = relative_difference(after[:changed], before[:changed])
            fail(f"another character {changed + 1} changes what comes before it by {off:.1e}")
        if torch.equal(after, before):
            fail(f"another character {changed + 1} changes nothing at all")


@check("a text may be cut anywhere", sound=True)
def check_chunk_invariance(subject: CellCase) -> None:
    cell = subject.randomized()
    for before in (cell.initial_state(BATCH), reachable_state(cell)):
        x = random_tensor(TIME, BATCH, cell.input_size)
        whole, end = unroll_reference(cell, x, before)
        for cut in range(1, TIME):
            first, between = unroll_reference(cell, x[:cut], before)
            second, after = unroll_reference(cell, x[cut:], between)
            off = relative_difference(torch.cat((first, second)), whole)
            off = max(off, *map(relative_difference, after, end))
            if not off <= FLOAT64_TOLERANCE:
                fail(f"cut after character {cut} of {TIME}, it is off by {off:.1e}")


@check("streams do not mix", sound=True)
def check_batch_independence(subject: CellCase) -> None:
    cell = subject.randomized()
    x, start = random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell)
    before, _ = unroll_reference(cell, x, start)
    other = x.clone()
    other[:, 1] += 1
    after, _ = unroll_reference(cell, other, start)
    off = relative_difference(after[:, [0, 2]], before[:, [0, 2]])
    if off:
        fail(f"another stream 2 changes streams 1 and 3 by {off:.1e}")


@check("a character is projected by itself", sound=True)
def check_projection_is_pointwise(subject: CellCase) -> None:
    """So the first layer may project the table of characters, and pick from what it gives."""
    cell = subject.randomized()
    table, ids = random_tensor(SYMBOLS, cell.input_size), torch.randint(SYMBOLS, (TIME, BATCH))
    early, late = (
        embedding(ids, cell.project_inputs(table)),
        cell.project_inputs(embedding(ids, table)),
    )
    if early.shape != late.shape or not relative_difference(early, late) <= FLOAT64_TOLERANCE:
        fail("picking and then projecting is not projecting and then picking")


@check("its step looks at the output before, unless it says output_is_readout")
def check_output_is_readout(subject: CellCase) -> None:
    cell = subject.randomized()
    Wx, (output, *rest) = (
        cell.project_inputs(random_tensor(BATCH, cell.input_size)),
        reachable_state(cell),
    )
    one = cell.step(Wx, (output, *rest))
    other = cell.step(Wx, (output + random_tensor(*output.shape), *rest))
    same = all(map(torch.equal, one, other))
    if same and not cell.output_is_readout:
        fail("another state[0] changes nothing: say output_is_readout = True, as it is not carried")
    if cell.output_is_readout and not same:
        off = max(map(relative_difference, other, one))
        fail(
            f"another state[0] changes the step by {off:.1e}: it is carried, output_is_readout = False"
        )


@check("its gates are from 0 to 1, for each unit or head")
def check_gate_range(subject: CellCase) -> None:
    """And what else it names for who looks inside is there."""
    cell, observer = subject.randomized(), RecordingUnroll()
    with torch.no_grad():
        observer(cell, random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell))
    (seen,) = observer.seen
    for letter in cell.gate_descriptions:
        low, high = (float(end) for end in seen.gates[letter].aminmax())
        if not 0 <= low <= high <= 1:
            fail(f"{letter} is from {low:.3g} to {high:.3g}")


@check("its gradients are its finite differences")
def check_gradients(subject: CellCase) -> None:
    """Along a random direction of x, of each part of the start state and of each weight."""
    cell, step = subject.randomized(), 1e-6
    x, start = random_tensor(3, 2, cell.input_size), reachable_state(cell, 2)
    values = {"x": x, **named(cell, start), **dict(cell.named_parameters())}
    for value in values.values():
        value.requires_grad_()
    share = [random_tensor(3, 2, cell.output_size), *(random_tensor(*part.shape) for part in start)]

    def loss() -> Tensor:
        outputs, last = unroll_reference(cell, x, start)
        return torch.stack(
            [(a * b).sum() for a, b in zip((outputs, *last), share, strict=True)]
        ).sum()

    found = torch.autograd.grad(loss(), list(values.values()), allow_unused=True)
    for (name, value), gradient in zip(values.items(), found, strict=True):
        if name.startswith("start") and torch.equal(value, value.round()):
            continue  # a counter: between whole numbers it means nothing
        way = random_tensor(*value.shape)
        with torch.no_grad():
            ends = []
            for sign in (1, -2, 1):  # there, to the other side, and back
                value += sign * step * way
                ends.append(float(loss()))
        wanted = (ends[0] - ends[1]) / (2 * step)
        got = 0.0 if gradient is None else float((gradient * way).sum())
        if not abs(got - wanted) <= 1e-6 * max(1, abs(wanted)):
            fail(f"of {name} it is {got:.6g}, and the finite difference is {wanted:.6g}")


def named(cell: Cell, state: State) -> dict[str, Tensor]:
    return {f"start {name}": part for name, part in zip(cell.states, state, strict=True)}


@check("its parameters are as many as its docstring says")
def check_parameter_count(subject: CellCase) -> None:
    if subject.inputs == subject.hidden:
        return  # a docstring speaks of X that is not H: some cells then need a matrix more
    cell = subject.make()
    counted = sum(parameter.numel() for parameter in cell.parameters())
    with torch.device("meta"):
        if counted != sum(parameter.numel() for parameter in subject.make().parameters()):
            fail("its parameters cannot be counted without making it")
    said = re.search(r"Parameters: (.+?) for X inputs and H units", type(cell).__doc__ or "", re.S)
    if not said:
        fail(f"it says none, and has {counted}: add `Parameters: ... for X inputs and H units.`")
    # An upper layer's X is what the layer below predicts with, whatever else it hands on.
    sizes = {
        "X": cell.hidden_size if subject.upper_layer else cell.input_size,
        "H": cell.hidden_size,
    }
    if counted != evaluate_parameter_formula(said[1], sizes):
        fail(f"{said[1]} is {evaluate_parameter_formula(said[1], sizes):g}, and it has {counted}")


FLOPS = "its matrix products are as many as its flops say"  # what costs are compared by


@check(FLOPS)
def check_flop_count(subject: CellCase) -> None:
    """Of one character of one stream, as PyTorch counts them."""
    cell = subject.make()
    with FlopCounterMode(display=False) as counter:
        cell.step(cell.project_inputs(torch.zeros(1, cell.input_size)), cell.initial_state(1))
    if (counted := counter.get_total_flops()) != cell.flops:
        fail(f"flops is {cell.flops:,}, and PyTorch counts {counted:,}")


@check("its recurrent matrices are square, and views of its weights")
def check_recurrent_matrices(subject: CellCase) -> None:
    cell = subject.make()
    for matrix in cell.recurrent_matrices():
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            fail(f"recurrent gives a matrix {tuple(matrix.shape)}")
        before = [parameter.clone() for parameter in cell.parameters()]
        with torch.no_grad():
            matrix += 1
        if all(map(torch.equal, before, cell.parameters())):
            fail("what recurrent gives is a copy: writing into it changes no weight")


@check("what is saved and loaded again says the same")
def check_serialization(subject: CellCase) -> None:
    cell, again = subject.randomized(), subject.make().double()
    kept = safetensors.load(safetensors.save({k: v.contiguous() for k, v in weights(cell).items()}))
    again.load_state_dict(kept)
    x, start = random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell)
    one, other = unroll_reference(cell, x, start)[0], unroll_reference(again, x, start)[0]
    if not torch.equal(one, other):
        fail(
            f"the outputs differ by {relative_difference(other, one):.1e}: something it uses is no Parameter"
        )


def weights(cell: Cell) -> dict[str, Tensor]:
    found: dict[str, Tensor] = cell.state_dict()
    return found
