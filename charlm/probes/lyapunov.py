"""Lyapunov exponents of the state, driven by the text: how fast perturbations grow or vanish."""

import copy
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from charlm.models.char_lm import CharLM
from charlm.models.token_step import TokenStep
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.places import evenly_spaced_starts
from charlm.probes.unit_sums import UnitSums, Z, sum_by_unit
from charlm.probes.windows import Positions, gather_windows
from charlm.results.probe_limits import ConstantState, NotAccessible, Note, NotFinite, TextTooShort
from charlm.results.probes import Curve, ProbeResult, ScalarResult
from charlm.seeding import derive_seed

NUM_STREAMS = 16, 4  # passages that are read in parallel; fewer if the states are large
WARMUP_LENGTH = 256  # tokens that only set the state,
SETTLE_LENGTH = 64  # then those in which the directions turn to the slowest ones,
MEASURED_LENGTH = 256  # and those that are measured
MIN_LENGTH = 2048  # tokens of the text
MAX_DIRECTIONS = 32
FEW_DIRECTIONS = 8  # if there is no room for so many, fewer passages are read
MAX_NUMBERS = 1 << 21  # of all perturbed states together, which bounds the time
STEP_SIZE = 1e-6  # of a perturbation, relative to the norm of the state
FLOOR = 1e-8  # of the share of a perturbation that remains: what is below is rounding
STILL = 1e-6  # size of an exponent that counts as 0


class Trajectory(NamedTuple):
    """States of several streams as vectors of the numbers that the next step reads."""

    step: TokenStep  # all layers, in float64
    parts: list[Tensor]  # current state of each part, (streams, ...)
    moving: list[int]  # parts that differ between texts and are read by the next step


@register_probe("lyapunov", cost=13)
@torch.no_grad()
def lyapunov(context: ProbeContext, measured_length: int = MEASURED_LENGTH) -> ProbeOutput:
    """How fast does the state forget where it was?

    Question: By which factor does a small change of the state grow or shrink with each character
    that is read, in the direction that is forgotten last, the second last, and so on?

    Protocol: The model reads 16 evenly spaced passages of the text in float64 (4 if a state has
    more than 8,192 numbers), each after a warm-up of 256 characters. Up to 32 orthogonal directions
    of the state of all layers are carried along by the Jacobian of each step, and made orthogonal
    again after each character (QR). The first 64 characters turn them to the directions that are
    forgotten last; over the 256 that follow, an exponent is the mean logarithm of the factor.
    Products with the Jacobian are central differences. Parts of a state that are the same after
    every text, such as a clock, and outputs that the next step does not read are left out. A factor
    below 1e-8 counts as 1e-8. The horizon is -1 / the largest exponent, if that is below 0. A
    direction is slow if its exponent is above -1 / the window of training. The same is measured for
    the model before its first step.

    Unit: Nats per character (or byte); the horizon is in characters. Errors are standard errors
    over the files, groups of lines or blocks of the text.

    Chance: The line is 0: above it a change grows, so that the state is unstable or chaotic; below
    it vanishes. An exponent near 0 says that the state could hold something for long, not that it
    does.

    Source: Engelken, Wolf & Abbott (2023), "Lyapunov spectra of chaotic recurrent neural networks";
    Vogt, Puelma Touzel, Shlizerman & Lajoie (2022), "On Lyapunov exponents for RNNs"; the method is
    that of Benettin, Galgani, Giorgilli & Strelcyn (1980).
    """
    if context.char_lm is None or context.make_untrained_model is None:
        raise ProbeNotApplicableError(NotAccessible("cells"))
    length = len(context.ids)
    if length < MIN_LENGTH:
        raise ProbeNotApplicableError(TextTooShort("probed", length, MIN_LENGTH))
    unread = WARMUP_LENGTH + SETTLE_LENGTH + measured_length
    streams = choose_streams(context.char_lm)
    starts = evenly_spaced_starts(context, 0, length - unread, streams, 0, unread)
    context.expect(2 * unread * len(starts))
    models: dict[Literal["trained", "untrained"], CharLM] = {
        "trained": context.char_lm,
        "untrained": context.make_untrained_model(),
    }
    curves: list[Curve] = []
    numbers: list[ScalarResult] = []
    notes: list[Note] = []
    artifacts: dict[str, Tensor] = {}
    for stage, model in models.items():
        trajectory = start_trajectory(model, context, starts)
        if not trajectory.moving:
            notes.append(ConstantState(stage))
            context.tick((unread - WARMUP_LENGTH) * len(starts))
            continue
        logs, size = measure_exponents(trajectory, context, starts, measured_length)
        if not np.isfinite(logs).all():
            raise ProbeNotApplicableError(NotFinite())
        at = (starts + WARMUP_LENGTH + SETTLE_LENGTH + np.arange(measured_length)[:, None]).ravel()
        directions = range(1, logs.shape[2] + 1)
        values = [logs[:, :, n].ravel() for n in range(len(directions))]
        sums = sum_by_unit(context, directions, [at] * len(directions), values)
        curve = sums.curve()
        curves.append(Curve(name=stage, x=curve.x, y=curve.y, error=curve.error))
        numbers += exponent_numbers(sums, stage, size, context)
        artifacts[stage] = torch.from_numpy(sums.mean)
    result = ProbeResult(
        x="direction, from the slowest",
        y=f"exponent, nats per {context.unit}",
        log_x=False,
        chance=0.0,
        curves=curves,
        numbers=numbers,
        notes=notes,
    )
    return ProbeOutput(result, artifacts)


