"""Dynamic evaluation: a model that goes on learning from the text that it has scored.

Each segment is scored before it is learnt, so that the score is that of a real code: a decoder
could make the same updates. It is another quantity than the exact score of fixed weights.

Source: Krause, Kahembwe, Murray and Renals (2018), "Dynamic evaluation of neural sequence models":
    the RMS update with decay to the static weights, each parameter by its own scale.
"""

import copy
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from charlm.data.stored_ids import StoredIds
from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.errors import DivergedError, InvalidValueError
from charlm.evaluation.scoring import coded_nll
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import ModelState, detach_state
from charlm.progress import ProgressCallback, ignore
from charlm.results.costs import DynamicSettings

GRADIENT_PLACES = 16  # of the training split, spread evenly
SEGMENTS_PER_PLACE = 16
SMALLEST_SCALE = 0.3  # of the mean scale: parameters that training hardly moves stay where they are


class UpdateScales(NamedTuple):
    """Root mean squares of gradients on the training split, divided by their mean.

    Attributes:
        scales: Of each parameter, in the order of the model.
        mean: Their mean before the division.
        segments: Segments of the training split that were read.
    """

    scales: tuple[Tensor, ...]
    mean: float
    segments: int


def check_dynamic_settings(settings: DynamicSettings) -> None:
    """Raise InvalidValueError if a setting of dynamic evaluation has no meaning."""
    if not 0 < settings.rate < math.inf:
        raise InvalidValueError(
            f"cannot use a dynamic rate of {settings.rate:g}: it must be a number above 0. "
            "Try 0.004"
        )
    if not 0 <= settings.decay < 1:
        raise InvalidValueError(
            f"cannot use a dynamic decay of {settings.decay:g}: it must be at least 0 and below 1. "
            "Try 0.005"
        )
    if settings.segment < 1:
        raise InvalidValueError(
            f"cannot use dynamic segments of {settings.segment}: they have a token at least. Try 20"
        )


def measure_update_scales(
    model: CharLM, train: TokenIds | StoredIds, vocabulary: Vocabulary, segment: int
) -> UpdateScales:
    """Measure the gradients of a model on segments of its training split.

    Args:
        model: Model; it stays as it is.
        train: Ids of the training split, (length,).
        vocabulary: Vocabulary of the model.
        segment: Tokens of a segment.

    Raises:
        DivergedError: The gradients are not finite, or all 0.
    """
    squares = [torch.zeros_like(parameter) for parameter in model.parameters()]
    length = segment * SEGMENTS_PER_PLACE
    places = np.unique(np.linspace(0, max(0, len(train) - length), GRADIENT_PLACES).astype(int))
    segments = 0
    was_training = model.training
    model.eval()
    for place in places:
        state = model.initial_state(1)
        for ids, is_start in _segments(_span(train, place, place + length), segment):
            if is_start:
                state = model.initial_state(1)
            loss, state = _segment_loss(model, ids, state, vocabulary)
            for square, gradient in zip(squares, _gradients(model, loss.mean()), strict=True):
                square += gradient**2
            segments += 1
    model.train(was_training)
    scales = [(square / segments).sqrt() for square in squares]
    total = sum(scale.numel() for scale in scales)
    mean = sum(float(scale.double().sum()) for scale in scales) / total
    if not 0 < mean < math.inf:
        raise _diverged_run_error(f"its gradients have a mean size of {mean:g}")
    return UpdateScales(tuple(scale / mean for scale in scales), mean, segments)


def iter_dynamic_nll(
    model: CharLM,
    ids: TokenIds | StoredIds,
    vocabulary: Vocabulary,
    scales: UpdateScales,
    settings: DynamicSettings,
    count: ProgressCallback = ignore,
) -> Iterator[Tensor]:
    """Iterate over the nats of segments; after each, a copy of the model learns from it.

    Args:
        model: Model with the static weights, which do not change.
        ids: (length,).
        vocabulary: Vocabulary of the model.
        scales: Of its parameters.
        settings: Learning rate, decay and length of segments.
        count: Is called with numbers of tokens read.

    Yields:
        Nats of each token of a segment, (time, 1), float64, on the CPU.

    Raises:
        DivergedError: The weights are no longer finite.
    """
    static = [parameter.detach() for parameter in model.parameters()]
    model = copy.deepcopy(model).eval()
    steps = [settings.rate / scales.mean / (scale + SMALLEST_SCALE) for scale in scales.scales]
    decays = [(settings.decay * scale).clamp_(max=1) for scale in scales.scales]
    state = model.initial_state(1)
    has_learnt = False
    for segment, is_start in _segments(ids, settings.segment):
        if is_start:  # of a document
            state = model.initial_state(1)
        nats, state = _segment_loss(model, segment, state, vocabulary)
        if not torch.isfinite(nats).all():
            if not has_learnt:
                raise _diverged_run_error("its score is not finite")
            raise DivergedError(
                "cannot score dynamically: the weights are no longer finite. "
                "Try a lower --dynamic-rate"
            )
        yield nats.detach().cpu()
        gradients = _gradients(model, nats.mean())
        with torch.no_grad():
            for parameter, gradient, step, decay, start in zip(
                model.parameters(), gradients, steps, decays, static, strict=True
            ):
                parameter.add_(decay * (start - parameter) - step * gradient)
        has_learnt = True
        count(len(segment))


def _diverged_run_error(problem: str) -> DivergedError:
    """Return the error of a run that had diverged before anything was learnt dynamically."""
    return DivergedError(
        f"cannot score dynamically: the training of the run diverged, {problem}. "
        "Try to train again with a lower --learning-rate"
    )


def _segments(ids: TokenIds | StoredIds, length: int) -> Iterator[tuple[Tensor, bool]]:
    """Yield consecutive segments of a text, (time, 1), int64, and whether each begins a document.

    A segment ends where a document does, and may then be shorter.
    """
    for start in range(0, len(ids), length):
        end = min(start + length, len(ids))
        tokens = torch.from_numpy(ids[start:end].astype(np.int64))[:, None]
        marks = np.zeros(len(tokens), bool)
        if isinstance(ids, StoredIds) and ids.documents:
            marks = ids.documents.mark(ids, start, end)
        cuts = sorted({0, *np.flatnonzero(marks).tolist(), len(tokens)})
        for first, last in pairwise(cuts):
            yield tokens[first:last], bool(marks[first])


def _span(ids: TokenIds | StoredIds, start: int, end: int) -> TokenIds | StoredIds:
    """Return ids[start:end], with their documents."""
    return ids.span(start, end) if isinstance(ids, StoredIds) else ids[start:end]


def _segment_loss(
    model: CharLM, ids: Tensor, state: ModelState, vocabulary: Vocabulary
) -> tuple[Tensor, ModelState]:
    """Return the nats of a segment, (time, 1), and the state after it, without its graph."""
    first = model.next_token_logits(state)[None]
    ids = ids.to(first.device)
    following, state = model(ids, state)
    logits = torch.cat((first, following[:-1]))
    return coded_nll(logits, ids, vocabulary), detach_state(state)


def _gradients(model: CharLM, loss: Tensor) -> list[Tensor]:
    """Return the gradient of each parameter; zeros where the loss does not depend on it."""
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [
        torch.zeros_like(parameter) if gradient is None else gradient
        for parameter, gradient in zip(parameters, gradients, strict=True)
    ]
