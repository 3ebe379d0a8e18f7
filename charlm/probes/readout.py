"""Linear readout: bits about the character d back that the state holds, used or not."""

from collections.abc import Sequence

import numpy as np
import torch
from msgspec import structs
from torch import Tensor
from torch.nn.functional import one_hot

from charlm.evaluation.streaming import stream_batches
from charlm.probes.base import ProbeContext, ProbeNotApplicableError, ProbeOutput, register_probe
from charlm.probes.linear_readout import MIN_DEVIATION, alternate_halves, bits_found, standardize
from charlm.probes.places import evenly_spaced_starts
from charlm.probes.true_context import States
from charlm.probes.unit_sums import UnitSums, profile_entry, sum_by_unit
from charlm.probes.windows import Positions, entropy_bits
from charlm.results.probe_limits import PlacesTooClose, Projected, TextTooShort
from charlm.results.probes import ProbeResult, ScalarResult
from charlm.seeding import derive_seed

DISTANCES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
NUMBERS = (1, 4, 16, 64)  # distances whose bits are numbers
PROFILED = 16  # distance of the part of the memory profile
NUM_PLACES = 8192
MIN_PLACES = 64  # to fit on, to stop by, and to score
MAX_FEATURES = 512  # of a readout; a larger state is projected on so many random directions
MAX_CLASSES = 96  # the most frequent characters; all others count as one
MIN_LENGTH = 2048  # tokens of the text


@register_probe("readout", cost=6)
@torch.inference_mode()
def readout(
    context: ProbeContext, distances: Sequence[int] = DISTANCES, num_places: int = NUM_PLACES
) -> ProbeOutput:
    """What does the state hold of the characters before, whether the model uses it or not?

    Question: How many bits about the character d back does a linear readout find in the state, and
    how many are left in the prediction of the next character?

    Protocol: At up to 8,192 evenly spaced places, a multinomial logistic regression with an L2
    penalty guesses the character d back (1: the one just read) from the state of all layers after
    at least 2,048 characters of the text, or all that there are. It is fit on one half of the
    places and scored on the other; the halves are alternating blocks of the text. It starts at the
    frequencies of the characters, and a quarter of the first half says when to stop. The 95 most
    frequent characters have a class each, and all others share one. A state of more than 512
    numbers is scaled and projected on 512 random directions, the same for all models of its size.
    The same readout is fit on the log probabilities of the next character, which is what the model
    makes of its state, and on the last character alone. A readout is a lower bound: what it does
    not find may be there in a form that is not linear, or too faint for so few places.

    Unit: Bits per character (or byte): the cost by the frequencies less the cost after the readout,
    by distance. Errors are standard errors over the files, groups of lines or blocks of the text.

    Chance: The line is 0: the frequencies of the characters alone. The ceiling is their entropy.
    What the last character alone tells is in the text, not in a memory: only more is held. The
    prediction is computed from the state, so it cannot tell more than is held.

    Source: Jaeger (2001), "Short term memory in echo state networks", whose capacity is the linear
    readout of past inputs; Alain & Bengio (2016), "Understanding intermediate layers using linear
    classifier probes". Bits instead of correlations, and the prediction beside the state, are
    additions.
    """
    length, reading = len(context.ids), context.true_context
    if length < MIN_LENGTH:
        raise ProbeNotApplicableError(TextTooShort("probed", length, MIN_LENGTH))
    farthest = max(distances)
    places = evenly_spaced_starts(context, farthest, length, num_places, farthest, 0)
    halves = alternate_halves(places, length)
    # Where the state is reset, all places may be in a few documents of one half.
    fewest = min(int(np.count_nonzero(half)) for half in halves)
    if fewest < MIN_PLACES:
        raise ProbeNotApplicableError(PlacesTooClose(fewest, MIN_PLACES))
    context.expect(reading.tokens_left + int((places % reading.grid).sum()))
    classes, num_classes = frequent_classes(np.asarray(context.ids, np.int64))
    state, prediction, state_size = read_features(context, places)
    last = one_hot(torch.from_numpy(classes[places - 1]), num_classes).float()
    targets = [torch.from_numpy(classes[places - distance]) for distance in distances]
    scored = [places[halves.score]] * len(distances)
    sums = []
    for features in (state, prediction, last):
        standard = standardize(features, halves)
        found = [bits_found(standard, target, num_classes, halves) for target in targets]
        sums.append(sum_by_unit(context, distances, scored, found))
    names = "state", "prediction", f"last {context.unit}"
    curves = [
        structs.replace(sum_.curve(), name=name) for sum_, name in zip(sums, names, strict=True)
    ]
    held, used, _ = sums
    unit = f"bits per {context.unit}"
    entropy = entropy_bits(classes)
    result = ProbeResult(
        x=f"{context.unit}s back",
        y=f"bits about the {context.unit}",
        chance=0.0,
        ceiling=entropy,
        curves=curves,
        numbers=[
            *numbers(held, "in the state", unit),
            *numbers(used, "in the prediction", unit),
            ScalarResult(name=f"entropy of a {context.unit}", value=entropy, unit="bits"),
        ],
        profile=profile_entry(held, PROFILED, "holds", unit, ceiling=entropy),
        notes=[Projected(state_size, MAX_FEATURES)] if state_size > MAX_FEATURES else [],
    )
    return ProbeOutput(result, held.artifacts())


