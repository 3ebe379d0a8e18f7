"""Models restored from a run's checkpoint."""

from typing import Protocol

import msgspec

from charlm.data.documents import separator_ids
from charlm.data.vocabulary import Vocabulary
from charlm.execution.device import available_memory
from charlm.models.build import build_char_lm, load_weights, select_kernel
from charlm.models.char_lm import CharLM
from charlm.models.cost import check_memory, count_parameters_and_state
from charlm.results.run import RunRecord
from charlm.runs.checkpoint import Checkpoint, CheckpointName


class SavedModel(Protocol):
    """Record, vocabulary and checkpoints of a run, from which its model can be restored."""

    record: RunRecord
    vocabulary: Vocabulary

    def load_checkpoint(self, which: CheckpointName) -> Checkpoint:
        """Return a verified checkpoint."""
        ...


def load_model(
    run: SavedModel,
    which: CheckpointName = "best",
    kernel: str = "auto",
    device: str = "cpu",
    threads: int = 1,
) -> tuple[Checkpoint, CharLM]:
    """Return a verified checkpoint of a run and the model with its weights.

    Args:
        run: Run; a custom cell must have been loaded.
        which: "best" on validation, or "last".
        kernel: Implementation of the recurrence; "auto" for the fastest of this machine, whatever
            the run was trained with.
        device: "cpu", "cuda", "cuda:N" or "mps".
        threads: CPU threads that "auto" may count on.

    Raises:
        InsufficientMemoryError: The model does not fit.
        DataError: No checkpoint is intact.
    """
    record, vocabulary_size = run.record, run.vocabulary.size
    config = msgspec.structs.replace(record.config, kernel=kernel, threads=threads)
    kernel, _ = select_kernel(config, device)
    parameters, _ = count_parameters_and_state(record.config, vocabulary_size)
    needed = 8 * parameters  # float32: of the file and the model
    check_memory(available_memory(device), needed, "load")
    checkpoint = run.load_checkpoint(which)
    model = build_char_lm(record.config, vocabulary_size, kernel, device)
    load_weights(model, checkpoint.tensors)
    model.separator = separator_ids(record.config.documents, run.vocabulary)
    return checkpoint, model
