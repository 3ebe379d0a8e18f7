"""What every cell promises, and every kernel that walks it; also for a cell of one's own.

A broken promise is one line: which, at which sizes, by how much.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, NoReturn

import numpy as np
import torch
from safetensors import torch as safetensors
from torch import Tensor
from torch.nn.functional import embedding
from torch.utils.flop_counter import FlopCounterMode

from charlm.cell import Cell, State
from charlm.config import validate_config
from charlm.corpus import BatchSampler
from charlm.errors import CellCheckError
from charlm.learner import Trainer
from charlm.model import CharLM, build_char_lm, select_kernel
from charlm.observe import RecordingUnroll
from charlm.unroll import Unroll, get_kernel, supported_kernels, unroll_loop
from charlm.zoo import get_cell, format_exception

TIME, BATCH, SYMBOLS, LONG_SEQUENCE = 11, 3, 9, 200
FLOAT64_TOLERANCE = 1e-9  # two ways to the same float64, whatever the order of their sums
FLOAT32_TOLERANCE = 1e-5  # relative error (RMS) of a long walk in float32: a hundred roundings


class CellCase(NamedTuple):
    """A cell of these sizes; above: the one that reads what such a cell hands on."""

    name: str
    inputs: int
    hidden: int
    upper_layer: bool = False

    def __str__(self) -> str:
        above = ", in an upper layer" if self.upper_layer else ""
        return f"{self.inputs} inputs and {self.hidden} units{above}"

    def make(self) -> Cell:
        cell = get_cell(self.name)(self.inputs, self.hidden)
        return cell.make_upper_layer(cell) if self.upper_layer else cell

    def randomized(self, deviation: float = 0.5) -> Cell:
        """In float64, and no weight at its convenient start."""
        with isolated_rng(1):
            cell = self.make().double()
            for parameter in cell.parameters():
                parameter.data += deviation * random_tensor(*parameter.shape)
        return cell


def cell_cases(name: str) -> list[CellCase]:
    """What is held to the promises: inputs that are not as wide as the units, and that are; and the
    layer above, where that is another cell. 9 units, if they may be: kernels take eight at once."""
    kind = get_cell(name)
    hidden = 9 if kind.hidden_size_multiple == 1 else -(-8 // kind.hidden_size_multiple) * kind.hidden_size_multiple
    found = [CellCase(name, 5, hidden), CellCase(name, hidden, hidden)]
    cell = found[0].make()
    above = type(cell.make_upper_layer(cell)) is not kind
    return [*found, CellCase(name, 5, hidden, upper_layer=True)] if above else found


Check = Callable[[CellCase], None]
CHECKS: dict[str, Check] = {}
REQUIRED_CHECKS: list[str] = []  # those without which a score means nothing: training asks for no more


def check(text: str, sound: bool = False) -> Callable[[Check], Check]:
    def put(check: Check) -> Check:
        CHECKS[text] = check
        if sound:
            REQUIRED_CHECKS.append(text)
        return check

    return put


def run_check(name: str, text: str) -> str:
    """How the loaded cell of that name breaks the promise of that text; "" if it keeps it."""
    shape = ""
    try:
        for subject in cell_cases(name):
            shape = f"with {subject}: "
            with isolated_rng(0):
                CHECKS[text](subject)
    except Exception as error:  # a foreign cell may raise anything
        return f"{shape}{error if isinstance(error, CellCheckError) else format_exception(error)}"
    return ""


def require(name: str, texts: Iterable[str]) -> None:
    """Raises BrokenPromise if the cell breaks one of these."""
    for text in texts:
        if said := run_check(name, text):
            raise CellCheckError(f"{name}: {text}, but {said}")


def fail(problem: str) -> NoReturn:
    raise CellCheckError(problem)


@contextmanager
def isolated_rng(seed: int) -> Iterator[None]:
    """Random numbers that nobody else's depend on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def random_tensor(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def unroll_reference(cell: Cell, x: Tensor, start: State) -> tuple[Tensor, State]:
    return unroll_loop(cell, x, start, None)


@torch.no_grad()
def reachable_state(cell: Cell, batch: int = BATCH) -> State:
    """A state that reading leads to: not every state that one could make up is one."""
    _, state = unroll_reference(cell, random_tensor(7, batch, cell.input_size), cell.initial_state(batch))
    return state


