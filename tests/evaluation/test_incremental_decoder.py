"""Tests that generation and scoring predict the same."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from charlm.cells.base import CELLS
from charlm.config import validate_config
from charlm.data.vocabulary import Vocabulary
from charlm.evaluation.generation import IncrementalDecoder
from charlm.evaluation.scoring import iter_token_nll, token_nll
from charlm.kernels.registry import supported_kernels
from charlm.models.char_lm import CharLM


@pytest.mark.parametrize(
    ("cell", "block"),
    [
        *((cell, "none") for cell in ("lstm", "clockwork", "matrix-lstm", "depth-gated-lstm")),
        ("lstm", "residual"),
    ],
)
def test_incremental_decoding_equals_scoring(cell: str, block: str) -> None:
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
            decoder = IncrementalDecoder(model)
            predicted = []
            for token in ids[:, 0]:
                predicted.append(token_nll(decoder.next_logits, torch.tensor(int(token))))
                decoder.advance(int(token))
        assert_close(torch.stack(predicted), scored, rtol=0, atol=1e-5)
