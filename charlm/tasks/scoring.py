"""Score of a model on a task, and the criterion for a solved length."""

import math

import torch

from charlm.errors import DivergedError
from charlm.models.recurrent import RecurrentModel
from charlm.results.tasks import TaskScore
from charlm.tasks.base import IGNORE_INDEX, Task, TaskSplit, batch_generator

EVAL_BATCH_SIZE = 64
VALIDATION_SEQUENCES, TEST_SEQUENCES = 256, 1024  # the same ones for every cell and seed
SOLVED_ACCURACY, SOLVED_RELATIVE_LOSS = 0.99, 0.01


@torch.inference_mode()
def evaluate_task(
    model: RecurrentModel, task: Task, length: int, split: TaskSplit, sequences: int
) -> TaskScore:
    """Return the score of a model at one length, without dropout.

    Args:
        model: Model of the task; it is in training mode afterwards.
        task: The task.
        length: Length of the task.
        split: Split that the sequences are drawn for.
        sequences: Number of sequences, a multiple of EVAL_BATCH_SIZE.

    Raises:
        DivergedError: The loss is not finite.
    """
    loss = targets = correct = answers = 0.0
    device = model.bias.device
    model.eval()
    for number in range(sequences // EVAL_BATCH_SIZE):
        generator = batch_generator(task.name, length, split, 0, number)
        batch = task.sample_batch(length, EVAL_BATCH_SIZE, generator)
        x, y, answer_mask = (part.to(device) for part in batch)
        predictions, _ = model(x, model.initial_state(EVAL_BATCH_SIZE))
        num_targets = int((y != IGNORE_INDEX).sum())
        loss += model.loss_fn(predictions, y).item() * num_targets
        targets += num_targets
        is_correct = task.is_correct(predictions, y)
        if task.score_whole_sequence:
            is_correct, answer_mask = (is_correct | ~answer_mask).all(0), answer_mask.any(0)
        correct += int((is_correct & answer_mask).sum())
        answers += int(answer_mask.sum())
    model.train()
    if not math.isfinite(loss):
        raise DivergedError(f"the loss at length {length} is {loss}")
    return TaskScore(loss / targets, correct / answers)


def is_solved(task: Task, score: TaskScore, chance: TaskScore) -> bool:
    """Return whether nearly all answers are correct, or the loss is nearly the oracle's.

    The loss counts only in tasks without auxiliary targets, which would hide wrong answers.
    """
    if score.accuracy >= SOLVED_ACCURACY:
        return True
    limit = SOLVED_RELATIVE_LOSS * chance.loss
    return not task.has_auxiliary_targets and score.loss <= limit
