"""Checks of a cell's own promises: shapes, purity, causality, gradients, counts."""

import re

import torch
from safetensors import torch as safetensors
from torch import Tensor
from torch.nn.functional import embedding
from torch.utils.flop_counter import FlopCounterMode

from charlm.models.activation_capture import RecordingUnroll
from charlm.models.shapes import meta_device
from charlm.testing.case import (
    BATCH,
    FLOAT64_TOLERANCE,
    TIME,
    VOCABULARY,
    CellCase,
    check,
    fail,
    named_state,
    random_tensor,
    reachable_state,
    relative_difference,
    unroll_reference,
)
from charlm.testing.parameter_formula import evaluate_parameter_formula

FLOPS_CHECK = "flops counts the matrix products"  # required where costs are compared


@check("state shapes match `states`, the output first", required=True)
def check_state_shapes(case: CellCase) -> None:
    """Check number, shapes and dtypes of the parts of a state, and equal initial states."""
    cell = case.randomized()
    initial = cell.initial_state(BATCH)
    after = cell.step(cell.project_inputs(random_tensor(BATCH, cell.input_size)), initial)
    for method, state in (("initial_state", initial), ("step", after)):
        if not (isinstance(state, tuple) and all(isinstance(part, Tensor) for part in state)):
            fail(f"{method} does not return a tuple of tensors")
        if len(state) != len(cell.states):
            names = f"{len(cell.states)} ({', '.join(cell.states)})"
            fail(f"{method} returns {len(state)} parts, and `states` names {names}")
    for name, part, next_part in zip(cell.states, initial, after, strict=True):
        if part.shape != next_part.shape:
            shapes = f"{tuple(part.shape)} in initial_state and {tuple(next_part.shape)} in step"
            fail(f"{name} is {shapes}")
        if part.dtype != torch.float64 or next_part.dtype != torch.float64:
            dtypes = f"{part.dtype} in initial_state and {next_part.dtype} in step"
            fail(f"{name} is {dtypes}, and the weights are float64")
    if after[0].shape != (BATCH, cell.output_size):
        expected = (BATCH, cell.output_size)
        fail(f"state[0] is {tuple(after[0].shape)}, not (batch, output_size) = {expected}")
    for name, part, parts in zip(cell.states, cell.initial_state(1), initial, strict=True):
        if not torch.equal(part.expand_as(parts), parts):
            fail(f"the initial {name} differs between streams")


@check("step is pure", required=True)
def check_step_is_pure(case: CellCase) -> None:
    """Check that a step modifies nothing and gives the same result twice, and prepared."""
    cell = case.randomized()
    Wx, state = cell.project_inputs(random_tensor(BATCH, cell.input_size)), reachable_state(cell)
    copies = [part.clone() for part in (Wx, *state)]
    first, second = cell.step(Wx, state), cell.step(Wx, state)
    if not all(map(torch.equal, (Wx, *state), copies)):
        fail("step modifies its arguments")
    if not all(map(torch.equal, first, second)):
        fail("the same step gives another result the second time")
    if not all(map(torch.equal, first, cell.prepared().step(Wx, state))):
        fail("the step of prepared() gives another result")


@check("no token sees the future", required=True)
def check_causality(case: CellCase) -> None:
    """Check that a token changes only the outputs from its time on, and some of them."""
    cell = case.randomized()
    x, state = random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell)
    outputs, _ = unroll_reference(cell, x, state)
    for t in range(TIME):
        changed_x = x.clone()
        changed_x[t] += 1
        changed, _ = unroll_reference(cell, changed_x, state)
        if not torch.equal(changed[:t], outputs[:t]):
            off = relative_difference(changed[:t], outputs[:t])
            fail(f"changing token {t + 1} changes earlier outputs by {off:.1e}")
        if torch.equal(changed, outputs):
            fail(f"changing token {t + 1} changes no output")


