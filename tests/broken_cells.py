"""Cells and kernels with one deliberate fault each: a conformance check must name it."""

from copy import deepcopy

import torch
from torch import Tensor, cat, nn, sigmoid, tanh
from torch.nn.functional import embedding

from charlm.cells.base import Cell, State
from charlm.kernels.loop import unroll_loop
from charlm.kernels.registry import register_kernel


class Sound(Cell):
    """f = sigmoid(W_f x + U_f h + b_f)
    h' = f h + (1 - f) tanh(W_g x + U_g h + b_g)

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size)
        self.U = nn.Linear(hidden_size, 2 * hidden_size, bias=False)

    def step(self, Wx: Tensor, state: State) -> State:
        h = state[0]
        f, g = (Wx + self.U(h)).chunk(2, dim=-1)
        self.record(before_sigmoid=f)
        return (sigmoid(f) * h + (1 - sigmoid(f)) * tanh(g),)


class SecondStateIsMissing(Sound):
    __doc__ = Sound.__doc__
    states = ("h", "c")


class StateChangesShape(Sound):
    __doc__ = Sound.__doc__

    def initial_state(self, batch_size: int) -> State:
        return (self.U.weight.new_zeros(batch_size, self.hidden_size, 1),)

    def step(self, Wx: Tensor, state: State) -> State:
        return super().step(Wx, (state[0].flatten(1),))


class StreamsStartDifferently(Sound):
    __doc__ = Sound.__doc__

    def initial_state(self, batch_size: int) -> State:
        return (self.U.weight.new_ones(batch_size, self.hidden_size).cumsum(0),)


class ModifiesItsState(Sound):
    __doc__ = Sound.__doc__

    def step(self, Wx: Tensor, state: State) -> State:
        state[0].data.mul_(0.9)
        return super().step(Wx, state)


class RemembersInTheModule(Sound):
    """It carries something in the module that is not in its state.

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.calls = 0

    def step(self, Wx: Tensor, state: State) -> State:
        self.calls += 1
        return super().step(Wx * (1 + 0.1 * (self.calls % 7)), state)


class PreparedIsAnotherCell(Sound):
    __doc__ = Sound.__doc__

    def prepared(self) -> Cell:
        other = deepcopy(self)
        other.U.weight.data *= 2
        return other


class ProjectionReadsPreviousToken(Sound):
    """It reads the previous token if that is in the same piece of text.

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    def project_inputs(self, x: Tensor) -> Tensor:
        return self.W(x + cat((torch.zeros_like(x[:1]), x[:-1])))


class SeesTheFuture(Sound):
    __doc__ = Sound.__doc__

    def project_inputs(self, x: Tensor) -> Tensor:
        return self.W(x + cat((x[1:], torch.zeros_like(x[:1]))))


class ReadsNothing(Sound):
    __doc__ = Sound.__doc__

    def project_inputs(self, x: Tensor) -> Tensor:
        return self.W(torch.zeros_like(x))


class MixesStreams(Sound):
    __doc__ = Sound.__doc__

    def step(self, Wx: Tensor, state: State) -> State:
        return super().step(Wx - Wx.mean(0), state)


class OutputIsNoReadout(Sound):
    __doc__ = Sound.__doc__
    output_is_readout = True


class OutputIsUndeclaredReadout(Sound):
    """c' = f c + (1 - f) tanh(W_g x + U_g c + b_g), h = tanh(c)

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    states = ("h", "c")

    def step(self, Wx: Tensor, state: State) -> State:
        (c,) = super().step(Wx, state[1:])
        return tanh(c), c


class GateIsNotRecorded(Sound):
    """One method records it, and no step calls that.

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    gate_descriptions = {"z": "update gate"}

    def never_called(self, z: Tensor) -> None:
        self.record(z=z)


class GateIsNotInZeroToOne(Sound):
    __doc__ = Sound.__doc__
    gate_descriptions = {"before_sigmoid": "forget gate"}


class GateHasTwiceTheUnits(Sound):
    __doc__ = Sound.__doc__
    gate_descriptions = {"both": "forget gate, and what it lets in"}

    def step(self, Wx: Tensor, state: State) -> State:
        both = sigmoid(Wx)
        self.record(both=both)
        return super().step(Wx + 0 * both, state)


class StopsGradient(Sound):
    __doc__ = Sound.__doc__

    def step(self, Wx: Tensor, state: State) -> State:
        return super().step(Wx, (state[0].detach(),))


class MiscountsParameters(Sound):
    """Parameters: 2H(X + H) for X inputs and H units."""


class StatesNoParameters(Sound):
    """It has some."""


class StatesNoFormula(Sound):
    """Parameters: __import__('os') for X inputs and H units."""


class FailsOnMetaDevice(Sound):
    __doc__ = Sound.__doc__

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W.weight.data /= self.W.weight.norm().item()


class MultipliesTwice(Sound):
    __doc__ = Sound.__doc__

    def project_inputs(self, x: Tensor) -> Tensor:
        return self.W(self.W(x)[..., : self.input_size] + x)


class CopiesMatrix(Sound):
    __doc__ = Sound.__doc__

    def recurrent_matrices(self):
        yield self.U.weight.data[: self.hidden_size].clone()


class MatrixIsNotSquare(Sound):
    __doc__ = Sound.__doc__

    def recurrent_matrices(self):
        yield self.U.weight.data


class BiasIsNoParameter(Sound):
    """Parameters: 2H(X + H) for X inputs and H units."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, 2 * hidden_size, bias=False)
        self.b = torch.rand(2 * hidden_size)

    def project_inputs(self, x: Tensor) -> Tensor:
        return self.W(x) + self.b


class HasUnsavedStatistics(Sound):
    """It gathers statistics in training that no checkpoint contains.

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.register_buffer("mean", torch.zeros(input_size), persistent=False)

    def project_inputs(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:  # so that no other check fails
            self.mean += 0.1 * x.detach().mean(0).flatten()[: self.input_size]
        return self.W(x - self.mean)


class Raises(Sound):
    __doc__ = Sound.__doc__

    def step(self, Wx: Tensor, state: State) -> State:
        return super().step(Wx[:, 1:], state)


# Kernels with a fault, each for one sound cell.


class ForgottenByKernel(Sound):
    __doc__ = Sound.__doc__


class MisindexedByKernel(Sound):
    __doc__ = Sound.__doc__


class FrozenByKernel(Sound):
    __doc__ = Sound.__doc__


class DetachedByKernel(Sound):
    __doc__ = Sound.__doc__


class RoundedByKernel(Sound):
    __doc__ = Sound.__doc__


@register_kernel("forgets", ForgottenByKernel)
def forgets(cell, x, state, ids):
    return unroll_loop(cell, x, tuple(torch.zeros_like(part) for part in state), ids)


@register_kernel("misindexes", MisindexedByKernel)
def misindexes(cell, x, state, ids):
    return unroll_loop(cell, x, state, ids if ids is None else ids.flip(0))


@register_kernel("freezes", FrozenByKernel)
def freezes(cell, x, state, ids):
    outputs, _ = unroll_loop(cell, x, state, ids)
    return outputs, state


@register_kernel("detaches", DetachedByKernel)
def detaches(cell, x, state, ids):
    x = x if ids is None else embedding(ids, x)
    outputs = []
    for Wx in cell.project_inputs(x.detach()):
        state = cell.step(Wx, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


@register_kernel("rounds", RoundedByKernel)
def rounds(cell, x, state, ids):
    coarse = x.half().float() if x.dtype == torch.float32 else x
    return unroll_loop(cell, coarse, state, ids)
