"""Twenty losses a cell, written down: who changes a number changes its file, and says why.

`make golden` writes them anew. Float64, one thread.
"""

import os
from pathlib import Path

import pytest
import torch
from conftest import prose

from charlm.cell import CELLS
from charlm.config import checked
from charlm.corpus import Batches, load
from charlm.learner import Learner
from charlm.model import make

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("cell", CELLS)
def test_the_first_losses_are_those_written_down(cell: str, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(prose(3000))
    multiple = CELLS[cell].multiple
    hidden = -(-12 // multiple) * multiple
    config = checked(
        {"cell": cell, "layers": 2, "hidden": hidden, "embedding": 6, "batch": 4, "time": 16}
        | {"dropout": 0.1, "start": "learned", "learning_rate": 0.02, "warmup": 5}
    )
    corpus = load(config, [str(tmp_path / "book.txt")])
    learner = Learner(make(config, corpus.alphabet.size, "loop", "cpu").double(), config, 20)
    batches = Batches(corpus.split("train"), config.batch, config.time, config.seed)
    losses = [learner.learn(batches[update]).bits for update in range(20)]
    path = GOLDEN / f"{cell}.txt"
    if os.environ.get("CHARLM_GOLDEN") == "write":
        path.write_text("".join(f"{bits:.12f}\n" for bits in losses))
    written = [float(line) for line in path.read_text().split()]
    torch.testing.assert_close(losses, written, rtol=0, atol=1e-6)
