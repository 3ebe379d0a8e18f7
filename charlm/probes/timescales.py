"""How long each unit holds what it holds: by its gate, and by how its state resembles itself."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.evaluation.streaming import advance as onward
from charlm.models.activation_capture import capture_activations
from charlm.models.char_lm import CharLM
from charlm.probes.base import ProbeContext, ProbeNotApplicable, register_probe
from charlm.probes.effective_context import evenly_spaced, gather_windows
from charlm.results.probes import Curve, ProbeResult, ScalarResult

STREAMS, COUNTED, WARMUP = 8, 2048, 256  # characters a stream: these are counted, those go before
PIECE = 256  # characters whose gates are held at once
LEAST = 64  # characters a stream, below which nothing can be said
MIN_RETENTION = 1e-6  # share kept, or change
Times = NDArray[np.float64]  # (units,), in characters; inf: longer than can be told


@register_probe("timescales")
def timescales(reading: ProbeContext, counted: int = COUNTED) -> ProbeResult:
    """Over how many characters does each unit remember?

    Question: In how many characters is what a unit holds down to 1/e of it, as its gate says; and
    in how many does its state cease to resemble itself?

    Protocol: Eight stretches of the text are read side by side by the plain loop; what each cell
    computes is taken from its running step, after a stretch that warms the state. By the gate, a
    unit's time constant is -1 / ln f, f being the geometric mean over the text of the share it
    keeps: after many characters the product of these shares is left, and its root is that mean,
    not the arithmetic one. A share below a millionth counts as a millionth. By the state, it is
    the first lag at which the autocorrelation of what the unit holds (of a cell with c, c) is
    below 1/e, looked for up to a quarter of a stretch. Units that never change have none.

    Unit: Characters (or bytes), over the units of each layer from the fastest to the slowest: at 50
    % is the median.

    Chance: None. A state that is slow because the text is slow (an indentation) is so by memory,
    too, but a unit may be slow and hold nothing of use.

    Source: Tallec & Ollivier (2018), "Can recurrent neural networks warp time?", for gates as time
    constants; the state's is the usual decorrelation time.
    """
    if reading.char_lm is None:
        raise ProbeNotApplicable("nothing is known of how this reader reads")
    kind = reading.vocabulary.kind
    each = min(counted + WARMUP, len(reading.ids) // STREAMS)
    if each < LEAST:
        raise ProbeNotApplicable(
            f"the text has {len(reading.ids):,} {kind}, and {LEAST * STREAMS:,} are needed"
        )
    logs, held = collect_states(reading.char_lm, reading, each)
    curves, numbers, notes = [], [], []
    for layer, (log, series) in enumerate(zip(logs, held, strict=True), start=1):
        cell = reading.char_lm.cells[layer - 1]
        if log is None:
            notes.append(f"layer {layer}: its cell has no gate that keeps; autocorrelation alone")
        else:
            constants = np.divide(-1, log, out=np.full(len(log), np.inf), where=log < 0)
            name = f"layer {layer}, share kept"
            curves.append(quantile_curve(name, constants))
            numbers += timescale_numbers(name, constants, "it does not forget", kind)
            notes.append(f"layer {layer}: the share kept is {cell.retention_expression}")
        farthest = len(series) // 4
        moves = np.ptp(series, (0, 1)) > MIN_RETENTION * np.abs(series).max((0, 1))
        lags = decorrelation_times(series[:, :, moves], farthest)
        if len(lags) < cell.hidden_size:
            notes.append(f"layer {layer}: {cell.hidden_size - len(lags)} units never change")
        if len(lags):
            name = f"layer {layer}, autocorrelation"
            curves.append(quantile_curve(name, lags))
            numbers += timescale_numbers(name, lags, f"more than {farthest:,}", kind)
    return ProbeResult(
        x="units of a layer, %",
        y=f"time constant, {kind}",
        log_x=False,
        log_y=True,
        curves=curves,
        numbers=numbers,
        notes=notes,
    )


@torch.inference_mode()
def collect_states(
    model: CharLM, reading: ProbeContext, each: int
) -> tuple[list[Times | None], list[NDArray[np.float32]]]:
    """Of each layer: ln of the share that each unit keeps, its mean over the text, (units,), None
    where there is none; and what it held, (time, streams, units). The first are not counted."""
    text = gather_windows(reading.ids, evenly_spaced(0, len(reading.ids) - each + 1, STREAMS), each)
    warm = each * WARMUP // (WARMUP + COUNTED)
    state = onward(model, text[:warm], model.initial_state(STREAMS))
    logs: list[Tensor | None] = [None] * len(model.cells)
    held: list[list[Tensor]] = [[] for _ in model.cells]
    for piece in text[warm:].split(PIECE):
        with capture_activations(model) as seen:
            _, state = model(piece.to(model.bias.device), state)
        for layer, one in enumerate(seen):
            *_, last = one.states.values()
            held[layer].append(last.cpu())
            if one.retention is not None:
                log = one.retention.double().clamp_min(MIN_RETENTION).log().sum((0, 1))
                before = logs[layer]
                logs[layer] = log if before is None else before + log
        reading.tick(piece.numel())
    counted = (each - warm) * STREAMS
    means = [None if log is None else (log / counted).cpu().numpy() for log in logs]
    return means, [torch.cat(parts).numpy() for parts in held]


def decorrelation_times(series: NDArray[np.float32], farthest: int) -> Times:
    """The first lag at which each unit's autocorrelation is below 1/e; series: (time, streams,
    units), none of them constant."""
    time = len(series)
    found = np.full(series.shape[2], np.inf)
    for unit in range(len(found)):
        own = series[:, :, unit].astype(np.float64)
        wave = np.fft.rfft(own - own.mean(), 2 * time, axis=0)
        sums = np.fft.irfft((np.abs(wave) ** 2).sum(1))[: farthest + 1]
        alike = sums / (time - np.arange(farthest + 1)) * time / sums[0]
        below = np.flatnonzero(alike < 1 / np.e)
        if len(below):
            found[unit] = below[0]
    return found


def quantile_curve(name: str, times: Times) -> Curve:
    """The units of a layer side by side, the fastest first; no number for those beyond."""
    shares = 100 * (np.arange(len(times)) + 0.5) / len(times)
    y = [float(time) if np.isfinite(time) else None for time in np.sort(times)]
    return Curve(name=name, x=shares.tolist(), y=y)


def timescale_numbers(name: str, times: Times, beyond: str, kind: str) -> list[ScalarResult]:
    """The median over units, and what 95 % of them are at most."""
    found = []
    for share, what in ((0.5, "median"), (0.95, "95 % of units")):
        time = float(np.quantile(times, share, method="inverted_cdf"))
        value, note = (time, "") if np.isfinite(time) else (None, beyond)
        found.append(ScalarResult(name=f"{what}, {name}", value=value, unit=kind, note=note))
    return found