def frequent_classes(ids: Positions) -> tuple[Positions, int]:
    """Return the class of each token, (length,), and the number of classes.

    The most frequent tokens have a class each; all others share the last one.
    """
    counts = np.bincount(ids)
    ranked = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
    num_classes = min(len(ranked), MAX_CLASSES)
    classes = np.full(len(counts), num_classes - 1)
    classes[ranked[:num_classes]] = np.arange(num_classes)
    return classes[ids], num_classes


def read_features(context: ProbeContext, places: Positions) -> tuple[Tensor, Tensor, int]:
    """Return states and log probabilities before these places, each (places, features).

    Returns:
        The states and the log probabilities, float32 on the CPU, and the numbers of a state.
    """
    seed = derive_seed(context.seed, "projection")
    reduce_state, reduce_prediction = Sketch(seed), Sketch(seed)
    states, predictions = [], []
    for batch in stream_batches(context.model, len(places)):
        state = context.true_context.states_before(places[batch])
        logits = context.model.next_token_logits(state).float().cpu()
        states.append(reduce_state(flatten_state(state)))
        predictions.append(reduce_prediction(logits.log_softmax(-1)))
    return torch.cat(states), torch.cat(predictions), reduce_state.size


def flatten_state(state: States) -> Tensor:
    """Return all numbers of the state of each stream, (streams, numbers), float32 on the CPU."""
    return torch.cat([part.flatten(1).float().cpu() for layer in state for part in layer], dim=1)


class Sketch:
    """A fixed projection of many numbers on MAX_FEATURES random directions.

    Each number is scaled by its deviation over the first batch, so that none hides another, and
    added with a random sign to a random feature (Charikar, Chen & Farach-Colton, 2002). So a large
    state takes no matrix of directions.
    """

    def __init__(self, seed: int) -> None:
        """Create a projection; the seed is that of its signs and features."""
        self.seed, self.size = seed, 0

    def __call__(self, values: Tensor) -> Tensor:
        """Return the values (streams, numbers), or their projection (streams, MAX_FEATURES)."""
        if not self.size:
            self.size = values.shape[1]
            generator = torch.Generator().manual_seed(self.seed)
            self.feature = torch.randint(MAX_FEATURES, (self.size,), generator=generator)
            sign = torch.randint(2, (self.size,), generator=generator) * 2 - 1
            deviation = values.std(0, correction=0)
            varies = deviation > MIN_DEVIATION
            self.scale = torch.where(varies, sign / deviation.clamp_min(MIN_DEVIATION), 0.0)
        if self.size <= MAX_FEATURES:
            return values
        features = values.new_zeros(len(values), MAX_FEATURES)
        return features.index_add_(1, self.feature, values * self.scale)


def numbers(sums: UnitSums, where: str, unit: str) -> list[ScalarResult]:
    """Return the bits found at the distances in NUMBERS."""
    return [
        sums.number(row, f"{where}, {distance} back", unit)
        for row, distance in enumerate(sums.lengths)
        if distance in NUMBERS
    ]
