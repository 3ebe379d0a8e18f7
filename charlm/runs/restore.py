"""TODO docstring."""

import msgspec

from charlm import console
from charlm.models.char_lm import CharLM
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.run import Run


def load_model(
    run: "Run", which: str, kernel: str, device: str, threads: int
) -> "tuple[Checkpoint, CharLM]":
    """A checkpoint of a run, each hash verified, and the model with its weights.

    kernel: `auto` is this machine's fastest, whatever the run was trained with.
    """
    from charlm.execution.device import available_memory
    from charlm.models.build import build_char_lm, load_weights, select_kernel
    from charlm.models.cost import check_memory, count_parameters_and_state

    here = msgspec.structs.replace(run.record.config, kernel=kernel, threads=threads)
    kernel, _ = select_kernel(here, device)
    parameters, _ = count_parameters_and_state(run.record.config, run.vocabulary.size)
    check_memory(available_memory(device), 8 * parameters)  # the file's, and the model's
    weights = run.load_checkpoint(which, console.print_message)
    model = build_char_lm(run.record.config, run.vocabulary.size, kernel, device)
    load_weights(model, weights.tensors)
    return weights, model
