"""The first twenty losses of each cell, in float64 on one thread, against files in tests/golden.

`make golden` writes them again; whoever does it says why in the commit.
"""

import os
from pathlib import Path

import pytest
from conftest import prose
from torch.testing import assert_close

from charlm.cells.base import CELLS
from charlm.config import validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import Corpus, load_corpus
from charlm.models.build import build_char_lm
from charlm.training.trainer import Trainer

GOLDEN = Path(__file__).parents[1] / "golden"
NUM_STEPS = 20


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    path = tmp_path_factory.mktemp("text") / "book.txt"
    path.write_text(prose(3000))
    return load_corpus([str(path)])


@pytest.mark.parametrize("cell", CELLS)
def test_first_losses_equal_golden_ones(cell: str, corpus: Corpus) -> None:
    multiple = CELLS[cell].size_multiple()
    shape = {"num_layers": 2, "hidden_size": -(-12 // multiple) * multiple, "embedding_dim": 6}
    training = {"batch_size": 4, "seq_len": 16, "dropout": 0.1, "initial_state": "learned"}
    training |= {"learning_rate": 0.02, "warmup_steps": 5, "grad_clip": 1.0}
    training |= {"lr_schedule": "linear"}
    config = validate_config({"cell": cell, **shape, **training})
    model = build_char_lm(config, corpus.vocabulary.size, "loop", "cpu").double()
    trainer = Trainer(model, config, NUM_STEPS)
    batches = BatchSampler(corpus.split("train"), config.batch_size, config.seq_len, config.seed)
    losses = [trainer.train_step(batches[step]).bits for step in range(NUM_STEPS)]
    path = GOLDEN / f"{cell}.txt"
    if os.environ.get("CHARLM_GOLDEN") == "write":
        path.write_text("".join(f"{bits:.12f}\n" for bits in losses))
    golden = [float(line) for line in path.read_text().split()]
    assert_close(losses, golden, rtol=0, atol=1e-6)
