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
from charlm.config import checked
from charlm.corpus import Batches
from charlm.errors import BrokenPromise
from charlm.learner import Learner
from charlm.model import CharLM, make, resolve_kernel
from charlm.observe import Observer
from charlm.unroll import Unroll, choose, kernels, loop
from charlm.zoo import find, told

TIME, BATCH, SYMBOLS, LONG = 11, 3, 9, 200
EXACT = 1e-9  # two ways to the same float64, whatever the order of their sums
NARROW = 1e-5  # relative error (RMS) of a long walk in float32: a hundred roundings


class Subject(NamedTuple):
    """A cell of these sizes; above: the one that reads what such a cell hands on."""

    name: str
    inputs: int
    hidden: int
    above: bool = False

    def __str__(self) -> str:
        above = ", in an upper layer" if self.above else ""
        return f"{self.inputs} inputs and {self.hidden} units{above}"

    def make(self) -> Cell:
        cell = find(self.name)(self.inputs, self.hidden)
        return cell.above(cell) if self.above else cell

    def ready(self, deviation: float = 0.5) -> Cell:
        """In float64, and no weight at its convenient start."""
        with drawing(1):
            cell = self.make().double()
            for parameter in cell.parameters():
                parameter.data += deviation * some(*parameter.shape)
        return cell


