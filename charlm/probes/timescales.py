"""Timescales of units: time constants of gates, and decorrelation times of states."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.evaluation.streaming import advance
from charlm.execution.device import to_float64
from charlm.models.activation_capture import capture_activations
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.places import evenly_spaced_starts
from charlm.probes.windows import Positions, gather_windows
from charlm.results.probe_limits import (
    ConstantUnits,
    NoGate,
    NotAccessible,
    Note,
    ShareKept,
    TextTooShort,
)
from charlm.results.probes import Curve, ProbeResult, ScalarResult

NUM_STREAMS = 8  # passages that are read in parallel; fewer if documents are short
MEASURED_LENGTH = 2048  # tokens of a stream that are measured,
WARMUP_LENGTH = 256  # and those before, which only set the state
MIN_LENGTH = 64  # tokens of a stream
CHUNK_LENGTH = 256  # tokens with activations in memory at once
MIN_RETENTION = 1e-6  # of a gate; and relative change of a unit that is not constant
Times = NDArray[np.float64]  # (units,), in tokens; infinite: longer than can be measured


@register_probe("timescales", cost=1)
def timescales(context: ProbeContext, measured_length: int = MEASURED_LENGTH) -> ProbeOutput:
    """Over how many characters does each unit remember?

    Question: After how many characters has a unit's gate reduced its state to 1/e, and after how
    many is its state no longer correlated with itself?

    Protocol: The loop kernel reads eight passages of the text in parallel, or four to eight where
    the state is reset at documents; after a warm-up, the cells' gates and states are recorded. The
    time constant by the gate is -1 / ln f, where f is the geometric mean over the text of the share
    of the state that the unit keeps. The product of these shares is what remains after many
    characters, so the geometric mean is the right one. A share below one in a million counts as one
    in a million. The time constant by the state is the first lag at which its autocorrelation is
    below 1/e, up to a quarter of a passage; in a cell with a cell state c, the state is c. Units
    that never change have none.

    Unit: Characters (or bytes), over the units of each layer from the fastest to the slowest; the
    median is at 50 %.

    Chance: None. A state may be slow because the text is slow, as indentation is. That is memory,
    too, but a slow unit need not hold anything useful.

    Source: Tallec & Ollivier (2018), "Can recurrent neural networks warp time?", for gates as time
    constants. The time constant of the state is the usual decorrelation time.
    """
    if context.char_lm is None:
        raise ProbeNotApplicableError(NotAccessible("cells"))
    length = min(measured_length + WARMUP_LENGTH, len(context.ids) // NUM_STREAMS)
    if length < MIN_LENGTH:
        raise ProbeNotApplicableError(
            TextTooShort("probed", len(context.ids), MIN_LENGTH * NUM_STREAMS)
        )
    end = len(context.ids) - length + 1
    starts = evenly_spaced_starts(context, 0, end, NUM_STREAMS, 0, length - 1)
    context.expect(length * len(starts))
    log_retentions, states = collect_states(context.char_lm, context, starts, length)
    curves: list[Curve] = []
    numbers: list[ScalarResult] = []
    notes: list[Note] = []
    unit = f"{context.unit}s"
    layers = zip(context.char_lm.cells, log_retentions, states, strict=True)
    for layer, (cell, log_retention, state) in enumerate(layers, start=1):
        if log_retention is None:
            notes.append(NoGate(layer))
        else:
            never_forgets = np.full(len(log_retention), np.inf)
            times = np.divide(-1, log_retention, out=never_forgets, where=log_retention < 0)
            name = f"layer {layer}, share kept"
            curves.append(quantile_curve(name, times))
            numbers += timescale_numbers(name, times, None, unit)
            notes.append(ShareKept(layer, cell.retention_expression))
        max_lag = len(state) // 4
        changes = np.ptp(state, (0, 1)) > MIN_RETENTION * np.abs(state).max((0, 1))
        times = decorrelation_times(state[:, :, changes], max_lag)
        if len(times) < cell.hidden_size:
            notes.append(ConstantUnits(layer, cell.hidden_size - len(times)))
        if len(times):
            name = f"layer {layer}, autocorrelation"
            curves.append(quantile_curve(name, times))
            numbers += timescale_numbers(name, times, max_lag, unit)
    result = ProbeResult(
        x="units of a layer, %",
        y=f"time constant, {unit}",
        log_x=False,
        log_y=True,
        curves=curves,
        numbers=numbers,
        notes=notes,
    )
    return ProbeOutput(result)


@torch.inference_mode()
def collect_states(
    model: CharLM, context: ProbeContext, starts: Positions, length: int
) -> tuple[list[Times | None], list[NDArray[np.float32]]]:
    """Record retention and states of all layers while the model reads the text.

    Args:
        model: Trained model in eval mode.
        context: Supplies the text.
        starts: First token of each stream, (streams,).
        length: Tokens of each stream, warm-up included.

    Returns:
        For each layer, ln of the geometric mean of the share kept, (units,), or None if no gate
        keeps the state; and the states, (time, streams, units).
    """
    text = gather_windows(context.ids, starts, length)
    warmup = length * WARMUP_LENGTH // (WARMUP_LENGTH + MEASURED_LENGTH)
    state = advance(model, text[:warmup], model.initial_state(len(starts)))
    context.tick(text[:warmup].numel())
    log_sums: list[Tensor | None] = [None] * len(model.cells)
    states: list[list[Tensor]] = [[] for _ in model.cells]
    for chunk in text[warmup:].split(CHUNK_LENGTH):
        with capture_activations(model) as activations:
            _, state = model(chunk.to(model.bias.device), state)
        for layer, layer_activations in enumerate(activations):
            *_, memory = layer_activations.states.values()
            states[layer].append(memory.cpu())
            if layer_activations.retention is not None:
                retention = to_float64(layer_activations.retention).clamp_min(MIN_RETENTION)
                log_sum = retention.log().sum((0, 1))
                previous = log_sums[layer]
                log_sums[layer] = log_sum if previous is None else previous + log_sum
        context.tick(chunk.numel())
    num_tokens = (length - warmup) * len(starts)
    means = [None if total is None else (total / num_tokens).cpu().numpy() for total in log_sums]
    return means, [torch.cat(chunks).numpy() for chunks in states]


def decorrelation_times(series: NDArray[np.float32], max_lag: int) -> Times:
    """Return the first lag at which each unit's autocorrelation is below 1/e, (units,).

    Args:
        series: States, (time, streams, units), none of them constant.
        max_lag: Largest lag in tokens; beyond it the result is infinite.
    """
    length = len(series)
    times = np.full(series.shape[2], np.inf)
    for unit in range(len(times)):
        values = series[:, :, unit].astype(np.float64)
        # Padded to twice its length, so that the end does not wrap around to the beginning.
        spectrum = np.fft.rfft(values - values.mean(), 2 * length, axis=0)
        sums = np.fft.irfft((np.abs(spectrum) ** 2).sum(1))[: max_lag + 1]
        autocorrelation = sums / (length - np.arange(max_lag + 1)) * length / sums[0]
        below = np.flatnonzero(autocorrelation < 1 / np.e)
        if len(below):
            times[unit] = below[0]
    return times


def quantile_curve(name: str, times: Times) -> Curve:
    """Return the units' times in ascending order by percentile; y is None where it is infinite."""
    percentiles = 100 * (np.arange(len(times)) + 0.5) / len(times)
    y = [float(time) if np.isfinite(time) else None for time in np.sort(times)]
    return Curve(name=name, x=percentiles.tolist(), y=y)


def timescale_numbers(
    name: str, times: Times, max_lag: int | None, unit: str
) -> list[ScalarResult]:
    """Return the median and the 95th percentile over units.

    Args:
        name: Name of the curve.
        times: Times of the units; infinite: beyond the largest lag, or without end.
        max_lag: Largest lag; None: an infinite time is that of a unit that never forgets.
        unit: Of the times.
    """
    numbers = []
    for quantile, label in ((0.5, "median"), (0.95, "95th percentile")):
        time = float(np.quantile(times, quantile, method="inverted_cdf"))
        is_finite = np.isfinite(time)
        numbers.append(
            ScalarResult(
                name=f"{label}, {name}",
                value=time if is_finite else None,
                unit=unit,
                lower_bound=None if is_finite or max_lag is None else float(max_lag),
                never_forgets=not is_finite and max_lag is None,
            )
        )
    return numbers
