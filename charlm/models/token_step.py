"""A whole character model as one cell: a token in, the logits of the next one out."""

from typing import cast

import torch
from torch import Tensor, nn

from charlm.cells.base import Cell, State
from charlm.kernels.single_step import StepKernel, single_step_kernel
from charlm.models.char_lm import CharLM


def project_embeddings(model: CharLM, embeddings: Tensor) -> Tensor:
    """Return what depends on a token alone (..., any), given its embedding (..., embedding_dim).

    It is the projected input of the first layer, or what a convolution before it reads; after the
    input itself where a residual block adds to it.
    """
    h = model.input_projection(embeddings)
    projected = model.layer_blocks[0].pre_cell(h)
    if not len(model.convolutions):
        projected = model.cells[0].project_inputs(projected)
    return torch.cat((h, projected), dim=-1) if model.residual else projected


class TokenStep(Cell):
    """Character model as a cell, so that a kernel can compile all of its layers into one function.

    Attributes:
        table: What `project_embeddings` returns for each token (vocabulary, any).
    """

    output_is_readout = True

    def __init__(self, model: CharLM) -> None:
        table = project_embeddings(model, model.embed.weight)
        super().__init__(table.shape[1], model.hidden_size)
        self.model, self.table = model, table
        self.layers = nn.ModuleList(cell.prepared() for cell in model.cells)

    def project_inputs(self, x: Tensor) -> Tensor:
        """Return x, a row of the table: it is projected."""
        return x

    def initial_state(self, batch_size: int) -> State:
        """Return the logits of the first token, then the states of all layers."""
        state = self.model.initial_state(batch_size)
        layers = zip(self.model.cells, state, strict=False)
        return self.model.next_token_logits(state), *(part for _, layer in layers for part in layer)

    def step(self, Wx: Tensor, state: State) -> State:
        """Return the logits after a token, and the states of all layers."""
        model, h = self.model, Wx
        after: list[Tensor] = []
        if model.residual:
            h, Wx = Wx.split([model.hidden_size, self.input_size - model.hidden_size], dim=-1)
        _, *parts = state
        cells = cast(list[Cell], list(self.layers))
        layers = zip(cells, model.layer_blocks, model.layer_convolutions, strict=True)
        for index, (cell, block, convolution) in enumerate(layers):
            last, parts = tuple(parts[: len(cell.states)]), parts[len(cell.states) :]
            past: State = ()
            if index:
                Wx = block.pre_cell(h)
            if convolution is not None:
                number = len(convolution.taps) - 1
                past, parts = tuple(parts[:number]), parts[number:]
                Wx, past = convolution.step(Wx, past)
            if index or convolution is not None:
                Wx = cell.project_inputs(Wx)
            new = cell.step(Wx, last)
            h = block.post_cell(h, None, new[0])
            after += (*new, *past)
        return model.predict(model.norm(h)), *after


def generation_kernel(model: CharLM) -> StepKernel:
    """Return the kernel that writes text with a model, token by token; it is set to eval mode."""
    return single_step_kernel(model.kernel, TokenStep(model.eval()))