def choose_streams(model: CharLM) -> int:
    """Return the number of passages to read, by the size of a state."""
    size = sum(part.numel() for layer in model.initial_state(1) for part in layer)
    many, few = NUM_STREAMS
    return many if 2 * many * FEW_DIRECTIONS * size <= MAX_NUMBERS else few


def start_trajectory(model: CharLM, context: ProbeContext, starts: Positions) -> Trajectory:
    """Read the warm-up from each start, and return the states after it."""
    step = double_step(model)
    text = gather_windows(context.ids, starts, WARMUP_LENGTH).to(step.table.device)
    state = step.initial_state(len(starts))
    for ids in text:
        state = step.step(step.table[ids], state)
        context.tick(len(ids))
    parts = list(state[1:])  # without logits
    carried = [
        index >= cell.output_is_readout
        for cell, names in zip(model.cells, model.state_names, strict=True)
        for index in range(len(names))
    ]
    moving = [
        index
        for index, part in enumerate(parts)
        if carried[index] and part.is_floating_point() and (part != part[:1]).any()
    ]
    return Trajectory(step, parts, moving)


def double_step(model: CharLM) -> TokenStep:
    """Return all layers of a copy of the model in float64 as one step; that of MPS on the CPU."""
    whole = copy.deepcopy(model, {id(model.unrolls): model.unrolls})  # kernels are not copied
    if whole.bias.device.type == "mps":
        whole = whole.cpu()
    return TokenStep(whole.double().eval())


