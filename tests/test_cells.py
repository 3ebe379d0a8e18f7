"""What every cell and every kernel promises, and that a promise which is broken is noticed."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from charlm.cells import loader
from charlm.cells.base import CELLS, Cell, State
from charlm.cells.gru import GRU
from charlm.cells.lstm import LSTM
from charlm.cells.rnn import RNN
from charlm.config import validate_config
from charlm.errors import CellCheckError, ConfigError
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import get_kernel
from charlm.models.build import select_kernel
from charlm.models.char_lm import CharLM
from charlm.testing import check
from charlm.testing.check import CHECKS
from charlm.testing.parameter_formula import evaluate_parameter_formula

TIME, BATCH, INPUTS, HIDDEN = 11, 3, 5, 7


@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_keeps_its_promise(cell: str, promise: str) -> None:
    check.require(cell, [promise])


def test_each_cell_has_a_file_of_its_name_and_a_paper() -> None:
    for name, kind in CELLS.items():
        assert kind.__module__ == f"charlm.cells.{name.replace('-', '_')}"
        assert re.match(r"\w.+ \(\d{4}\), \"", loader.citation(kind)), name


# Faults planted for good. Those who walk a cell may stumble over any of its faults.

BROKEN = Path(__file__).parent / "broken_cells.py"
STATES, PURE, FUTURE, CUT, STREAMS, PROJECTION, LOOKS, GATES = list(CHECKS)[:8]
GRADIENTS, COUNT, FLOPS, MATRICES, SAVED, KERNELS, FLOAT32, TRAINING = list(CHECKS)[8:]
FAULTS: dict[str, tuple[set[str], str]] = {
    "Sound": (set(), ""),
    "WithoutItsSecondState": (
        {STATES, GATES, GRADIENTS},
        r"step gives 1 parts and `states` lists 2 \(h, c\)",
    ),
    "OfAnotherShape": ({STATES}, r"h is \(3, 9, 1\) from start and \(3, 9\) from step"),
    "StreamsBeginApart": ({STATES}, "not every stream begins with the same h"),
    "WritesIntoItsState": (
        {PURE, CUT, FUTURE, STREAMS, GRADIENTS, SAVED},
        "step changes what it is given",
    ),
    "RemembersByItself": ({PURE, CUT, FUTURE, STREAMS, GRADIENTS}, "when it is done again"),
    "LooksBackInProject": ({CUT, PROJECTION}, "cut after character 1 of 11, it is off by"),
    "SeesTheFuture": (
        {FUTURE, CUT, PROJECTION},
        "character 2 changes what comes before it by 6.5e-01",
    ),
    "ReadsNothing": ({FUTURE}, "another character 1 changes nothing at all"),
    "MixesStreams": ({STREAMS}, "another stream 2 changes streams 1 and 3 by 5.3e-01"),
    "SaysItsOutputIsOnlyRead": ({LOOKS}, "changes the step by .*output_is_readout = False"),
    "CarriesItsOutputForNothing": ({LOOKS}, "changes nothing: say output_is_readout = True"),
    "NamesAGateThatIsNotThere": ({GATES}, "its step computes no z"),
    "NamesWhatIsNoGate": ({GATES}, "f is from -[0-9.]+ to "),
    "HasAGateOfTwiceTheUnits": ({GATES}, "both has 18 numbers, and there are 9 units"),
    "StopsTheGradient": ({GRADIENTS}, "of x it is -6.75884, and the finite difference is -7.00497"),
    "Miscounts": ({COUNT}, r"2H\(X \+ H\) is 252, and it has 270"),
    "SaysNoNumber": ({COUNT}, "it says none, and has 270: add"),
    "SaysNonsense": ({COUNT}, "is no sum of products"),
    "CannotBeMeasured": ({COUNT}, "RuntimeError: Tensor.item.* meta"),
    "MultipliesTwice": ({FLOPS}, "flops is 504, and PyTorch counts 684"),
    "CopiesItsMatrix": ({MATRICES}, "is a copy: writing into it changes no weight"),
    "MatrixIsNotSquare": ({MATRICES}, r"gives a matrix \(18, 9\)"),
    "WeightIsNoParameter": ({SAVED}, "the outputs differ by 1.*something it uses is no Parameter"),
    "LearnsAside": ({TRAINING}, "is off by .* when it was stopped half-way"),
    "Forgotten": ({KERNELS}, "forgets: the output is off by 1.5e.00"),
    "Unpicked": ({KERNELS}, "picks-others on picked characters: the output is off by"),
    "Kept": ({KERNELS}, "keeps-its-end: the last h is off by 1.5e.00"),
    "Detached": ({KERNELS}, "detaches: the gradient of x is off by 1"),
    "Rounded": ({FLOAT32}, "rounds is off by 1.6e-04"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_broken_promise_is_named(kind: str) -> None:
    name = f"{BROKEN}:{kind}"
    loader.load_custom_cell(name)
    breaks, says = FAULTS[kind]
    found = {promise for promise in CHECKS if check.run_check(name, promise)}
    follow = {KERNELS, FLOAT32, TRAINING} if breaks else set()
    assert breaks <= found <= breaks | follow
    if breaks:
        first = next(promise for promise in CHECKS if promise in breaks)
        with pytest.raises(CellCheckError, match=f"{kind}: {first}, but with 5 inputs.*: .*{says}"):
            check.require(name, [promise for promise in CHECKS if promise in breaks])


def test_what_a_cell_raises_breaks_its_promise() -> None:
    name = f"{BROKEN}:Raises"
    loader.load_custom_cell(name)
    with pytest.raises(CellCheckError, match="begins with the output, but with .*: RuntimeError: "):
        check.require(name, CHECKS)


def test_every_fault_is_tried() -> None:
    planted = set(re.findall(r"^class (\w+)", BROKEN.read_text(), re.M))
    assert planted == {*FAULTS, "Raises"}


def test_a_formula_is_read_as_it_is_written() -> None:
    sizes = {"X": 5, "H": 8}
    assert evaluate_parameter_formula("3H(X + 1) + H", sizes) == 3 * 8 * 6 + 8
    assert evaluate_parameter_formula("HX + 4H(X +\n H/4 - 1)", sizes) == 40 + 32 * 6
    assert evaluate_parameter_formula("9H*H/16 + (X + 1)(H + 1) + H^2", sizes) == 36 + 54 + 64
    for wrong in ("4Y", "", "H(X", "H**X()", "H.real", "2.5H"):
        with pytest.raises(CellCheckError):
            evaluate_parameter_formula(wrong, sizes)


# PyTorch's own


def ready(kind: type[Cell]) -> Cell:
    torch.manual_seed(1)
    made = kind(INPUTS, HIDDEN).double()
    for parameter in made.parameters():  # no bias is at its convenient start
        nn.init.normal_(parameter, std=0.5)
    return made


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def somewhere(cell: Cell) -> State:
    return tuple(some(*part.shape) for part in cell.initial_state(BATCH))


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
    outputs, last = unroll_loop(ours, x, start, None)
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
    with pytest.raises(
        ConfigError, match="--kernel fused: IRNN has no fused kernel; this cell has"
    ):
        get_kernel("fused", CELLS["irnn"](INPUTS, HIDDEN), "cpu")
    with pytest.raises(ConfigError, match="no kernel is called 'warp'; there are loop, "):
        get_kernel("warp", LSTM(INPUTS, HIDDEN), "cpu")


def test_an_unknown_cell_is_told_its_nearest() -> None:
    with pytest.raises(ConfigError, match="no cell is called 'lsmt'; did you mean lstm"):
        loader.get_cell("lsmt")


# the model around it


@pytest.mark.parametrize("cell_name", CELLS)
def test_a_model_of_two_layers_may_be_cut_anywhere_too(cell_name: str) -> None:
    hidden = check.cell_cases(cell_name)[0].hidden  # of which there are compiled kernels by now
    config = validate_config(
        {"cell": cell_name, "num_layers": 2, "hidden_size": hidden, "embedding_dim": 4}
    )
    torch.manual_seed(0)
    model = CharLM(config, 9, select_kernel(config)[0]).double().eval()
    ids = torch.randint(9, (TIME, BATCH))
    whole, end = model(ids, model.initial_state(BATCH))
    first, between = model(ids[:4], model.initial_state(BATCH))
    second, after = model(ids[4:], between)
    assert_close(torch.cat((first, second)), whole, rtol=0, atol=1e-12)
    assert_close(after, end, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_acts_on_what_each_layer_hands_on_and_in_training_only(layers: int) -> None:
    config = validate_config(
        {"dropout": 0.5, "num_layers": layers, "hidden_size": 6, "embedding_dim": 4}
    )
    model = CharLM(config, 9)
    ids = torch.randint(9, (TIME, BATCH))
    one, state = model(ids, model.initial_state(BATCH))
    two, other = model(ids, model.initial_state(BATCH))
    assert not torch.equal(one, two)
    assert_close(state[0], other[0], rtol=0, atol=0)  # never on what a layer itself carries on
    model.eval()
    one, _ = model(ids, model.initial_state(BATCH))
    two, _ = model(ids, model.initial_state(BATCH))
    assert torch.equal(one, two)


def test_tied_weights_are_one_table() -> None:
    tied = CharLM(validate_config({"tie_weights": True, "embedding_dim": 6, "hidden_size": 6}), 9)
    free = CharLM(validate_config({"embedding_dim": 6, "hidden_size": 6}), 9)
    count = [sum(p.numel() for p in model.parameters()) for model in (tied, free)]
    assert count[1] - count[0] == 9 * 6
    with pytest.raises(ConfigError, match="--embedding-dim 256"):
        validate_config({"tie_weights": True})
