"""Tests that generation and scoring predict the same."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from charlm.cells.base import CELLS
from charlm.config import validate_config
from charlm.data.vocabulary import Vocabulary
from charlm.evaluation.sample_writer import TokenStreams
from charlm.evaluation.scoring import iter_token_nll, token_nll
from charlm.kernels.compiled.single_token import CompiledTokenReader, single_token_code
from charlm.kernels.registry import supported_kernels
from charlm.models.char_lm import CharLM
from charlm.models.token_step import TokenStep, generation_kernel


@pytest.mark.parametrize(
    ("cell", "block"),
    [
        *((cell, "none") for cell in ("lstm", "clockwork", "matrix-lstm", "depth-gated-lstm")),
        ("lstm", "residual"),
    ],
)
def test_token_streams_equal_scoring(cell: str, block: str) -> None:
    """Token by token and all at once: the same distribution, in float32."""
    config = validate_config(
        {"cell": cell, "num_layers": 2, "hidden_size": 16, "embedding_dim": 8, "block": block}
    )
    vocabulary = Vocabulary("chars", tuple(range(97, 97 + 8)))
    ids = np.random.default_rng(0).integers(0, 8, (40, 1), dtype=np.uint8)
    torch.manual_seed(0)
    for kernel in ("loop", supported_kernels(CELLS[cell](8, 16), "cpu")[0]):
        model = CharLM(config, 9, kernel)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.3)
        scored = torch.cat(list(iter_token_nll(model, ids, vocabulary)))[:, 0]
        with torch.inference_mode():
            streams = TokenStreams(model)
            predicted = []
            for token in ids[:, 0]:
                predicted.append(token_nll(streams.next_logits[0], torch.tensor(int(token))))
                streams.advance([int(token)])
        assert_close(torch.stack(predicted), scored, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "block", "is_compiled"),
    [
        *((cell, "none", True) for cell in ("rg-lru", "mogrifier")),
        *((cell, "residual", True) for cell in ("gru", "mingru")),
        *((cell, "none", False) for cell in ("attention", "matrix-lstm")),  # no vectors as states
    ],
)
def test_all_layers_are_one_compiled_function(cell: str, block: str, is_compiled: bool) -> None:
    sizes = {"num_layers": 2, "hidden_size": 16, "embedding_dim": 16}
    model = CharLM(validate_config({"cell": cell, "block": block, **sizes}), 9).eval()
    assert isinstance(single_token_code(TokenStep(model)), str) != is_compiled
    model.kernel = "compiled"
    writes = generation_kernel(model)
    assert (writes.name, not writes.reason) == (("loop", "compiled")[is_compiled], is_compiled)
    model.kernel = "native"
    assert generation_kernel(model) == ("loop", "native reads whole texts only")


def test_token_that_is_not_in_the_table_is_an_error() -> None:
    model = CharLM(validate_config({"cell": "rnn", "hidden_size": 16, "embedding_dim": 8}), 9)
    step = TokenStep(model.eval())
    read = CompiledTokenReader(step, step.table.detach(), step.initial_state(2))
    for token in (-1, 9):
        with pytest.raises(IndexError, match="is not in the table of 9"):
            read([0, token])
