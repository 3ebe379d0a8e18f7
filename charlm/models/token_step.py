"""A whole character model as one cell: a token in, the logits of the next one out."""

import torch
from torch import Tensor

from charlm.cells.base import Cell, State
from charlm.models.char_lm import CharLM


class TokenStep(Cell):
    """Character model as a cell, so that a kernel can compile all of its layers into one function.

    Attributes:
        table: What depends on a token alone (vocabulary, any): the projected input of the first
            layer, after the input itself where a residual block adds to it.
    """

    output_is_readout = True

    def __init__(self, model: CharLM) -> None:
        embeddings = model.input_projection(model.embed.weight)
        first_cell, first_block = model.cells[0], model.layer_blocks[0]
        table = first_cell.project_inputs(first_block.pre_cell(embeddings))
        if model.residual:
            table = torch.cat((embeddings, table), dim=-1)
        super().__init__(table.shape[1], model.hidden_size)
        self.model, self.table = model, table

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
        for index, (cell, block) in enumerate(zip(model.cells, model.layer_blocks, strict=True)):
            if index:
                Wx = cell.project_inputs(block.pre_cell(h))
            last, parts = tuple(parts[: len(cell.states)]), parts[len(cell.states) :]
            new = cell.step(Wx, last)
            h = block.post_cell(h, None, new[0])
            after += new
        return model.predict(model.norm(h)), *after