def subjects(name: str) -> list[Subject]:
    """What is held to the promises: inputs that are not as wide as the units, and that are; and the
    layer above, where that is another cell. 9 units, if they may be: kernels take eight at once."""
    kind = find(name)
    hidden = 9 if kind.multiple == 1 else -(-8 // kind.multiple) * kind.multiple
    found = [Subject(name, 5, hidden), Subject(name, hidden, hidden)]
    cell = found[0].make()
    above = type(cell.above(cell)) is not kind
    return [*found, Subject(name, 5, hidden, above=True)] if above else found


Check = Callable[[Subject], None]
PROMISES: dict[str, Check] = {}
SOUND: list[str] = []  # those without which a score means nothing: training asks for no more


def promise(text: str, sound: bool = False) -> Callable[[Check], Check]:
    def put(check: Check) -> Check:
        PROMISES[text] = check
        if sound:
            SOUND.append(text)
        return check

    return put


def problem(name: str, text: str) -> str:
    """How the loaded cell of that name breaks the promise of that text; "" if it keeps it."""
    shape = ""
    try:
        for subject in subjects(name):
            shape = f"with {subject}: "
            with drawing(0):
                PROMISES[text](subject)
    except Exception as error:  # a foreign cell may raise anything
        return f"{shape}{error if isinstance(error, BrokenPromise) else told(error)}"
    return ""


def hold(name: str, texts: Iterable[str]) -> None:
    """Raises BrokenPromise if the cell breaks one of these."""
    for text in texts:
        if said := problem(name, text):
            raise BrokenPromise(f"{name}: {text}, but {said}")


def broken(problem: str) -> NoReturn:
    raise BrokenPromise(problem)


@contextmanager
def drawing(seed: int) -> Iterator[None]:
    """Random numbers that nobody else's depend on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def walk(cell: Cell, x: Tensor, start: State) -> tuple[Tensor, State]:
    return loop(cell, x, start, None)


@torch.no_grad()
def reached(cell: Cell, batch: int = BATCH) -> State:
    """A state that reading leads to: not every state that one could make up is one."""
    _, state = walk(cell, some(7, batch, cell.inputs), cell.start(batch))
    return state


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference; where the numbers are large, as a share of the largest."""
    one, other = one.detach(), other.detach()
    return float((one - other).abs().max() / other.abs().max().clamp_min(1))


# the cell alone


@promise("its state is as listed and begins with the output", sound=True)
def states(subject: Subject) -> None:
    cell = subject.ready()
    start = cell.start(BATCH)
    after = cell.step(cell.project(some(BATCH, cell.inputs)), start)
    listed = f"`states` lists {len(cell.states)} ({', '.join(cell.states)})"
    for what, state in (("start", start), ("step", after)):
        if not (isinstance(state, tuple) and all(isinstance(part, Tensor) for part in state)):
            broken(f"{what} does not give a tuple of tensors")
        if len(state) != len(cell.states):
            broken(f"{what} gives {len(state)} parts and {listed}")
    for name, one, other in zip(cell.states, start, after, strict=True):
        if one.shape != other.shape:
            broken(f"{name} is {tuple(one.shape)} from start and {tuple(other.shape)} from step")
        if one.dtype != torch.float64 or other.dtype != torch.float64:
            broken(
                f"{name} is {one.dtype} from start and {other.dtype} from step: not the weights'"
            )
    if after[0].shape != (BATCH, cell.width):
        broken(f"state[0] is {tuple(after[0].shape)}, not (batch, width): {(BATCH, cell.width)}")
    for name, one, other in zip(cell.states, cell.start(1), start, strict=True):
        if not torch.equal(one.expand_as(other), other):
            broken(f"not every stream begins with the same {name}")


@promise("its step is a pure function", sound=True)
def pure(subject: Subject) -> None:
    cell = subject.ready()
    Wx, state = cell.project(some(BATCH, cell.inputs)), reached(cell)
    given = [part.clone() for part in (Wx, *state)]
    first, again = cell.step(Wx, state), cell.step(Wx, state)
    if not all(map(torch.equal, (Wx, *state), given)):
        broken("step changes what it is given")
    if not all(map(torch.equal, first, again)):
        broken("the same step gives something else when it is done again")


@promise("no character sees the future", sound=True)
def future(subject: Subject) -> None:
    cell = subject.ready()
    x, start = some(TIME, BATCH, cell.inputs), reached(cell)
    before, _ = walk(cell, x, start)
    for changed in range(TIME):
        other = x.clone()
        other[changed] += 1
        after, _ = walk(cell, other, start)
        if not torch.equal(after[:changed], before[:changed]):
            off = apart(after[:changed], before[:changed])
            broken(f"another character {changed + 1} changes what comes before it by {off:.1e}")
        if torch.equal(after, before):
            broken(f"another character {changed + 1} changes nothing at all")


@promise("a text may be cut anywhere", sound=True)
def cuts(subject: Subject) -> None:
    cell = subject.ready()
    for before in (cell.start(BATCH), reached(cell)):
        x = some(TIME, BATCH, cell.inputs)
        whole, end = walk(cell, x, before)
        for cut in range(1, TIME):
            first, between = walk(cell, x[:cut], before)
            second, after = walk(cell, x[cut:], between)
            off = apart(torch.cat((first, second)), whole)
            off = max(off, *map(apart, after, end))
            if not off <= EXACT:
                broken(f"cut after character {cut} of {TIME}, it is off by {off:.1e}")


@promise("streams do not mix", sound=True)
def streams(subject: Subject) -> None:
    cell = subject.ready()
    x, start = some(TIME, BATCH, cell.inputs), reached(cell)
    before, _ = walk(cell, x, start)
    other = x.clone()
    other[:, 1] += 1
    after, _ = walk(cell, other, start)
    off = apart(after[:, [0, 2]], before[:, [0, 2]])
    if off:
        broken(f"another stream 2 changes streams 1 and 3 by {off:.1e}")


@promise("a character is projected by itself", sound=True)
def projection(subject: Subject) -> None:
    """So the first layer may project the table of characters, and pick from what it gives."""
    cell = subject.ready()
    table, ids = some(SYMBOLS, cell.inputs), torch.randint(SYMBOLS, (TIME, BATCH))
    early, late = embedding(ids, cell.project(table)), cell.project(embedding(ids, table))
    if early.shape != late.shape or not apart(early, late) <= EXACT:
        broken("picking and then projecting is not projecting and then picking")


@promise("its step looks at the output before, unless it says read_out")
def looks(subject: Subject) -> None:
    cell = subject.ready()
    Wx, (output, *rest) = cell.project(some(BATCH, cell.inputs)), reached(cell)
    one = cell.step(Wx, (output, *rest))
    other = cell.step(Wx, (output + some(*output.shape), *rest))
    same = all(map(torch.equal, one, other))
    if same and not cell.read_out:
        broken("another state[0] changes nothing: say read_out = True, as it is not carried")
    if cell.read_out and not same:
        off = max(map(apart, other, one))
        broken(f"another state[0] changes the step by {off:.1e}: it is carried, read_out = False")


@promise("its gates are from 0 to 1, for each unit or head")
def gates(subject: Subject) -> None:
    """And what else it names for who looks inside is there."""
    cell, observer = subject.ready(), Observer()
    with torch.no_grad():
        observer(cell, some(TIME, BATCH, cell.inputs), reached(cell))
    (seen,) = observer.seen
    for letter in cell.gates:
        low, high = (float(end) for end in seen.letters[letter].aminmax())
        if not 0 <= low <= high <= 1:
            broken(f"{letter} is from {low:.3g} to {high:.3g}")


@promise("its gradients are its finite differences")
def gradients(subject: Subject) -> None:
    """Along a random direction of x, of each part of the start state and of each weight."""
    cell, step = subject.ready(), 1e-6
    x, start = some(3, 2, cell.inputs), reached(cell, 2)
    values = {"x": x, **named(cell, start), **dict(cell.named_parameters())}
    for value in values.values():
        value.requires_grad_()
    share = [some(3, 2, cell.width), *(some(*part.shape) for part in start)]

    def loss() -> Tensor:
        outputs, last = walk(cell, x, start)
        return torch.stack(
            [(a * b).sum() for a, b in zip((outputs, *last), share, strict=True)]
        ).sum()

    found = torch.autograd.grad(loss(), list(values.values()), allow_unused=True)
    for (name, value), gradient in zip(values.items(), found, strict=True):
        if name.startswith("start") and torch.equal(value, value.round()):
            continue  # a counter: between whole numbers it means nothing
        way = some(*value.shape)
        with torch.no_grad():
            ends = []
            for sign in (1, -2, 1):  # there, to the other side, and back
                value += sign * step * way
                ends.append(float(loss()))
        wanted = (ends[0] - ends[1]) / (2 * step)
        got = 0.0 if gradient is None else float((gradient * way).sum())
        if not abs(got - wanted) <= 1e-6 * max(1, abs(wanted)):
            broken(f"of {name} it is {got:.6g}, and the finite difference is {wanted:.6g}")


def named(cell: Cell, state: State) -> dict[str, Tensor]:
    return {f"start {name}": part for name, part in zip(cell.states, state, strict=True)}


@promise("its parameters are as many as its docstring says")
def parameters(subject: Subject) -> None:
    if subject.inputs == subject.hidden:
        return  # a docstring speaks of X that is not H: some cells then need a matrix more
    cell = subject.make()
    counted = sum(parameter.numel() for parameter in cell.parameters())
    with torch.device("meta"):
        if counted != sum(parameter.numel() for parameter in subject.make().parameters()):
            broken("its parameters cannot be counted without making it")
    said = re.search(r"Parameters: (.+?) for X inputs and H units", type(cell).__doc__ or "", re.S)
    if not said:
        broken(f"it says none, and has {counted}: add `Parameters: ... for X inputs and H units.`")
    # An upper layer's X is what the layer below predicts with, whatever else it hands on.
    sizes = {"X": cell.hidden if subject.above else cell.inputs, "H": cell.hidden}
    if counted != arithmetic(said[1], sizes):
        broken(f"{said[1]} is {arithmetic(said[1], sizes):g}, and it has {counted}")


def arithmetic(formula: str, sizes: dict[str, int]) -> float:
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
        return broken(f"{formula} is no sum of products of X, H and numbers")

    spelled = re.sub(r"(?<=[\dXH)])\s*(?=[XH(])", "*", formula.replace("^", "**"))
    try:
        return value(ast.parse(" ".join(spelled.split()), mode="eval").body)
    except SyntaxError:
        return broken(f"{formula} cannot be read as arithmetic")


FLOPS = "its matrix products are as many as its flops say"  # what costs are compared by


@promise(FLOPS)
def flops(subject: Subject) -> None:
    """Of one character of one stream, as PyTorch counts them."""
    cell = subject.make()
    with FlopCounterMode(display=False) as counter:
        cell.step(cell.project(torch.zeros(1, cell.inputs)), cell.start(1))
    if (counted := counter.get_total_flops()) != cell.flops:
        broken(f"flops is {cell.flops:,}, and PyTorch counts {counted:,}")


@promise("its recurrent matrices are square, and views of its weights")
def recurrent(subject: Subject) -> None:
    cell = subject.make()
    for matrix in cell.recurrent():
        if matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
            broken(f"recurrent gives a matrix {tuple(matrix.shape)}")
        before = [parameter.clone() for parameter in cell.parameters()]
        with torch.no_grad():
            matrix += 1
        if all(map(torch.equal, before, cell.parameters())):
            broken("what recurrent gives is a copy: writing into it changes no weight")


@promise("what is saved and loaded again says the same")
def saved(subject: Subject) -> None:
    cell, again = subject.ready(), subject.make().double()
    kept = safetensors.load(safetensors.save({k: v.contiguous() for k, v in weights(cell).items()}))
    again.load_state_dict(kept)
    x, start = some(TIME, BATCH, cell.inputs), reached(cell)
    one, other = walk(cell, x, start)[0], walk(again, x, start)[0]
    if not torch.equal(one, other):
        broken(f"the outputs differ by {apart(other, one):.1e}: something it uses is no Parameter")


def weights(cell: Cell) -> dict[str, Tensor]:
    found: dict[str, Tensor] = cell.state_dict()
    return found


# and those who walk it


def everything(
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
    with drawing(3):
        shares = [(value * torch.randn_like(value)).sum() for value in found.values()]
    loss = shares[0] if ids is not None else torch.stack(shares).sum()
    slopes = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
    for (name, value), slope in zip(values.items(), slopes, strict=True):
        found[f"the gradient of {name}"] = torch.zeros_like(value) if slope is None else slope
    return {name: value.detach() for name, value in found.items()}


@promise("every kernel is the loop, only faster", sound=True)
def kernels_exact(subject: Subject) -> None:
    """Given characters and picked ones, many and one; in float64."""
    cell = subject.ready()
    x, start = some(TIME, BATCH, cell.inputs), reached(cell)
    table, learned = some(SYMBOLS, cell.inputs), reached(cell, 1)
    ids = torch.randint(SYMBOLS, (TIME, BATCH))
    given = everything(cell, loop, x, start)
    picked = everything(cell, loop, table, learned, ids)
    with torch.inference_mode():
        one, after = walk(cell, x[:1, :1], learned)
    for name in kernels(cell, "cpu"):
        unroll = choose(name, cell, "cpu")
        same(name, everything(cell, unroll, x, start), given)
        same(f"{name} on picked characters", everything(cell, unroll, table, learned, ids), picked)
        with torch.inference_mode():
            output, last = unroll(cell, x[:1, :1], learned, None)
        wanted = dict(enumerate((one, *after)))
        same(f"{name} on one character", dict(enumerate((output, *last))), wanted)


Found = dict[str, Tensor] | dict[int, Tensor]


def same(who: str, found: Found, wanted: Found) -> None:
    for (what, value), exact in zip(found.items(), wanted.values(), strict=True):
        if value.shape != exact.shape:
            broken(f"{who}: {what} is {tuple(value.shape)}, not {tuple(exact.shape)}")
        off = apart(value, exact)
        if not off <= EXACT:
            broken(f"{who}: {what} is off by {off:.1e}")


@promise("every kernel in float32 is near the float64 loop after 200 characters")
def kernels_narrow(subject: Subject) -> None:
    """At weights at which the plain loop itself is: wild ones make rounding grow, whoever walks."""
    deviation = 1.0
    while True:
        deviation /= 2
        exact = subject.ready(deviation)
        narrow = subject.make()
        narrow.load_state_dict(exact.state_dict())
        with drawing(2), torch.no_grad():
            x, start = some(LONG, BATCH, exact.inputs), reached(exact)
            wanted, after = walk(exact, x, start)
            x, start = x.float(), tuple(part.float() for part in start)
            off = error(walk(narrow, x, start), (wanted, after))
        if off <= NARROW / 3:
            break
        if deviation < 1e-3:
            broken(f"the loop itself is off by {off:.1e}, near its first weights")
    for name in kernels(narrow, "cpu"):
        off = error(choose(name, narrow, "cpu")(narrow, x, start, None), (wanted, after))
        if not off <= NARROW:
            broken(f"{name} is off by {off:.1e}")


def error(found: tuple[Tensor, State], wanted: tuple[Tensor, State]) -> float:
    """The largest relative error (RMS) of the outputs and of each part of the last state."""
    pairs = zip((found[0], *found[1]), (wanted[0], *wanted[1]), strict=True)
    off = [(one - exact).norm() / exact.norm().clamp_min(1e-30) for one, exact in pairs]
    return float(torch.stack(off).detach().max())


@promise("training that is stopped goes on to the same bits")
def resumed(subject: Subject) -> None:
    sizes = {"embedding": subject.inputs, "hidden": subject.hidden, "layers": 2}
    training = {"batch": BATCH, "time": TIME, "dropout": 0.2, "start": "learned", "warmup": 0}
    config = checked({"cell": subject.name, **sizes, **training})
    kernel, _ = resolve_kernel(config)
    batches = Batches(np.random.default_rng(0).integers(0, SYMBOLS, 150), BATCH, TIME, 0)

    def learner(until: int, learner: Learner[CharLM] | None = None) -> Learner[CharLM]:
        new = learner or Learner(make(config, SYMBOLS, kernel, "cpu"), config, 6)
        while new.update < until:
            new.learn(batches[new.update])
        return new

    whole, half, rest = learner(6), learner(3), learner(0)
    kept = {
        file: safetensors.load(safetensors.save({k: v.contiguous() for k, v in tensors.items()}))
        for file, tensors in half.tensors().items()
    }
    rest.restore(kept, half.progress(0, None))
    learner(6, rest)
    for file, tensors in whole.tensors().items():
        for name, value in tensors.items():
            other = rest.tensors()[file][name]
            if not torch.equal(value, other):
                broken(f"{name} is off by {apart(other, value):.1e} when it was stopped half-way")
