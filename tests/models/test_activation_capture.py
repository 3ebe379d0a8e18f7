"""Tests of recorded gates: they are what the step computed, by names checked at class creation."""

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.testing import assert_close

from charlm.cells.base import CELLS, Cell, State
from charlm.cells.gru import GRU
from charlm.cells.linear_cell import LinearCell
from charlm.cells.recorded_names import recorded_names
from charlm.config import validate_config
from charlm.errors import ConfigError
from charlm.kernels.loop import unroll_loop
from charlm.models.activation_capture import LayerActivations, RecordingUnroll, capture_activations
from charlm.models.char_lm import CharLM

TIME, BATCH, INPUT_SIZE, HIDDEN_SIZE = 9, 3, 5, 8
LAYERS = [(name, is_upper) for name in CELLS for is_upper in (False, True)]
WITH_RETENTION = [name for name in CELLS if CELLS[name].retention_expression]


def randomized(name: str, is_upper: bool = False) -> Cell:
    """Return a float64 cell, none of whose parameters is at its initial value."""
    torch.manual_seed(1)
    cell = CELLS[name](INPUT_SIZE, HIDDEN_SIZE)
    cell = (cell.make_upper_layer(cell) if is_upper else cell).double()
    for parameter in cell.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, dtype=torch.float64)
    return cell


@torch.no_grad()
def observe(cell: Cell, x: Tensor) -> tuple[LayerActivations, Tensor, State]:
    recording = RecordingUnroll()
    outputs, state = recording(cell, x, cell.initial_state(x.shape[1]))
    (activations,) = recording.seen
    return activations, outputs, state


def random_inputs(cell: Cell, time: int = TIME) -> Tensor:
    return torch.randn(time, BATCH, cell.input_size, dtype=torch.float64)


@pytest.mark.parametrize(("name", "is_upper"), LAYERS)
def test_observation_changes_nothing(name: str, is_upper: bool) -> None:
    cell = randomized(name, is_upper)
    x = random_inputs(cell)
    _, outputs, state = observe(cell, x)
    expected, last = unroll_loop(cell, x, cell.initial_state(BATCH))
    assert torch.equal(outputs, expected)
    assert all(map(torch.equal, state, last))
    assert cell.recorded is None and "recorded" not in vars(cell)


@pytest.mark.parametrize(("name", "is_upper"), LAYERS)
def test_gates_have_one_value_in_0_to_1_per_unit(name: str, is_upper: bool) -> None:
    cell = randomized(name, is_upper)
    activations, outputs, _ = observe(cell, random_inputs(cell))
    assert set(activations.gates) == {*cell.gate_descriptions, cell.candidate_name} - {""}
    for values in (*activations.states.values(), *activations.gates.values()):
        assert values.shape == (TIME, BATCH, HIDDEN_SIZE)
    for gate in cell.gate_descriptions:
        values = activations.gates[gate]
        assert 0 <= values.min() < values.max() <= 1, gate
    assert torch.equal(next(iter(activations.states.values())), outputs[..., :HIDDEN_SIZE])


UPDATES = {  # the memory after a token, from the memory before it and the gates
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
    "slstm": ("c / n", lambda memory, retained, z, **_: retained * memory + (1 - retained) * z),
}


@pytest.mark.parametrize("name", UPDATES)
def test_recorded_values_satisfy_the_state_equation(name: str) -> None:
    cell = randomized(name)
    activations, _, _ = observe(cell, random_inputs(cell))
    state, update = UPDATES[name]
    memory = activations.states[state]
    assert activations.retention is not None
    variables = {gate: values[1:] for gate, values in activations.gates.items()}
    variables[state if state.isalpha() else "memory"] = memory[:-1]
    after = update(**variables, retained=activations.retention[1:])
    assert_close(after, memory[1:], rtol=0, atol=1e-12)


# Cells whose memory does not reach the gates, with its position in the state.
MEMORY_POSITION = {"lstm": 1, "coupled-lstm": 1, "layernorm-lstm": 1, "mul-lstm": 1, "mogrifier": 1}
MEMORY_POSITION |= {"slstm": 1, "qrnn": 1, "mingru": 0, "minlstm": 0, "rg-lru": 0}


