"""Training settings of a task where the user leaves them open."""

import msgspec

from charlm.config import Config
from charlm.models.cost import count_parameters_and_state
from charlm.recipes import BASE_CHARACTERS, apply_recipe
from charlm.tasks.base import Task

TASK_BATCH_SIZE, TASK_GRAD_CLIP = 32, 1.0  # the same for every cell


def resolve_task_settings(config: Config, task: Task) -> Config:
    """Return the config with a learning rate, batch size and clipping.

    Rate and initial matrices are those of the cell's recipe for its size, which was found on
    text; the rate does not change with the length of sequences.

    Args:
        config: Settings of a model; 0 or "recipe" where they are left open.
        task: The task that it is trained on.
    """
    parameters, _ = count_parameters_and_state(config, task.input_size, task.model)
    given = msgspec.structs.replace(
        config,
        batch_size=config.batch_size or TASK_BATCH_SIZE,
        grad_clip=config.grad_clip or TASK_GRAD_CLIP,
    )
    return apply_recipe(given, parameters, BASE_CHARACTERS)
