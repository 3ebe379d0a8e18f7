"""Cells and kernels with one fault each, planted for good: the contract must name it."""

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

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 2 * hidden)
        self.U = nn.Linear(hidden, 2 * hidden, bias=False)

    def step(self, Wx: Tensor, state: State) -> State:
        h = state[0]
        f, g = (Wx + self.U(h)).chunk(2, dim=-1)
        return (sigmoid(f) * h + (1 - sigmoid(f)) * tanh(g),)


class WithoutItsSecondState(Sound):
    __doc__ = Sound.__doc__
    states = ("h", "c")


class OfAnotherShape(Sound):
    __doc__ = Sound.__doc__

    def initial_state(self, batch: int) -> State:
        return (self.U.weight.new_zeros(batch, self.hidden_size, 1),)

    def step(self, Wx: Tensor, state: State) -> State:
        return super().step(Wx, (state[0].flatten(1),))


class StreamsBeginApart(Sound):
    __doc__ = Sound.__doc__

    def initial_state(self, batch: int) -> State:
        return (self.U.weight.new_ones(batch, self.hidden_size).cumsum(0),)


class WritesIntoItsState(Sound):
    __doc__ = Sound.__doc__

    def step(self, Wx: Tensor, state: State) -> State:
        state[0].data.mul_(0.9)
        return super().step(Wx, state)


class RemembersByItself(Sound):
    """What it holds is in the module, and nowhere in its state.

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.calls = 0

    def step(self, Wx: Tensor, state: State) -> State:
        self.calls += 1
        return super().step(Wx * (1 + 0.1 * (self.calls % 7)), state)


class LooksBackInProject(Sound):
    """Reads the character before where it is in the same piece of text.

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


class SaysItsOutputIsOnlyRead(Sound):
    __doc__ = Sound.__doc__
    output_is_readout = True


class CarriesItsOutputForNothing(Sound):
    """c' = f c + (1 - f) tanh(W_g x + U_g c + b_g), h = tanh(c)

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    states = ("h", "c")

    def step(self, Wx: Tensor, state: State) -> State:
        (c,) = super().step(Wx, state[1:])
        return tanh(c), c


class NamesAGateThatIsNotThere(Sound):
    __doc__ = Sound.__doc__
    gate_descriptions = {"z": "update gate"}


class NamesWhatIsNoGate(Sound):
    """Sound's step has its f before the sigmoid.

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    gate_descriptions = {"f": "keep gate"}


class HasAGateOfTwiceTheUnits(Sound):
    __doc__ = Sound.__doc__
    gate_descriptions = {"both": "keep gate, and what it lets in"}

    def step(self, Wx: Tensor, state: State) -> State:
        both = sigmoid(Wx)
        return super().step(Wx + 0 * both, state)


class StopsTheGradient(Sound):
    __doc__ = Sound.__doc__

    def step(self, Wx: Tensor, state: State) -> State:
        return super().step(Wx, (state[0].detach(),))


class Miscounts(Sound):
    """Parameters: 2H(X + H) for X inputs and H units."""


class SaysNoNumber(Sound):
    """It has some."""


class SaysNonsense(Sound):
    """Parameters: __import__('os') for X inputs and H units."""


class CannotBeMeasured(Sound):
    __doc__ = Sound.__doc__

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W.weight.data /= self.W.weight.norm().item()


class MultipliesTwice(Sound):
    __doc__ = Sound.__doc__

    def project_inputs(self, x: Tensor) -> Tensor:
        return self.W(self.W(x)[..., : self.input_size] + x)


class CopiesItsMatrix(Sound):
    __doc__ = Sound.__doc__

    def recurrent_matrices(self):
        yield self.U.weight.data[: self.hidden_size].clone()


class MatrixIsNotSquare(Sound):
    __doc__ = Sound.__doc__

    def recurrent_matrices(self):
        yield self.U.weight.data


class WeightIsNoParameter(Sound):
    """Parameters: 2H(X + H) for X inputs and H units."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.W = nn.Linear(inputs, 2 * hidden, bias=False)
        self.b = torch.rand(2 * hidden)

    def project_inputs(self, x: Tensor) -> Tensor:
        return self.W(x) + self.b


class LearnsAside(Sound):
    """Statistics that it gathers while it is trained, and that no checkpoint holds.

    Parameters: 2H(X + H + 1) for X inputs and H units.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__(inputs, hidden)
        self.register_buffer("mean", torch.zeros(inputs), persistent=False)

    def project_inputs(self, x: Tensor) -> Tensor:
        if x.dtype == torch.float32:  # so that no other promise is broken
            self.mean += 0.1 * x.detach().mean(0).flatten()[: self.input_size]
        return self.W(x - self.mean)


class Raises(Sound):
    __doc__ = Sound.__doc__

    def step(self, Wx: Tensor, state: State) -> State:
        return super().step(Wx[:, 1:], state)


# Kernels: each serves one cell, which is sound.


class Forgotten(Sound):
    __doc__ = Sound.__doc__


class Unpicked(Sound):
    __doc__ = Sound.__doc__


class Kept(Sound):
    __doc__ = Sound.__doc__


class Detached(Sound):
    __doc__ = Sound.__doc__


class Rounded(Sound):
    __doc__ = Sound.__doc__


@register_kernel("forgets", Forgotten)
def forgets(cell, x, state, ids):
    return unroll_loop(cell, x, tuple(torch.zeros_like(part) for part in state), ids)


@register_kernel("picks-others", Unpicked)
def picks_others(cell, x, state, ids):
    return unroll_loop(cell, x, state, ids if ids is None else ids.flip(0))


@register_kernel("keeps-its-end", Kept)
def keeps_its_end(cell, x, state, ids):
    outputs, _ = unroll_loop(cell, x, state, ids)
    return outputs, state


@register_kernel("detaches", Detached)
def detaches(cell, x, state, ids):
    x = x if ids is None else embedding(ids, x)
    outputs = []
    for Wx in cell.project(x.detach()):
        state = cell.step(Wx, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


@register_kernel("rounds", Rounded)
def rounds(cell, x, state, ids):
    coarse = x.half().float() if x.dtype == torch.float32 else x
    return unroll_loop(cell, coarse, state, ids)
