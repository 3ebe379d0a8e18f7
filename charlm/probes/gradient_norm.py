"""Gradient norm by lag: vanishing gradients (Bengio et al., 1994; Pascanu et al., 2013)."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.evaluation.streaming import advance, select_streams
from charlm.execution.device import to_float64
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelState
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.places import evenly_spaced_starts
from charlm.probes.windows import Positions, gather_windows
from charlm.results.probe_limits import (
    ConstantState,
    GradientOverflow,
    NoGradient,
    NotAccessible,
    NotCommensurable,
    Note,
    TextTooShort,
)
from charlm.results.probes import Curve, ProbeResult, ScalarResult
from charlm.seeding import derive_seed

MAX_LAG = 1024  # tokens
MIN_LAG = 64  # a shorter range says nothing about memory
NUM_POSITIONS = 32
BATCH_SIZE = 8  # positions at once: backpropagation stores every step
THRESHOLD = 1e-3  # of the norm at lag 0
NUM_PLOTTED_LAGS = 60  # of a curve, about
Norms = NDArray[np.float64]  # (lags, positions)


class GradientNorms(NamedTuple):
    """Norms of a gradient by lag."""

    source: Literal["loss", "state"]
    lags: Sequence[int]  # in tokens, ascending from 0
    norms: Norms  # (len(lags), positions)


@register_probe("gradient-norm", cost=3)
def gradient_norm(
    context: ProbeContext,
    max_lag: int = MAX_LAG,
    num_positions: int = NUM_POSITIONS,
    batch_size: int = BATCH_SIZE,
) -> ProbeOutput:
    """How far back does training see the effect of a character?

    Question: How much do the loss and the state change with what the model read, or what state it
    had, d characters before?

    Protocol: At evenly spaced positions, each after a warm-up, two gradients are propagated back.
    One is that of the loss of the next character with respect to the embedding of each earlier
    character, as the first layer reads it. The other is that of the state of all layers, along a
    random unit vector, with respect to the state 1, 2, 4, ... characters before. The curves are the
    mean norms over the positions, divided by those at lag 0, for the trained model and for the same
    model before its first step. The slope is that of a least-squares line through the logarithms,
    down to a thousandth or to the largest lag. Parts of a state that are the same after every text,
    such as a clock, are left out.

    Unit: Share of the norm at lag 0, by lag in characters (or bytes); slopes in powers of ten per
    character. Error bars are standard errors over the positions.

    Chance: None: a gradient that reaches this far says that training could use the distant context,
    not that the model does. The line is a thousandth. The norms of a model are relative to its own
    at lag 0, so a cell whose direct path is small looks long: amounts of two cells cannot be
    compared.

    Source: Bengio, Simard & Frasconi (1994), "Learning long-term dependencies with gradient descent
    is difficult"; Pascanu, Mikolov & Bengio (2013), "On the difficulty of training recurrent neural
    networks". The estimate along random vectors is an addition.
    """
    if context.char_lm is None or context.make_untrained_model is None:
        raise ProbeNotApplicableError(NotAccessible("gradients"))
    length, unit = len(context.ids), context.unit
    if length < 2 * MIN_LAG:
        raise ProbeNotApplicableError(TextTooShort("probed", length, 2 * MIN_LAG))
    max_lag = min(max_lag, 1 << (length // 2).bit_length() - 1)
    before = max_lag + max_lag // 4
    positions = evenly_spaced_starts(context, before, length - 1, num_positions, before, 1)
    # Of both models: the warm-up, and the text without and with gradient.
    context.expect(2 * len(positions) * (max_lag // 4 + 2 * max_lag + 3))
    curves: list[Curve] = []
    numbers: list[ScalarResult] = []
    notes: list[Note] = [NotCommensurable()]
    models: dict[Literal["trained", "untrained"], CharLM] = {
        "trained": context.char_lm,
        "untrained": context.make_untrained_model(),
    }
    for stage, model in models.items():
        gradients = gradient_norms(model, context, positions, max_lag, batch_size)
        if len(gradients) < 2:
            notes.append(ConstantState(stage))
        for gradient in gradients:
            name = f"{gradient.source}, {stage}"
            if not gradient.norms[0].all():
                raise ProbeNotApplicableError(NoGradient(gradient.source))
            curves.append(decay_curve(name, gradient.lags, gradient.norms))
            shares = gradient.norms.mean(1) / gradient.norms[0].mean()
            if not np.isfinite(shares).all():
                notes.append(GradientOverflow(name))
            numbers += decay_numbers(name, gradient.lags, shares, unit)
    result = ProbeResult(
        x=f"lag, {unit}s",
        y="gradient norm / norm at lag 0",
        log_y=True,
        chance=THRESHOLD,
        curves=curves,
        numbers=numbers,
        notes=notes,
    )
    return ProbeOutput(result)


def gradient_norms(
    model: CharLM, context: ProbeContext, positions: Positions, max_lag: int, batch_size: int
) -> list[GradientNorms]:
    """Return the gradient norms of the loss and of the state at these positions.

    There are none of the state if all of its parts are the same at all positions.

    Args:
        model: The model, trained or not.
        context: Supplies text and seed.
        positions: Where the loss and the state are taken, (positions,).
        max_lag: Largest lag in tokens, a power of two.
        batch_size: Positions at once.
    """
    state_lags = [0, *(1 << exponent for exponent in range(max_lag.bit_length()))]
    generator = torch.Generator().manual_seed(derive_seed(context.seed, "gradient"))
    start = positions - max_lag
    warmup = gather_windows(context.ids, start - max_lag // 4, max_lag // 4)
    texts = gather_windows(context.ids, start, max_lag + 2)
    with torch.no_grad():
        start_states = advance(model, warmup, model.initial_state(len(positions)))
        end_state = carried_state(model, advance(model, texts[:-1], start_states))
    context.tick(warmup.numel() + texts[:-1].numel())
    varying_parts = [n for n, part in enumerate(end_state) if (part != part[:1]).any()]
    loss_norms, state_norms = [], []
    num_batches = -(-len(positions) // batch_size)
    for rows in np.array_split(np.arange(len(positions)), num_batches):
        state = select_streams(start_states, torch.from_numpy(rows))
        text = texts[:, rows].to(model.bias.device)
        with torch.no_grad():
            x = model.embed(text[:-1])
        x.requires_grad_()
        h, states = unroll_with_states(model, x, state, state_lags[::-1], varying_parts)
        loss = cross_entropy(model.predict(h), text[-1], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, x, retain_graph=True)
        loss_norms.append(to_float64(gradient.flip(0)).norm(dim=-1))
        if varying_parts:
            state_norms.append(state_gradient_norms(states, generator).flip(0))
        context.tick(text.numel())
    results = [
        GradientNorms("loss", range(max_lag + 1), torch.cat(loss_norms, dim=1).cpu().numpy())
    ]
    if varying_parts:
        norms = torch.cat(state_norms, dim=1).cpu().numpy()
        results.append(GradientNorms("state", state_lags, norms))
    return results


def carried_state(model: CharLM, state: ModelState) -> list[Tensor]:
    """Return the parts of the state that the next step reads, of all layers."""
    layers = zip(model.cells, state, strict=False)  # the state may have the last output as well
    return [part for cell, own in layers for part in own[cell.output_is_readout :]]


def unroll_with_states(
    model: CharLM, x: Tensor, state: ModelState, lags: Sequence[int], parts: Sequence[int]
) -> tuple[Tensor, list[list[Tensor]]]:
    """Unroll the model and keep its states at these lags.

    Args:
        model: The model.
        x: Embedded text, (time, positions, embedding_dim).
        state: The state before.
        lags: Lags in tokens from the end of x, descending to 0.
        parts: Indices of the parts of the carried state to keep.

    Returns:
        The last output, (positions, output_size), and these parts at each lag, (positions, ...).
    """
    states, start = [], 0
    for lag in lags:
        h, state = model.unroll(x[start : len(x) - lag], None, state)
        start = len(x) - lag
        carried = carried_state(model, state)
        states.append([carried[index] for index in parts])
    return h[-1], states


def state_gradient_norms(states: list[list[Tensor]], generator: torch.Generator) -> Tensor:
    """Return norms of the last state's gradient with respect to each state, (states, positions).

    The last state is projected on a random unit vector, one for each position. The norm is 0 for a
    state that is not read again.
    """
    last = states[-1]
    vectors = [torch.randn(part.shape, generator=generator).to(part) for part in last]
    projection = sum((part * v).flatten(1).sum(1) for part, v in zip(last, vectors, strict=True))
    gradients = torch.autograd.grad(
        (projection / joint_norm(vectors)).sum(),
        [part for state in states for part in state],
        materialize_grads=True,
    )
    by_state = [gradients[n : n + len(last)] for n in range(0, len(gradients), len(last))]
    return torch.stack([joint_norm(parts) for parts in by_state])


def joint_norm(parts: Sequence[Tensor]) -> Tensor:
    """Return the norm over all parts (positions, ...) at each position, (positions,), float64."""
    return torch.cat([to_float64(part).flatten(1) for part in parts], dim=1).norm(dim=1)


def decay_curve(name: str, lags: Sequence[int], norms: Norms) -> Curve:
    """Return the mean norm relative to that at lag 0, from lag 1 on.

    Many lags are thinned out; y is None where the norm overflows, or underflows float32.
    """
    rows = np.unique(np.geomspace(1, len(lags) - 1, NUM_PLOTTED_LAGS).astype(int))
    mean, error = norms.mean(1), norms.std(1, ddof=1) / norms.shape[1] ** 0.5
    is_shown = np.isfinite(mean) & (mean > torch.finfo(torch.float32).tiny)
    return Curve(
        name=name,
        x=[lags[row] for row in rows],
        y=[float(mean[row] / mean[0]) if is_shown[row] else None for row in rows],
        error=[float(error[row] / mean[0]) if is_shown[row] else None for row in rows],
    )


def decay_numbers(name: str, lags: Sequence[int], shares: Norms, unit: str) -> list[ScalarResult]:
    """Return the slope of the decay, and the lag at which the norm falls to a thousandth.

    Args:
        name: Name of the curve.
        lags: Lags in tokens, ascending from 0.
        shares: Mean norm relative to that at lag 0, (len(lags),).
        unit: "character" or "byte".
    """
    crossing = next((row for row, share in enumerate(shares) if share <= THRESHOLD), None)
    end = len(lags) if crossing is None else crossing + 1
    rows = np.flatnonzero((shares[:end] > 0) & np.isfinite(shares[:end]))
    x, y = np.array(lags)[rows], np.log10(shares[rows])
    slope = float(np.polyfit(x, y, 1)[0]) if len(rows) > 1 else None
    lag = None
    if crossing is not None:
        lag = float(lags[crossing])
        if shares[crossing] > 0:  # interpolate between this lag and the one before
            lag -= float((np.log10(THRESHOLD) - y[-1]) / (y[-2] - y[-1]) * (x[-1] - x[-2]))
    slope_unit = f"powers of ten per {unit}"
    return [
        ScalarResult(name=f"slope, {name}", value=slope, unit=slope_unit),
        ScalarResult(
            name=f"lag at {THRESHOLD}, {name}",
            value=lag,
            unit=f"{unit}s",
            lower_bound=float(lags[-1]) if lag is None else None,
        ),
    ]