@check("a text may be cut anywhere", required=True)
def check_chunk_invariance(case: CellCase) -> None:
    """Check that two parts of a text give the outputs and the last state of the whole."""
    cell = case.randomized()
    for state in (cell.initial_state(BATCH), reachable_state(cell)):
        x = random_tensor(TIME, BATCH, cell.input_size)
        outputs, last = unroll_reference(cell, x, state)
        for cut in range(1, TIME):
            first, middle = unroll_reference(cell, x[:cut], state)
            second, end = unroll_reference(cell, x[cut:], middle)
            off = relative_difference(torch.cat((first, second)), outputs)
            off = max(off, *map(relative_difference, end, last))
            if not off <= FLOAT64_TOLERANCE:
                fail(f"a cut after token {cut} of {TIME} changes it by {off:.1e}")


@check("streams of a batch are independent", required=True)
def check_batch_independence(case: CellCase) -> None:
    """Check that a stream does not change the outputs of others."""
    cell = case.randomized()
    x, state = random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell)
    outputs, _ = unroll_reference(cell, x, state)
    changed_x = x.clone()
    changed_x[:, 1] += 1
    changed, _ = unroll_reference(cell, changed_x, state)
    off = relative_difference(changed[:, [0, 2]], outputs[:, [0, 2]])
    if off:
        fail(f"changing stream 2 changes streams 1 and 3 by {off:.1e}")


@check("each token is projected by itself", required=True)
def check_projection_is_pointwise(case: CellCase) -> None:
    """Check that a projected table can be indexed, as the first layer does."""
    cell = case.randomized()
    table, ids = (
        random_tensor(VOCABULARY, cell.input_size),
        torch.randint(VOCABULARY, (TIME, BATCH)),
    )
    early = embedding(ids, cell.project_inputs(table))
    late = cell.project_inputs(embedding(ids, table))
    if early.shape != late.shape or not relative_difference(early, late) <= FLOAT64_TOLERANCE:
        fail("projecting a table and indexing it is not indexing it and projecting the result")


@check("step reads the last output, or output_is_readout is True")
def check_output_is_readout(case: CellCase) -> None:
    """Check `output_is_readout`, which decides whether the output counts as state."""
    cell = case.randomized()
    Wx = cell.project_inputs(random_tensor(BATCH, cell.input_size))
    output, *rest = reachable_state(cell)
    after = cell.step(Wx, (output, *rest))
    changed = cell.step(Wx, (output + random_tensor(*output.shape), *rest))
    is_ignored = all(map(torch.equal, after, changed))
    if is_ignored and not cell.output_is_readout:
        fail(
            "changing state[0] changes nothing, so it is not carried: set output_is_readout = True"
        )
    if cell.output_is_readout and not is_ignored:
        off = max(map(relative_difference, changed, after))
        fail(f"changing state[0] changes the step by {off:.1e}: set output_is_readout = False")


@check("gates are in [0, 1], one per unit or head")
def check_gate_range(case: CellCase) -> None:
    """Check the values that the cell records, and that it records all that it names."""
    cell, recording = case.randomized(), RecordingUnroll()
    with torch.no_grad():
        recording(cell, random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell))
    (activations,) = recording.seen
    for gate in cell.gate_descriptions:
        low, high = (float(end) for end in activations.gates[gate].aminmax())
        if not 0 <= low <= high <= 1:
            fail(f"{gate} is from {low:.3g} to {high:.3g}")


