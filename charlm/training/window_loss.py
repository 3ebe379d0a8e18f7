"""Loss of a window, with recomputation: long windows in less memory (gradient checkpointing).

Source: Chen, Xu, Zhang & Guestrin (2016), "Training deep nets with sublinear memory cost"; for
    recurrent nets Gruslys et al. (2016), "Memory-efficient backpropagation through time".
"""

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from charlm.data.batches import Batch
from charlm.models.char_lm import CharLM
from charlm.models.documents import document_loss
from charlm.models.recurrent import NO_TARGET, ModelState, RecurrentModel, Reduction


def window_loss(
    model: RecurrentModel, batch: Batch, state: ModelState, piece_length: int = 0
) -> tuple[Tensor, ModelState]:
    """Return the mean loss per target of a window, and the state after it.

    In pieces, the forward pass keeps only the state before each. The backward pass computes a piece
    once more, with the same dropout, just before its gradient. Gradients are those of the whole
    window; only the order of sums differs.

    Args:
        model: Model in training.
        batch: Window of the streams.
        state: State before the window.
        piece_length: Steps of a piece; 0: the whole window is kept.
    """
    x, y, starts = batch.x, batch.y, batch.starts
    if not piece_length or piece_length >= len(x):
        return _loss(model, x, y, starts, state, "mean")
    total = model.bias.new_zeros(())
    for start in range(0, len(x), piece_length):
        piece = slice(start, start + piece_length)
        marks = starts if starts is None else starts[start : start + piece_length + 1]
        loss, state = checkpoint(
            *(_piece_loss, model, x[piece], y[piece], marks, state), use_reentrant=False
        )
        total = total + loss
    return total / (y != NO_TARGET).sum(), state


def _piece_loss(
    model: RecurrentModel, x: Tensor, y: Tensor, starts: Tensor | None, state: ModelState
) -> tuple[Tensor, ModelState]:
    """Return the summed loss of a piece, and the state after it."""
    loss, last = _loss(model, x, y, starts, state, "sum")
    # A kernel may return a view of the outputs of all steps, which would be kept with it.
    return loss, tuple(tuple(part.clone() for part in layer) for layer in last)


def _loss(
    model: RecurrentModel,
    x: Tensor,
    y: Tensor,
    starts: Tensor | None,
    state: ModelState,
    reduction: Reduction,
) -> tuple[Tensor, ModelState]:
    """Return the loss of steps, and the state after them; documents begin afresh."""
    if starts is None:
        return model.loss(x, y, state, reduction)
    assert isinstance(model, CharLM), "only a text has documents"
    return document_loss(model, x, y, starts, state, reduction)