def relative_difference(one: Tensor, other: Tensor) -> float:
    """The largest difference; where the numbers are large, as a share of the largest."""
    one, other = one.detach(), other.detach()
    return float((one - other).abs().max() / other.abs().max().clamp_min(1))


# the cell alone


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
            fail(
                f"{name} is {one.dtype} from start and {other.dtype} from step: not the weights'"
            )
    if after[0].shape != (BATCH, cell.output_size):
        fail(f"state[0] is {tuple(after[0].shape)}, not (batch, width): {(BATCH, cell.output_size)}")
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
    early, late = embedding(ids, cell.project_inputs(table)), cell.project_inputs(embedding(ids, table))
    if early.shape != late.shape or not relative_difference(early, late) <= FLOAT64_TOLERANCE:
        fail("picking and then projecting is not projecting and then picking")


@check("its step looks at the output before, unless it says output_is_readout")
def check_output_is_readout(subject: CellCase) -> None:
    cell = subject.randomized()
    Wx, (output, *rest) = cell.project_inputs(random_tensor(BATCH, cell.input_size)), reachable_state(cell)
    one = cell.step(Wx, (output, *rest))
    other = cell.step(Wx, (output + random_tensor(*output.shape), *rest))
    same = all(map(torch.equal, one, other))
    if same and not cell.output_is_readout:
        fail("another state[0] changes nothing: say output_is_readout = True, as it is not carried")
    if cell.output_is_readout and not same:
        off = max(map(relative_difference, other, one))
        fail(f"another state[0] changes the step by {off:.1e}: it is carried, output_is_readout = False")


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
    sizes = {"X": cell.hidden_size if subject.upper_layer else cell.input_size, "H": cell.hidden_size}
    if counted != evaluate_parameter_formula(said[1], sizes):
        fail(f"{said[1]} is {evaluate_parameter_formula(said[1], sizes):g}, and it has {counted}")


def evaluate_parameter_formula(formula: str, sizes: dict[str, int]) -> float:
    """3H(X + 1) with H and X."""
    signs = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
    signs |= {ast.Div: operator.truediv, ast.Pow: operator.pow}

    def value(node: ast.expr) -> float:
        if isinstance(node, ast.BinOp) and type(node.op) in signs:
            return signs[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Name) and node.id in sizes:
            return sizes[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        return fail(f"{formula} is no sum of products of X, H and numbers")

    spelled = re.sub(r"(?<=[\dXH)])\s*(?=[XH(])", "*", formula.replace("^", "**"))
    try:
        return value(ast.parse(" ".join(spelled.split()), mode="eval").body)
    except SyntaxError:
        return fail(f"{formula} cannot be read as arithmetic")


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
        fail(f"the outputs differ by {relative_difference(other, one):.1e}: something it uses is no Parameter")


def weights(cell: Cell) -> dict[str, Tensor]:
    found: dict[str, Tensor] = cell.state_dict()
    return found


# and those who walk it


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
        assert_same(f"{name} on picked characters", forward_and_gradients(cell, unroll, table, learned, ids), picked)
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
        off = relative_rms_error(get_kernel(name, narrow, "cpu")(narrow, x, start, None), (wanted, after))
        if not off <= FLOAT32_TOLERANCE:
            fail(f"{name} is off by {off:.1e}")


def relative_rms_error(found: tuple[Tensor, State], wanted: tuple[Tensor, State]) -> float:
    """The largest relative error (RMS) of the outputs and of each part of the last state."""
    pairs = zip((found[0], *found[1]), (wanted[0], *wanted[1]), strict=True)
    off = [(one - exact).norm() / exact.norm().clamp_min(1e-30) for one, exact in pairs]
    return float(torch.stack(off).detach().max())


@check("training that is stopped goes on to the same bits")
def check_resume_is_bit_exact(subject: CellCase) -> None:
    sizes = {"embedding": subject.inputs, "hidden": subject.hidden, "layers": 2}
    training = {"batch": BATCH, "time": TIME, "dropout": 0.2, "start": "learned", "warmup": 0}
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
                fail(f"{name} is off by {relative_difference(other, value):.1e} when it was stopped half-way")