@check("gradients equal finite differences")
def check_gradients(case: CellCase) -> None:
    """Check gradients of x, initial state and weights, each along a random direction."""
    cell, epsilon = case.randomized(), 1e-6
    x, state = random_tensor(3, 2, cell.input_size), reachable_state(cell, 2)
    values = {"x": x, **named_state(cell, state), **dict(cell.named_parameters())}
    for value in values.values():
        value.requires_grad_()
    weights = [random_tensor(3, 2, cell.output_size)]
    weights += [random_tensor(*part.shape) for part in state]

    def loss() -> Tensor:
        outputs, last = unroll_reference(cell, x, state)
        terms = zip((outputs, *last), weights, strict=True)
        return torch.stack([(part * weight).sum() for part, weight in terms]).sum()

    gradients = torch.autograd.grad(loss(), list(values.values()), allow_unused=True)
    for (name, value), gradient in zip(values.items(), gradients, strict=True):
        if name.startswith("initial") and torch.equal(value, value.round()):
            continue  # a counter, which is undefined between integers
        direction = random_tensor(*value.shape)
        with torch.no_grad():
            losses = []
            for sign in (1, -2, 1):  # forward, backward, and back to where it was
                value += sign * epsilon * direction
                losses.append(float(loss()))
        expected = (losses[0] - losses[1]) / (2 * epsilon)
        slope = 0.0 if gradient is None else float((gradient * direction).sum())
        if not abs(slope - expected) <= 1e-6 * max(1, abs(expected)):
            fail(f"that of {name} is {slope:.6g}, and the finite difference is {expected:.6g}")


@check("the docstring states the number of parameters")
def check_parameter_count(case: CellCase) -> None:
    """Check the formula in the class docstring."""
    if case.input_size == case.hidden_size:
        return  # formulas are for X that is not H: with X = H some cells need no matrix
    cell = case.make()
    count = sum(parameter.numel() for parameter in cell.parameters())
    with meta_device():
        if count != sum(parameter.numel() for parameter in case.make().parameters()):
            fail("the parameters on the meta device are others")
    doc = type(cell).__doc__ or ""
    formula = re.search(r"Parameters: (.+?) for X inputs(?: and|,) H units", doc, re.S)
    if not formula:
        sentence = "Parameters: ... for X inputs and H units."
        fail(f"it states none, and there are {count}: add `{sentence}`")
    # X of an upper layer is the output that predicts, whatever else the layer below hands on.
    X = cell.hidden_size if case.upper_layer else cell.input_size
    sizes = {"X": X, "H": cell.hidden_size, "N": cell.num_heads}
    value = evaluate_parameter_formula(formula[1], sizes)
    if count != value:
        fail(f"{formula[1]} is {value:g}, and there are {count}")


@check(FLOPS_CHECK)
def check_flop_count(case: CellCase) -> None:
    """Check FLOPs of one token of one stream against PyTorch's count."""
    cell = case.make()
    ready = cell.prepared()
    with FlopCounterMode(display=False) as counter:
        ready.step(cell.project_inputs(torch.zeros(1, cell.input_size)), cell.initial_state(1))
    if (count := counter.get_total_flops()) != cell.step_flops:
        fail(f"flops is {cell.step_flops:,}, and PyTorch counts {count:,}")
    if not 0 <= cell.flops <= count:
        fail(f"flops is {cell.flops:,}, more than the {count:,} of a step")


@check("recurrent matrices are square views of weights")
def check_recurrent_matrices(case: CellCase) -> None:
    """Check that `recurrent_matrices` yields what can be initialized in place."""
    cell = case.make()
    for matrix in cell.recurrent_matrices():
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            fail(f"recurrent_matrices yields a matrix {tuple(matrix.shape)}")
        copies = [parameter.clone() for parameter in cell.parameters()]
        with torch.no_grad():
            matrix += 1
        if all(map(torch.equal, copies, cell.parameters())):
            fail("recurrent_matrices yields a copy: writing into it changes no weight")


@check("a saved and loaded cell gives the same outputs")
def check_serialization(case: CellCase) -> None:
    """Check that all that a cell uses is in its state_dict."""
    cell, loaded = case.randomized(), case.make().double()
    tensors = {name: tensor.contiguous() for name, tensor in cell.state_dict().items()}
    loaded.load_state_dict(safetensors.load(safetensors.save(tensors)))
    x, state = random_tensor(TIME, BATCH, cell.input_size), reachable_state(cell)
    outputs, again = unroll_reference(cell, x, state)[0], unroll_reference(loaded, x, state)[0]
    if not torch.equal(outputs, again):
        off = relative_difference(again, outputs)
        fail(f"the outputs differ by {off:.1e}: the cell uses a tensor that is not a Parameter")
