"""Score of a model on a task, and the criterion for a solved length."""

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.errors import DivergedError
from charlm.models.recurrent import RecurrentModel
from charlm.results.tasks import PERFECT, PositionScore, TaskScore
from charlm.tasks.base import (
    IGNORE_INDEX,
    AnsweredBatch,
    PositionMeans,
    Task,
    TaskAnswers,
    TaskSplit,
    batch_generator,
)
from charlm.tasks.lengths import STEPS_PER_DECADE

EVAL_BATCH_SIZE = 64
EVAL_STEPS = 2048  # read at once, so that longer sequences need hardly more memory
VALIDATION_SEQUENCES, TEST_SEQUENCES = 256, 1024  # the same ones for every cell and seed
SOLVED_ACCURACY = 0.99

Predict = Callable[[Tensor], Iterable[Tensor]]  # x (time, batch) -> predictions of EVAL_STEPS each
Loss = Callable[[Tensor, Tensor], Tensor]


def evaluate_task(
    model: RecurrentModel, task: Task, length: int, split: TaskSplit, sequences: int
) -> TaskScore:
    """Return the score of a model at one length, see `answer_task`."""
    return answer_task(model, task, length, split, sequences).score


@torch.inference_mode()
def answer_task(
    model: RecurrentModel,
    task: Task,
    length: int,
    split: TaskSplit,
    sequences: int,
    keep_batches: bool = False,
) -> TaskAnswers:
    """Return the answers of a model at one length, without dropout.

    Args:
        model: Model of the task; it is in training mode afterwards.
        task: The task.
        length: Length of the task.
        split: Split that the sequences are drawn for.
        sequences: Number of sequences, a multiple of EVAL_BATCH_SIZE.
        keep_batches: Whether to return all sequences with their answers, too.

    Raises:
        DivergedError: The loss is not finite.
    """

    def predict(x: Tensor) -> Iterator[Tensor]:
        state = model.initial_state(x.shape[1])
        for part in x.to(model.bias.device).split(EVAL_STEPS):
            predictions, state = model(part, state)
            yield predictions

    model.eval()
    answers = _answer(predict, model.loss_fn, task, length, split, sequences, keep_batches)
    model.train()
    if not math.isfinite(answers.score.loss):
        raise DivergedError(f"the loss at length {length} is {answers.score.loss}")
    return answers


def answer_optimally(task: Task, length: int, split: TaskSplit, sequences: int) -> TaskAnswers:
    """Return the answers of the best predictor to the sequences that a model is scored on.

    Args:
        task: Task with random targets.
        length: Length of the task.
        split: Split that the sequences are drawn for.
        sequences: Number of sequences, a multiple of EVAL_BATCH_SIZE.
    """

    def predict(x: Tensor) -> Iterable[Tensor]:
        return task.predict_optimally(x).split(EVAL_STEPS)

    def loss_fn(predictions: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(predictions.flatten(0, 1), y.flatten())

    return _answer(predict, loss_fn, task, length, split, sequences, False)


def score_oracle(task: Task, length: int, split: TaskSplit, sequences: int) -> TaskScore:
    """Return the score of the oracle on the sequences that a model is scored on."""
    if task.is_deterministic:
        return PERFECT
    return answer_optimally(task, length, split, sequences).score


def _answer(
    predict: Predict,
    loss_fn: Loss,
    task: Task,
    length: int,
    split: TaskSplit,
    sequences: int,
    keep_batches: bool,
) -> TaskAnswers:
    loss = targets = correct = answers = 0.0
    batches: list[AnsweredBatch] = []
    steps = task.sequence_length(length)
    sums = PositionMeans(*torch.zeros(3, steps, dtype=torch.float64))
    has_positions = split == "test" and task.scores_positions
    for number in range(sequences // EVAL_BATCH_SIZE):
        generator = batch_generator(task.name, length, split, 0, number)
        x, y, answer_mask = task.sample_batch(length, EVAL_BATCH_SIZE, generator)
        corrects, guesses = [], []
        for start, predictions in zip(range(0, len(x), EVAL_STEPS), predict(x), strict=True):
            part = y[start : start + EVAL_STEPS].to(predictions.device)
            if num_targets := int((part != IGNORE_INDEX).sum()):
                loss += loss_fn(predictions, part).item() * num_targets
                targets += num_targets
            corrects.append(task.is_correct(predictions, part).cpu())
            if keep_batches:
                guess = predictions if predictions.ndim == y.ndim else predictions.argmax(-1)
                guesses.append(guess.cpu())
            if has_positions:
                each = cross_entropy(predictions.flatten(0, 1), part.flatten(), reduction="none")
                sums.loss[start : start + len(part)] += each.view_as(part).sum(1).cpu()
        is_correct, is_answer = torch.cat(corrects), answer_mask
        if keep_batches:
            batches.append(AnsweredBatch(x, y, answer_mask, torch.cat(guesses)))
        if has_positions:
            sums.accuracy.add_(is_correct.sum(1))
            sums.correct_so_far.add_(is_correct.cumprod(0).sum(1))
        if task.score_whole_sequence:
            is_correct, is_answer = (is_correct | ~answer_mask).all(0), answer_mask.any(0)
        correct += int((is_correct & is_answer).sum())
        answers += int(is_answer.sum())
    return TaskAnswers(
        TaskScore(loss / targets, correct / answers),
        tuple(batches),
        PositionMeans(*(each / sequences for each in sums)) if has_positions else None,
    )


def score_positions(
    model: PositionMeans, oracle: PositionMeans | None
) -> tuple[PositionScore, ...]:
    """Return the score of a model by position; 1, 2, 5, 10, 20 … end an interval each.

    Args:
        model: Means of the model.
        oracle: Means of the oracle; None: it makes no loss.
    """
    return tuple(
        PositionScore(
            position=end,
            loss=model.loss[start:end].mean().item(),
            oracle_loss=oracle.loss[start:end].mean().item() if oracle else 0.0,
            accuracy=model.accuracy[start:end].mean().item(),
            correct_so_far=model.correct_so_far[end - 1].item(),
        )
        for start, end in pairwise((0, *position_ends(len(model.loss))))
    )


def position_ends(steps: int) -> list[int]:
    """Return 1, 2, 5, 10, 20 … below a number of steps, and that number."""
    ends = (step * 10**exponent for exponent in range(7) for step in STEPS_PER_DECADE)
    return [*(end for end in ends if end < steps), steps]


def is_solved(
    task: Task,
    score: TaskScore,
    chance: TaskScore,
    oracle: TaskScore = PERFECT,
    tolerance: float = 1.0,
) -> bool:
    """Return whether nearly all answers are correct, or the loss is nearly the oracle's.

    The loss counts only in tasks without auxiliary targets, which would hide wrong answers; the
    accuracy only where the answers follow from what was read.

    Args:
        task: The task.
        score: Score of the model.
        chance: Score by chance.
        oracle: Score of the oracle.
        tolerance: Fraction of the errors and the loss that a solved length may have.
    """
    if task.is_deterministic and score.accuracy >= 1 - tolerance * (1 - SOLVED_ACCURACY):
        return True
    limit = oracle.loss + tolerance * task.solved_relative_loss * (chance.loss - oracle.loss)
    return not task.has_auxiliary_targets and score.loss <= limit
