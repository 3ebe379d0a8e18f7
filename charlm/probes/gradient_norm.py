"""How much of a gradient is left so far back: Bengio et al. (1994), Pascanu et al. (2013)."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.evaluation.streaming import advance, select_streams
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelState
from charlm.probes.base import ProbeContext, ProbeNotApplicable, register_probe
from charlm.probes.effective_context import Places, evenly_spaced, gather_windows
from charlm.results.probes import Curve, ProbeResult, ScalarResult
from charlm.seeding import derive_seed

MAX_LAG = 1024  # characters back, at most
MIN_LENGTH = 64  # fewer say nothing of memory
PLACES = 32  # of the text, at which a loss and a state are followed back;
AT_ONCE = 8  # as many at once: the way back keeps every step
THRESHOLD = 1e-3
PLOTTED_LAGS = 60  # lags of a curve, about
Sizes = NDArray[np.float64]  # (lags, places)


@register_probe("gradient")
def gradient_norm(
    reading: ProbeContext, most: int = MAX_LAG, places: int = PLACES, at_once: int = AT_ONCE
) -> ProbeResult:
    """How far back does training see what a character did?

    Question: How much does the loss, or the state, change with what was read or held d characters
    before?

    Protocol: At places taken evenly from the text, each after a reading that warms the state, two
    gradients are followed back: that of the loss of the next character with respect to each
    character's vector, as the first layer gets it; and that of the whole state of all layers,
    along a random unit vector, with respect to the whole state 1, 2, 4, ... characters before.
    What is drawn is the mean of their norms over the places, divided by that at lag 0; both for
    the trained model and for the same model before its first update. The slope is that of the line
    of least squares through the logarithms down to a thousandth, or as far as was looked. Parts of
    a state that are the same after every text, such as a clock, are left out.

    Unit: Of the norm at lag 0, by characters (or bytes) back; slopes in powers of ten a character.
    Error bars are standard errors over the places.

    Chance: None: a gradient that is left says that training could use what is so far back, not that
    the model does. The line is a thousandth.

    Source: Bengio, Simard & Frasconi (1994), "Learning long-term dependencies with gradient descent
    is difficult"; Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural
    networks"; the estimate of the state's along random vectors is ours.
    """
    if reading.char_lm is None or reading.make_untrained_model is None:
        raise ProbeNotApplicable("nothing is known of how this reader reads")
    length, kind = len(reading.ids), reading.vocabulary.kind
    if length < 2 * MIN_LENGTH:
        raise ProbeNotApplicable(
            f"the text has {length:,} {kind}, and {2 * MIN_LENGTH:,} are needed"
        )
    farthest = min(most, 1 << (length // 2).bit_length() - 1)
    at = evenly_spaced(farthest + farthest // 4, length - 1, places)
    curves, numbers, notes = [], [], []
    for when, model in (
        ("trained", reading.char_lm),
        ("untrained", reading.make_untrained_model()),
    ):
        followed = list(gradient_norms(model, reading, at, farthest, at_once))
        if len(followed) < 2:
            notes.append(f"state, {when}: it is the same at all places, and not followed back")
        for what, lags, sizes in followed:
            name = f"{what}, {when}"
            if not sizes[0].all():
                raise ProbeNotApplicable(f"the {what} has no gradient at lag 0")
            curves.append(decay_curve(name, lags, sizes))
            shares = sizes.mean(1) / sizes[0].mean()
            if not np.isfinite(shares).all():
                notes.append(f"{name}: its gradient is more than a number can be, and not drawn")
            numbers += decay_numbers(name, lags, shares, kind)
    return ProbeResult(
        x=f"{kind} back",
        y="gradient, as a share of that at lag 0",
        log_y=True,
        chance=THRESHOLD,
        curves=curves,
        numbers=numbers,
        notes=notes,
    )


def gradient_norms(
    model: CharLM, reading: ProbeContext, at: Places, farthest: int, at_once: int
) -> Iterator[tuple[str, Sequence[int], Sizes]]:
    """What is followed back, the lags at which, and the norm at each of these places.

    No state, where all of it is the same at all of them.
    """
    lags = [0, *(1 << n for n in range(farthest.bit_length()))]  # the last is the farthest
    draw = torch.Generator().manual_seed(derive_seed(reading.seed, "gradient"))
    begin = at - farthest
    warm = gather_windows(reading.ids, begin - farthest // 4, farthest // 4)
    texts = gather_windows(reading.ids, begin, farthest + 2)
    with torch.no_grad():
        begun = advance(model, warm, model.initial_state(len(at)))
        ended = carried_state(model, advance(model, texts[:-1], begun))
    moved = [n for n, part in enumerate(ended) if (part != part[:1]).any()]
    of_loss, of_state = [], []
    for rows in np.array_split(np.arange(len(at)), -(-len(at) // at_once)):
        state = select_streams(begun, torch.from_numpy(rows))
        text = texts[:, rows].to(model.bias.device)
        with torch.no_grad():
            x = model.embed(text[:-1])
        x.requires_grad_()
        h, states = unroll_with_states(model, x, state, lags[::-1], moved)
        loss = cross_entropy(model.predict(h), text[-1], reduction="sum")
        (back,) = torch.autograd.grad(loss, x, retain_graph=True)
        of_loss.append(back.flip(0).double().norm(dim=-1))
        if moved:
            of_state.append(state_gradient_norms(states, draw).flip(0))
        reading.tick(text.numel())
    yield "loss", range(farthest + 1), torch.cat(of_loss, dim=1).cpu().numpy()
    if moved:
        yield "state", lags, torch.cat(of_state, dim=1).cpu().numpy()


def carried_state(model: CharLM, state: ModelState) -> list[Tensor]:
    """The parts of a state that the next step looks at, of all layers."""
    layers = zip(model.cells, state, strict=False)
    return [part for layer, own in layers for part in own[layer.output_is_readout :]]


def unroll_with_states(
    model: CharLM, x: Tensor, state: ModelState, lags: Sequence[int], moved: Sequence[int]
) -> tuple[Tensor, list[list[Tensor]]]:
    """x (time, places, embedding), state before, lags falling to 0 -> the last output, and these
    parts of what is carried on at each lag, each (places, ...)."""
    states, done = [], 0
    for lag in lags:
        h, state = model.unroll(x[done : len(x) - lag], None, state)
        done = len(x) - lag
        parts = carried_state(model, state)
        states.append([parts[n] for n in moved])
    return h[-1], states


def state_gradient_norms(states: list[list[Tensor]], draw: torch.Generator) -> Tensor:
    """Of the gradient of the last of these states, along a random unit vector at each place, with
    respect to each of them, (states, places); 0 where it is not looked at again."""
    last = states[-1]
    vectors = [torch.randn(part.shape, generator=draw).to(part) for part in last]
    length = joint_norm(vectors)
    along = sum((part * v).flatten(1).sum(1) for part, v in zip(last, vectors, strict=True))
    back = torch.autograd.grad(
        (along / length).sum(), [part for state in states for part in state], materialize_grads=True
    )
    each = [back[at : at + len(last)] for at in range(0, len(back), len(last))]
    return torch.stack([joint_norm(parts) for parts in each])


def joint_norm(parts: Sequence[Tensor]) -> Tensor:
    """The norm of what all parts are together at each place, (places,)."""
    return torch.cat([part.double().flatten(1) for part in parts], dim=1).norm(dim=1)


def decay_curve(name: str, lags: Sequence[int], sizes: Sizes) -> Curve:
    """From lag 1 on, and of many lags some; nothing where it is smaller or larger than floats."""
    rows = np.unique(np.geomspace(1, len(lags) - 1, PLOTTED_LAGS).astype(int))
    mean, error = sizes.mean(1), sizes.std(1, ddof=1) / sizes.shape[1] ** 0.5
    there = np.isfinite(mean) & (mean > torch.finfo(torch.float32).tiny)
    return Curve(
        name=name,
        x=[lags[row] for row in rows],
        y=[float(mean[row] / mean[0]) if there[row] else None for row in rows],
        error=[float(error[row] / mean[0]) if there[row] else None for row in rows],
    )


def decay_numbers(name: str, lags: Sequence[int], shares: Sizes, kind: str) -> list[ScalarResult]:
    """The slope, and the lag at which the share is a thousandth; shares: of that at lag 0."""
    fallen = next((row for row, share in enumerate(shares) if share <= THRESHOLD), None)
    end = len(lags) if fallen is None else fallen + 1
    rows = np.flatnonzero((shares[:end] > 0) & np.isfinite(shares[:end]))
    x, y = np.array(lags)[rows], np.log10(shares[rows])
    slope = float(np.polyfit(x, y, 1)[0]) if len(rows) > 1 else None
    lag, note = None, f"more than {lags[-1]:,}"
    if fallen is not None:
        lag, note = float(lags[fallen]), ""
        if shares[fallen] > 0:  # between this lag and the one before
            lag -= float((np.log10(THRESHOLD) - y[-1]) / (y[-2] - y[-1]) * (x[-1] - x[-2]))
    each = f"powers of ten a {kind.removesuffix('s')}"
    return [
        ScalarResult(name=f"slope, {name}", value=slope, unit=each),
        ScalarResult(name=f"lag at {THRESHOLD}, {name}", value=lag, unit=kind, note=note),
    ]
