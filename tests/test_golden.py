"""Twenty losses a cell, written down: who changes a number changes its file, and says why.

`make golden` writes them anew. Float64, one thread.
"""

import os
from pathlib import Path

import pytest
import torch
from conftest import prose

from charlm.cells.base import CELLS
from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus
from charlm.models.build import build_char_lm
from charlm.training.trainer import Trainer

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("cell", CELLS)
def test_the_first_losses_are_those_written_down(cell: str, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(prose(3000))
    multiple = CELLS[cell].hidden_size_multiple
    hidden = -(-12 // multiple) * multiple
    config = validate_config(
        {
            "cell": cell,
            "num_layers": 2,
            "hidden_size": hidden,
            "embedding_dim": 6,
            "batch_size": 4,
            "seq_len": 16,
        }
        | {"dropout": 0.1, "initial_state": "learned", "learning_rate": 0.02, "warmup_steps": 5}
    )
    corpus = load_corpus([str(tmp_path / "book.txt")], config)
    learner = Trainer(
        build_char_lm(config, corpus.vocabulary.size, "loop", "cpu").double(), config, 20
    )
    batches = BatchSampler(corpus.split("train"), config.batch_size, config.seq_len, config.seed)
    losses = [learner.train_step(batches[update]).bits for update in range(20)]
    path = GOLDEN / f"{cell}.txt"
    if os.environ.get("CHARLM_GOLDEN") == "write":
        path.write_text("".join(f"{bits:.12f}\n" for bits in losses))
    written = [float(line) for line in path.read_text().split()]
    torch.testing.assert_close(losses, written, rtol=0, atol=1e-6)