@pytest.mark.parametrize("name", MEMORY_POSITION)
def test_retention_is_the_fraction_left_of_a_difference(name: str) -> None:
    cell = randomized(name)
    x = random_inputs(cell)
    _, _, state = observe(cell, x)
    changed = tuple(part + (k == MEMORY_POSITION[name]) for k, part in enumerate(state))
    recording = RecordingUnroll()
    with torch.no_grad():
        ends = [recording(cell, x[:1], start)[1] for start in (state, changed)]
    before, after = (
        [list(cell.unit_states(part).values())[-1] for part in pair]
        for pair in ((state, changed), ends)
    )
    retention = recording.seen[0].retention
    assert retention is not None
    difference = retention[0] * (before[1] - before[0])
    assert_close(after[1] - after[0], difference, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", WITH_RETENTION)
def test_each_unit_has_a_retention(name: str) -> None:
    """It is a gate's value if the equations write it as a gate."""
    cell = randomized(name)
    activations, _, _ = observe(cell, random_inputs(cell))
    retention = activations.retention
    assert retention is not None and retention.shape == (TIME, BATCH, HIDDEN_SIZE)
    assert retention.min() >= 0
    if cell.retention_expression in cell.gate_descriptions:
        assert torch.equal(retention, activations.gates[cell.retention_expression])


def test_constant_retention_is_that_of_the_equations() -> None:
    for name, expected in {
        "lru": lambda cell: torch.exp(-torch.exp(cell.nu)),
        "clockwork": lambda cell: torch.exp(-1 / cell.period),
    }.items():
        cell = randomized(name)
        retention = observe(cell, random_inputs(cell))[0].retention
        assert retention is not None
        assert_close(retention, expected(cell).detach().double().expand_as(retention))


def test_indrnn_retains_where_relu_is_positive() -> None:
    cell = randomized("indrnn")
    activations, outputs, _ = observe(cell, random_inputs(cell))
    assert 0.2 < (outputs > 0).double().mean() < 0.8
    assert activations.retention is not None
    assert_close(activations.retention, (cell.u.abs() * (outputs > 0)).detach())


def test_forget_gate_of_a_head_is_that_of_its_units() -> None:
    cell = randomized("matrix-lstm")
    x = random_inputs(cell)
    activations, _, _ = observe(cell, x)
    expected = sigmoid(cell.W(x)[..., -4:]).repeat_interleave(HIDDEN_SIZE // 4, dim=-1)
    assert activations.retention is not None
    assert_close(activations.retention, expected.detach())


def test_clockwork_module_changes_when_its_clock_is_due() -> None:
    cell = randomized("clockwork")
    activations, _, _ = observe(cell, random_inputs(cell))
    h, due = activations.states["h"], activations.gates["due"]
    assert torch.equal(h[1:][due[1:] == 0], h[:-1][due[1:] == 0])
    assert (h[1:][due[1:] == 1] != h[:-1][due[1:] == 1]).all()


def test_depth_gate_of_upper_layer_adds_cell_state_below() -> None:
    cell = randomized("depth-gated-lstm", is_upper=True)
    x = random_inputs(cell)
    activations, _, _ = observe(cell, x)
    d, f, i, g = (activations.gates[name][1:] for name in "dfig")
    c, e = activations.states["c"], x.chunk(2, dim=-1)[1]
    assert_close(c[1:], d * e[1:] + f * c[:-1] + i * g, rtol=0, atol=1e-12)


def test_model_is_observed_by_layer_and_restored() -> None:
    torch.manual_seed(0)
    config = validate_config({"cell": "gru", "num_layers": 2, "hidden_size": 8, "embedding_dim": 4})
    model = CharLM(config, 5).eval()
    ids, unrolls = torch.randint(5, (TIME, 2)), model.unrolls
    with torch.no_grad():
        expected, _ = model(ids, model.initial_state(2))
        with capture_activations(model) as layers:
            logits, _ = model(ids, model.initial_state(2))
    assert torch.equal(logits, expected)
    assert [layer.states["h"].shape for layer in layers] == [(TIME, 2, 8)] * 2
    assert torch.equal(model.predict(layers[1].states["h"]), expected)
    assert model.unrolls is unrolls


# Custom cells.


class Custom(LinearCell):
    """One gate is recorded in `coefficients`, and one in a step around the inherited one."""

    gate_descriptions = {"f": "forget gate", "half": "half of it"}
    retention_expression = "f"

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def coefficients(self, Wx: Tensor) -> tuple[Tensor, Tensor]:
        f = sigmoid(Wx)
        self.record(f=f)
        return f, 1 - f

    def step(self, Wx: Tensor, state: State) -> State:
        half = sigmoid(Wx) / 2
        self.record(half=half)
        (h,) = super().step(Wx, state)
        return (h * half,)


def test_custom_cell_is_observed_in_all_its_methods() -> None:
    cell = Custom(INPUT_SIZE, HIDDEN_SIZE).double()
    activations, _, _ = observe(cell, random_inputs(cell))
    assert_close(activations.gates["half"], activations.gates["f"] / 2)
    assert torch.equal(activations.retention, activations.gates["f"])


class Plain(Cell):
    """A cell that names no gates."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, Wx: Tensor, state: State) -> State:
        return (tanh(Wx + 0.5 * state[0]),)


def test_custom_cell_without_gates_is_observed() -> None:
    cell = Plain(INPUT_SIZE, HIDDEN_SIZE).double()
    activations, outputs, _ = observe(cell, random_inputs(cell))
    assert torch.equal(activations.states["h"], outputs)
    assert activations.gates == {} and activations.retention is None


class Constant(Plain, LinearCell):
    """A linear cell with one number for all units."""

    def step(self, Wx: Tensor, state: State) -> State:
        return LinearCell.step(self, Wx, state)

    def coefficients(self, Wx: Tensor) -> tuple[float, Tensor]:
        return 0.9, Wx


def test_retention_may_be_a_number() -> None:
    cell = Constant(INPUT_SIZE, HIDDEN_SIZE).double()
    retention = observe(cell, random_inputs(cell))[0].retention
    assert retention is not None and torch.equal(retention, torch.full_like(retention, 0.9))


@pytest.mark.parametrize("width", [16, 3])
def test_gate_without_one_value_per_unit_is_an_error(width: int) -> None:
    class Odd(Custom):
        def step(self, Wx: Tensor, state: State) -> State:
            half = sigmoid(Wx).repeat(1, 2)[:, :width]
            self.record(half=half)
            (h,) = LinearCell.step(self, Wx, state)
            return (half[:, :1] * h,)

    cell = Odd(INPUT_SIZE, HIDDEN_SIZE).double()
    message = f"cannot observe half: it has {width} numbers, and the cell has 8 units"
    with pytest.raises(ConfigError, match=message):
        observe(cell, random_inputs(cell))


@pytest.mark.parametrize(
    "names",
    [
        {"gate_descriptions": {"q": "a gate"}},
        {"candidate_name": "q"},
        {"retention_expression": "q"},
        {"gate_descriptions": {"z": "update gate", "q": "a gate"}},
    ],
    ids=str,
)
def test_naming_a_gate_that_is_not_recorded_fails_at_class_creation(names: dict) -> None:
    with pytest.raises(TypeError, match=r"Own does not record q\. Call self.record\(q=q\) in step"):
        type("Own", (GRU,), names)


def test_override_that_records_nothing_fails_at_class_creation() -> None:
    def step(self: GRU, Wx: Tensor, state: State) -> State:
        return (tanh(Wx[..., : self.hidden_size]),)

    with pytest.raises(TypeError, match=r"Own records none of n, r, z\. Call"):
        type("Own", (GRU,), {"step": step})


def test_override_that_calls_super_inherits_recorded_names() -> None:
    class Own(GRU):
        def step(self, Wx: Tensor, state: State) -> State:
            return super().step(Wx, state)

    assert {"r", "z", "n"} <= recorded_names(Own)


def test_gate_that_no_step_records_is_an_error_when_observed() -> None:
    cell = Custom(INPUT_SIZE, HIDDEN_SIZE).double()
    cell.gate_descriptions = {"q": "a gate"}
    with pytest.raises(ConfigError, match=r"its step did not record q\. Try self.record\(q=q\)"):
        observe(cell, random_inputs(cell))
    assert cell.recorded is None


def test_retention_expression_must_be_a_recorded_name() -> None:
    message = r'class Own: retention_expression must be the name .* not "1 - z"\. .*\(k=1 - z\)'
    with pytest.raises(TypeError, match=message):
        type("Own", (GRU,), {"retention_expression": "1 - z", "retention": Cell.retention})
