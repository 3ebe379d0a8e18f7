"""Gates by name: what is seen of a cell while it reads is what its step computed."""

import sys

import pytest
import torch
from torch import Tensor, nn, sigmoid
from torch.testing import assert_close

from charlm.cells.base import CELLS, Cell, LinearCell, State
from charlm.config import validate_config
from charlm.errors import ConfigError
from charlm.kernels.loop import unroll_loop
from charlm.models.activation_capture import LayerActivations, RecordingUnroll, capture_activations
from charlm.models.char_lm import CharLM

TIME, BATCH, INPUTS, HIDDEN = 9, 3, 5, 8
LAYERS = [(name, above) for name in CELLS for above in (False, True)]
KEEPING = [name for name in CELLS if CELLS[name].retention_expression]


def made(name: str, above: bool = False) -> Cell:
    """A cell in float64, none of whose weights is at its convenient beginning."""
    torch.manual_seed(1)
    cell = CELLS[name](INPUTS, HIDDEN)
    cell = (cell.make_upper_layer(cell) if above else cell).double()
    for parameter in cell.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    return cell


@torch.no_grad()
def seen(cell: Cell, x: Tensor) -> tuple[LayerActivations, Tensor, State]:
    observer = RecordingUnroll()
    outputs, state = observer(cell, x, cell.initial_state(x.shape[1]))
    (found,) = observer.seen
    return found, outputs, state


def text(cell: Cell, time: int = TIME) -> Tensor:
    return torch.randn(time, BATCH, cell.input_size, dtype=torch.float64)


@pytest.mark.parametrize(("name", "above"), LAYERS)
def test_who_looks_changes_nothing(name: str, above: bool) -> None:
    cell = made(name, above)
    x = text(cell)
    _, outputs, state = seen(cell, x)
    wanted, last = unroll_loop(cell, x, cell.initial_state(BATCH))
    assert torch.equal(outputs, wanted)
    assert all(map(torch.equal, state, last))
    assert sys.getprofile() is None


@pytest.mark.parametrize(("name", "above"), LAYERS)
def test_each_gate_has_one_value_between_0_and_1_for_each_unit(name: str, above: bool) -> None:
    cell = made(name, above)
    found, outputs, _ = seen(cell, text(cell))
    assert set(found.gates) == {*cell.gate_descriptions, cell.candidate_name} - {""}
    for values in (*found.states.values(), *found.gates.values()):
        assert values.shape == (TIME, BATCH, HIDDEN)
    for gate in cell.gate_descriptions:
        values = found.gates[gate]
        assert 0 <= values.min() < values.max() <= 1, gate
    assert torch.equal(next(iter(found.states.values())), outputs[..., :HIDDEN])


HOLDS = {  # what is held after a character, of what was held before it and the gates
    "lstm": ("c", lambda c, f, i, g, **_: f * c + i * g),
    "peephole-lstm": ("c", lambda c, f, i, g, **_: f * c + i * g),
    "layernorm-lstm": ("c", lambda c, f, i, g, **_: f * c + i * g),
    "mul-lstm": ("c", lambda c, f, i, g, **_: f * c + i * g),
    "mogrifier": ("c", lambda c, f, i, g, **_: f * c + i * g),
    "depth-gated-lstm": ("c", lambda c, f, i, g, **_: f * c + i * g),
    "coupled-lstm": ("c", lambda c, f, g, **_: f * c + (1 - f) * g),
    "gru": ("h", lambda h, z, n, **_: z * h + (1 - z) * n),
    "gru-cho": ("h", lambda h, z, n, **_: z * h + (1 - z) * n),
    "mingru": ("h", lambda h, z, n, **_: (1 - z) * h + z * n),
    "minlstm": ("h", lambda h, f, i, n, **_: f * h + i * n),
    "rg-lru": ("h", lambda h, a, i, u, **_: a * h + (1 - a * a + 1e-6).sqrt() * i * u),
    "qrnn": ("c", lambda c, f, z, **_: f * c + (1 - f) * z),
    "sru": ("c", lambda c, f, u, **_: f * c + (1 - f) * u),
    "slstm": ("c / n", lambda held, kept, z, **_: kept * held + (1 - kept) * z),
}


@pytest.mark.parametrize("name", HOLDS)
def test_the_equation_of_what_is_held_is_true_of_what_is_seen(name: str) -> None:
    cell = made(name)
    found, _, _ = seen(cell, text(cell))
    state, equation = HOLDS[name]
    held = found.states[state]
    assert found.retention is not None
    words = {**found.gates, state if state.isalpha() else "held": held[:-1]}
    words |= {key: words[key][1:] for key in found.gates}
    assert_close(equation(**words, kept=found.retention[1:]), held[1:], rtol=0, atol=1e-12)


# Where what is held does not reach the gates, by its place in the state.
APART = {"lstm": 1, "coupled-lstm": 1, "layernorm-lstm": 1, "mul-lstm": 1, "mogrifier": 1}
APART |= {"slstm": 1, "qrnn": 1, "mingru": 0, "minlstm": 0, "rg-lru": 0}


