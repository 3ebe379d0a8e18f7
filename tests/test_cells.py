"""What every cell and every kernel promises."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from charlm import kernels as kernels
from charlm.cell import CELLS, Cell, State
from charlm.cells.gru import GRU
from charlm.cells.lstm import LSTM
from charlm.cells.rnn import RNN
from charlm.config import checked
from charlm.errors import BadConfig
from charlm.model import CharLM, resolve_kernel
from charlm.unroll import KERNELS, choose, loop

TIME, BATCH, INPUTS, HIDDEN = 11, 3, 5, 7
PAIRS = [
    (name, kind)
    for name, of in KERNELS
    for kind in CELLS.values()
    if issubclass(kind, of) and name != "loop"
]


@pytest.fixture(params=CELLS)
def cell(request: pytest.FixtureRequest) -> Cell:
    return ready(CELLS[request.param])


def ready(kind: type[Cell], dtype: torch.dtype = torch.float64) -> Cell:
    torch.manual_seed(1)
    made = kind(INPUTS, HIDDEN).to(dtype)
    for parameter in made.parameters():  # no bias is at its convenient start
        nn.init.normal_(parameter, std=0.5)
    return made


def some(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=dtype)


def somewhere(cell: Cell, dtype: torch.dtype = torch.float64) -> State:
    return tuple(some(*part.shape, dtype=dtype) for part in cell.start(BATCH))


def test_each_cell_has_a_file_of_its_name() -> None:
    assert {kind.__module__.rpartition(".")[2].replace("_", "-") for kind in CELLS.values()} == set(
        CELLS
    )


def test_its_parameters_are_as_many_as_its_docstring_says() -> None:
    for kind in CELLS.values():
        said = re.search(r"Parameters: (.+?) for X inputs", kind.__doc__ or "")
        assert said, f"{kind.__name__} does not say how many parameters it has"
        formula = re.sub(r"(?<=[\dH])(?=[XH(])", "*", said[1])  # 3H(X + 1) -> 3*H*(X + 1)
        counted = sum(p.numel() for p in kind(INPUTS, HIDDEN).parameters())
        assert counted == eval(formula, {"X": INPUTS, "H": HIDDEN})


def test_its_state_is_as_listed_and_begins_with_the_output(cell: Cell) -> None:
    state = cell.step(cell.project(some(1, BATCH, INPUTS))[0], cell.start(BATCH))
    assert len(state) == len(cell.states) == len(cell.start(BATCH))
    outputs, last = loop(cell, some(TIME, BATCH, INPUTS), somewhere(cell))
    assert outputs.shape == (TIME, BATCH, HIDDEN)
    assert_close(outputs[-1], last[0], rtol=0, atol=0)


def test_a_long_text_may_be_cut_anywhere(cell: Cell) -> None:
    x, start = some(TIME, BATCH, INPUTS), somewhere(cell)
    whole, end = loop(cell, x, start)
    for cut in range(1, TIME):
        first, between = loop(cell, x[:cut], start)
        second, after = loop(cell, x[cut:], between)
        assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)
        assert_close(after, end, rtol=0, atol=1e-12)


def test_no_character_sees_the_future(cell: Cell) -> None:
    x, start = some(TIME, BATCH, INPUTS), somewhere(cell)
    before, _ = loop(cell, x, start)
    for changed in range(TIME):
        other = x.clone()
        other[changed] += 1
        after, _ = loop(cell, other, start)
        same = (before == after).all(-1).all(-1)
        assert same[:changed].all() and not same[changed:].any()


def test_streams_do_not_mix(cell: Cell) -> None:
    x, start = some(TIME, BATCH, INPUTS), somewhere(cell)
    before, _ = loop(cell, x, start)
    other = x.clone()
    other[0, 1] += 1
    after, _ = loop(cell, other, start)
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.equal(before[:, 1], after[:, 1])


def test_its_gradients_are_its_finite_differences(cell: Cell) -> None:
    x = some(3, 2, INPUTS).requires_grad_()
    start = tuple(part[:2].clone().requires_grad_() for part in somewhere(cell))
    names = [name for name, _ in cell.named_parameters()]

    def walked(x: Tensor, *rest: Tensor) -> Tensor:
        weights = dict(zip(names, rest[len(start) :], strict=True))
        state = rest[: len(start)]
        for now in x:
            projected = torch.func.functional_call(
                Call(cell, "project"), prefixed(weights), (now[None],)
            )
            state = torch.func.functional_call(
                Call(cell, "step"), prefixed(weights), (projected[0], state)
            )
        return torch.cat(state)

    parameters = tuple(p.detach().clone().requires_grad_() for p in cell.parameters())
    assert torch.autograd.gradcheck(walked, (x, *start, *parameters))


class Call(nn.Module):
    """A method of a cell as a module's forward, so that its weights can be given."""

    def __init__(self, cell: Cell, method: str) -> None:
        super().__init__()
        self.cell, self.method = cell, method

    def forward(self, *words: object) -> object:
        return getattr(self.cell, self.method)(*words)