def measure_exponents(
    trajectory: Trajectory,
    context: ProbeContext,
    starts: Positions,
    measured_length: int,
    settle_length: int = SETTLE_LENGTH,
) -> tuple[NDArray[np.float64], int]:
    """Read on, carry directions along, and return the logarithms of their factors.

    Args:
        trajectory: States after the warm-up; they are read on.
        context: Supplies text and seed.
        starts: First token of each passage.
        measured_length: Tokens that are measured.
        settle_length: Tokens before, in which the directions turn to the slowest ones.

    Returns:
        Logarithms in nats, (measured_length, streams, directions), and the numbers of a state.
    """
    streams = len(starts)
    size = sum(trajectory.parts[index][0].numel() for index in trajectory.moving)
    num_directions = max(1, min(MAX_DIRECTIONS, size, MAX_NUMBERS // (2 * streams * size)))
    generator = torch.Generator().manual_seed(derive_seed(context.seed, "lyapunov"))
    noise = torch.randn(streams, size, num_directions, generator=generator, dtype=torch.float64)
    device = trajectory.step.table.device
    directions = torch.linalg.qr(noise.to(device)).Q
    length = settle_length + measured_length
    text = gather_windows(context.ids, starts + WARMUP_LENGTH, length).to(device)
    logs = []
    for time, ids in enumerate(text):
        trajectory, carried = carry_directions(trajectory, ids, directions)
        directions, upper = torch.linalg.qr(carried)
        if time >= settle_length:
            logs.append(upper.diagonal(dim1=1, dim2=2).abs().clamp_min(FLOOR).log().cpu())
        context.tick(streams)
    return torch.stack(logs).numpy(), size


def carry_directions(
    trajectory: Trajectory, ids: Tensor, directions: Tensor
) -> tuple[Trajectory, Tensor]:
    """Read a token in each stream, and multiply directions by the Jacobian of this step.

    Args:
        trajectory: The states before.
        ids: Tokens, (streams,).
        directions: Directions, (streams, numbers, directions).

    Returns:
        The states after, and the Jacobian times the directions, of the same shape.
    """
    step, parts, moving = trajectory
    streams, _, count = directions.shape
    state = flatten(parts, moving)
    width = STEP_SIZE * state.norm(dim=1).clamp_min(1)[:, None, None]
    change = (width * directions).transpose(1, 2)  # (streams, directions, numbers)
    rows = torch.stack((state[:, None] + change, state[:, None] - change)).flatten(0, 2)
    copies = [part.repeat_interleave(count, 0).repeat(2, *[1] * (part.dim() - 1)) for part in parts]
    perturbed = [
        torch.cat(pair) for pair in zip(parts, unflatten(rows, copies, moving), strict=True)
    ]
    every = torch.cat((ids, ids.repeat_interleave(count).repeat(2)))
    logits = step.table.new_zeros(len(every), 1)  # of the step before, which no step reads
    after = step.step(step.table[every], (logits, *perturbed))[1:]
    more, less = flatten([part[streams:] for part in after], moving).chunk(2)
    carried = (more - less).unflatten(0, (streams, count)).transpose(1, 2) / (2 * width)
    return Trajectory(step, [part[:streams] for part in after], moving), carried


def flatten(parts: list[Tensor], moving: list[int]) -> Tensor:
    """Return the numbers of the moving parts, (rows, numbers)."""
    return torch.cat([parts[index].flatten(1) for index in moving], dim=1)


def unflatten(rows: Tensor, parts: list[Tensor], moving: list[int]) -> list[Tensor]:
    """Return the parts with the moving ones replaced by these numbers, (rows, numbers)."""
    replaced = list(parts)
    pieces = rows.split([parts[index][0].numel() for index in moving], dim=1)
    for index, piece in zip(moving, pieces, strict=True):
        replaced[index] = piece.reshape(parts[index].shape)
    return replaced


def exponent_numbers(
    sums: UnitSums, stage: str, size: int, context: ProbeContext
) -> list[ScalarResult]:
    """Return the largest exponent, its horizon, and the number of slow directions.

    Args:
        sums: Sums of the logarithms by direction and unit of the text.
        stage: "trained" or "untrained".
        size: Numbers of a state: directions that there are.
        context: Supplies the window and the name of a token.
    """
    largest = sums.number(0, f"largest exponent, {stage}", f"nats per {context.unit}")
    low, mean, high = (sums.mean + sign * Z * sums.error for sign in (-1, 0, 1))
    slow = [np.count_nonzero(each > -1 / context.window) for each in (low, mean, high)]
    has_all = slow[1] < len(mean) or len(mean) == size
    has_interval = has_all and slow[0] < slow[2]
    return [
        largest,
        ScalarResult(
            name=f"horizon, {stage}",
            value=inverse(largest.value),
            unit=f"{context.unit}s",
            low=inverse(largest.low),
            high=inverse(largest.high),
            never_forgets=inverse(largest.value) is None,
        ),
        ScalarResult(
            name=f"slow directions, {stage}",
            value=float(slow[1]) if has_all else None,
            unit="directions",
            low=float(slow[0]) if has_interval else None,
            high=float(slow[2]) if has_interval else None,
            lower_bound=None if has_all else float(len(mean)),
        ),
    ]


def inverse(exponent: float | None) -> float | None:
    """Return the characters in which a perturbation falls to 1/e; None if it does not."""
    return None if exponent is None or exponent > -STILL else -1 / exponent