@pytest.mark.parametrize("name", APART)
def test_the_share_kept_is_what_is_left_of_a_difference(name: str) -> None:
    cell = made(name)
    x = text(cell)
    _, _, before = seen(cell, x)
    other = tuple(part + (place == APART[name]) for place, part in enumerate(before))
    observer = RecordingUnroll()
    with torch.no_grad():
        ends = [observer(cell, x[:1], state)[1] for state in (before, other)]
    was, now = (
        [list(cell.unit_states(state).values())[-1] for state in pair]
        for pair in ((before, other), ends)
    )
    kept = observer.seen[0].retention
    assert kept is not None
    assert_close(now[1] - now[0], kept[0] * (was[1] - was[0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", KEEPING)
def test_each_unit_keeps_a_share(name: str) -> None:
    """Which is a gate's value, where the equations write it as a gate."""
    cell = made(name)
    found, _, _ = seen(cell, text(cell))
    assert found.retention is not None and found.retention.shape == (TIME, BATCH, HIDDEN)
    assert found.retention.min() >= 0
    if cell.retention_expression in cell.gate_descriptions:
        assert torch.equal(found.retention, found.gates[cell.retention_expression])


def test_units_of_a_linear_recurrence_keep_what_their_equations_say() -> None:
    for name, wanted in {
        "lru": lambda cell: torch.exp(-torch.exp(cell.nu)),
        "clockwork": lambda cell: torch.exp(-1 / cell.period),
    }.items():
        cell = made(name)
        found, _, _ = seen(cell, text(cell))
        assert found.retention is not None
        assert_close(found.retention, wanted(cell).detach().double().expand_as(found.retention))


def test_a_unit_of_the_indrnn_keeps_a_share_where_relu_lets_it_through() -> None:
    cell = made("indrnn")
    found, outputs, _ = seen(cell, text(cell))
    assert 0.2 < (outputs > 0).double().mean() < 0.8
    assert found.retention is not None
    assert_close(found.retention, (cell.u.abs() * (outputs > 0)).detach())


def test_a_head_s_forget_gate_is_that_of_each_of_its_units() -> None:
    cell = made("matrix-lstm")
    x = text(cell)
    found, _, _ = seen(cell, x)
    wanted = sigmoid(cell.W(x)[..., -4:]).repeat_interleave(HIDDEN // 4, dim=-1)
    assert found.retention is not None
    assert_close(found.retention, wanted.detach())


def test_a_module_of_the_clockwork_changes_when_its_clock_says_so() -> None:
    cell = made("clockwork")
    found, _, _ = seen(cell, text(cell))
    h, due = found.states["h"], found.gates["due"]
    assert torch.equal(h[1:][due[1:] == 0], h[:-1][due[1:] == 0])
    assert (h[1:][due[1:] == 1] != h[:-1][due[1:] == 1]).all()


def test_the_upper_layer_s_depth_gate_lets_the_cell_state_below_in() -> None:
    cell = made("depth-gated-lstm", above=True)
    x = text(cell)
    found, _, _ = seen(cell, x)
    d, f, i, g = (found.gates[name][1:] for name in "dfig")
    c, e = found.states["c"], x.chunk(2, dim=-1)[1]
    assert_close(c[1:], d * e[1:] + f * c[:-1] + i * g, rtol=0, atol=1e-12)


def test_a_model_is_seen_layer_by_layer_and_then_walks_as_before() -> None:
    torch.manual_seed(0)
    config = validate_config({"cell": "gru", "num_layers": 2, "hidden_size": 8, "embedding_dim": 4})
    model = CharLM(config, 5).eval()
    ids, before = torch.randint(5, (TIME, 2)), model.unrolls
    with torch.no_grad():
        wanted, _ = model(ids, model.initial_state(2))
        with capture_activations(model) as found:
            logits, _ = model(ids, model.initial_state(2))
    assert torch.equal(logits, wanted)
    assert [layer.states["h"].shape for layer in found] == [(TIME, 2, 8)] * 2
    assert torch.equal(model.predict(found[1].states["h"]), wanted)
    assert model.unrolls is before


class Own(LinearCell):
    """A person's: one letter is in the coefficients, and one in a step around the inherited one."""

    gate_descriptions = {"f": "keep gate", "half": "half of it"}

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, hidden)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(Wx)
        return f, 1 - f

    def step(self, Wx: Tensor, state: State) -> State:
        half = sigmoid(Wx) / 2
        (h,) = super().step(Wx, state)
        return (h * half,)


def test_a_cell_of_one_s_own_is_seen_in_all_its_methods() -> None:
    cell = Own(INPUTS, HIDDEN).double()
    found, _, _ = seen(cell, text(cell))
    assert_close(found.gates["half"], found.gates["f"] / 2)
    assert torch.equal(found.retention, found.gates["f"])


@pytest.mark.parametrize("width", [16, 3])
def test_a_gate_that_has_not_one_number_for_each_unit_is_an_error(width: int) -> None:
    class Odd(Own):
        def step(self, Wx: Tensor, state: State) -> State:
            half = sigmoid(Wx).repeat(1, 2)[:, :width]
            return (half[:, :1] * super().step(Wx, state)[0],)

    cell = Odd(INPUTS, HIDDEN).double()
    with pytest.raises(ConfigError, match=f"half has {width} numbers, and there are 8 units"):
        seen(cell, text(cell))


def test_a_gate_that_no_step_computes_is_an_error() -> None:
    cell = Own(INPUTS, HIDDEN).double()
    cell.gate_descriptions = {"q": "a gate that is not there"}
    with pytest.raises(ConfigError, match="gates` name q, and its step computes no q"):
        seen(cell, text(cell))
    assert sys.getprofile() is None