def prefixed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"cell.{name}": value for name, value in weights.items()}


def everything(cell: Cell, unroll: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Outputs, final state and every gradient of a walk from a state that is not zero."""
    torch.manual_seed(2)
    x = some(TIME, BATCH, INPUTS, dtype=dtype).requires_grad_()
    start = tuple(part.requires_grad_() for part in somewhere(cell, dtype))
    outputs, last = choose(unroll, type(cell))(cell, x, start)
    found = {"outputs": outputs, **{f"last {n}": s for n, s in zip(cell.states, last, strict=True)}}
    loss = sum((value * some(*value.shape, dtype=dtype)).sum() for value in found.values())
    assert isinstance(loss, Tensor)
    loss.backward()
    found |= {f"d {name}": p.grad for name, p in cell.named_parameters() if p.grad is not None}
    found |= {f"d start {n}": s.grad for n, s in zip(cell.states, start, strict=True)}
    assert len(found) == 1 + 2 * len(cell.states) + len(list(cell.parameters()))
    return found | {"d x": x.grad}


@pytest.mark.parametrize(("name", "kind"), PAIRS, ids=lambda p: getattr(p, "__name__", p))
def test_every_kernel_is_the_loop_only_faster(name: str, kind: type[Cell]) -> None:
    reference = everything(ready(kind), "loop", torch.float64)
    for quantity, value in everything(ready(kind), name, torch.float64).items():
        assert_close(value, reference[quantity], rtol=0, atol=1e-9, msg=quantity)


@pytest.mark.parametrize(("name", "kind"), PAIRS, ids=lambda p: getattr(p, "__name__", p))
def test_every_kernel_is_as_exact_in_float32_as_the_loop(name: str, kind: type[Cell]) -> None:
    torch.manual_seed(1)
    exact = ready(kind, torch.float64)
    narrow = kind(INPUTS, HIDDEN)
    narrow.load_state_dict(exact.state_dict())
    torch.manual_seed(2)
    x, start = some(200, BATCH, INPUTS), somewhere(exact)
    wanted, _ = loop(exact, x, start)
    got, _ = choose(name, kind)(narrow, x.float(), tuple(part.float() for part in start))
    error = (got - wanted).square().mean().sqrt() / wanted.square().mean().sqrt()
    assert error < 1e-5


def copied(ours: RNN | GRU | LSTM, theirs: nn.RNNBase) -> None:
    """Our weights in PyTorch's module; its second bias is ours only inside the GRU's candidate."""
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.W.weight)
        theirs.weight_hh_l0.copy_(ours.U.weight)
        theirs.bias_ih_l0.copy_(ours.W.bias)
        theirs.bias_hh_l0.zero_()
        if isinstance(ours, GRU):
            theirs.bias_hh_l0[2 * HIDDEN :].copy_(ours.b)


@pytest.mark.parametrize(
    ("kind", "theirs"), [(RNN, nn.RNN), (GRU, nn.GRU), (LSTM, nn.LSTM)], ids=["rnn", "gru", "lstm"]
)
def test_it_is_pytorchs_own(kind: type, theirs: type) -> None:
    """Outputs, final state and every gradient, float64 to 1e-9, from a state that is not zero."""
    ours = ready(kind)
    module = theirs(INPUTS, HIDDEN).double()
    copied(ours, module)
    torch.manual_seed(3)
    x = some(TIME, BATCH, INPUTS).requires_grad_()
    x2 = x.detach().clone().requires_grad_()
    start = tuple(part.requires_grad_() for part in somewhere(ours))
    start2 = tuple(part.detach().clone().requires_grad_() for part in start)
    outputs, last = loop(ours, x, start)
    given = tuple(part[None] for part in start2)
    outputs2, last2 = module(x2, given if kind is LSTM else given[0])
    last2 = tuple(part[0] for part in (last2 if kind is LSTM else (last2,)))
    assert_close(outputs, outputs2, rtol=0, atol=1e-9)
    assert_close(last, last2, rtol=0, atol=1e-9)

    weight, weights = some(*outputs.shape), [some(*part.shape) for part in last]
    for out, end in ((outputs, last), (outputs2, last2)):
        loss = (out * weight).sum()
        loss = loss + sum((p * w).sum() for p, w in zip(end, weights, strict=True))
        loss.backward()
    assert_close(x.grad, x2.grad, rtol=0, atol=1e-9)
    for a, b in zip(start, start2, strict=True):
        assert_close(a.grad, b.grad, rtol=0, atol=1e-9)
    assert_close(ours.W.weight.grad, module.weight_ih_l0.grad, rtol=0, atol=1e-9)
    assert_close(ours.U.weight.grad, module.weight_hh_l0.grad, rtol=0, atol=1e-9)
    assert_close(ours.W.bias.grad, module.bias_ih_l0.grad, rtol=0, atol=1e-9)
    if isinstance(ours, GRU):
        assert_close(ours.b.grad, module.bias_hh_l0.grad[2 * HIDDEN :], rtol=0, atol=1e-9)


def test_gates_that_keep_begin_open() -> None:
    assert (LSTM(INPUTS, HIDDEN).W.bias[HIDDEN : 2 * HIDDEN] == 1).all()
    assert (GRU(INPUTS, HIDDEN).W.bias[HIDDEN : 2 * HIDDEN] == 1).all()


def test_a_kernel_that_a_cell_has_not_is_an_error_and_never_another() -> None:
    with pytest.raises(BadConfig, match="no kernel called 'scan'; it has fused, loop"):
        choose("scan", LSTM)


def test_an_unknown_cell_is_told_its_nearest() -> None:
    with pytest.raises(BadConfig, match="no cell is called 'lsmt'; did you mean lstm"):
        CELLS["lsmt"]


@pytest.mark.parametrize("cell_name", CELLS)
def test_a_model_of_two_layers_may_be_cut_anywhere_too(cell_name: str) -> None:

    config = checked({"cell": cell_name, "layers": 2, "hidden": 6, "embedding": 4})
    torch.manual_seed(0)
    model = CharLM(config, 9, resolve_kernel(config)).double().eval()
    ids = torch.randint(9, (TIME, BATCH))
    whole, end = model(ids, model.start(BATCH))
    first, between = model(ids[:4], model.start(BATCH))
    second, after = model(ids[4:], between)
    assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)
    assert_close(after, end, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_acts_on_what_each_layer_hands_on_and_in_training_only(layers: int) -> None:
    config = checked({"dropout": 0.5, "layers": layers, "hidden": 6, "embedding": 4})
    model = CharLM(config, 9)
    ids = torch.randint(9, (TIME, BATCH))
    one, state = model(ids, model.start(BATCH))
    two, other = model(ids, model.start(BATCH))
    assert not torch.equal(one, two)
    assert_close(state[0], other[0], rtol=0, atol=0)  # never on what a layer itself carries on
    model.eval()
    one, _ = model(ids, model.start(BATCH))
    two, _ = model(ids, model.start(BATCH))
    assert torch.equal(one, two)


def test_tied_weights_are_one_table() -> None:

    tied = CharLM(checked({"tie": True, "embedding": 6, "hidden": 6}), 9)
    free = CharLM(checked({"embedding": 6, "hidden": 6}), 9)
    count = [sum(p.numel() for p in model.parameters()) for model in (tied, free)]
    assert count[1] - count[0] == 9 * 6
    with pytest.raises(BadConfig, match="--embedding 256"):
        checked({"tie": True})
