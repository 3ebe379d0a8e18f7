"""The Transformer beside the cells: the same parameters, seeds and data order, and trained once."""

from pathlib import Path
from typing import Any

from conftest import TINY

from charlm import transformer
from charlm.compare import Planned, plan
from charlm.encoder import Digest
from charlm.match import equal

TEXT = Digest("ab" * 32, (100,))
SETTINGS = {**TINY, "embedding": 8, "keep_bias": "chrono", "recurrent_init": "orthogonal"}
SETTINGS |= {"weight_dropout": 0.5, "kernel": "compiled", "learning_rate": 0.02}


def planned(said: list[str], parameters: int = 30_000, **settings: Any) -> list[Planned]:
    given = {**SETTINGS, **settings}
    return transformer.planned(given, 2, parameters, TEXT, 50, Path("x"), said.append)


def test_it_is_trained_as_the_cells_are_but_for_what_attention_has_not() -> None:
    said: list[str] = []
    runs = planned(said)
    assert [one.config.seed for one in runs] == [0, 1] and not said
    for one in runs:
        assert abs(one.parameters - 30_000) <= 600
        config = one.config
        assert (config.cell, config.block, config.layers) == ("attention", "residual", 4)
        assert (config.learning_rate, config.updates, config.batch) == (0.02, 12, 4)


def test_what_the_comparison_has_among_its_cells_is_trained_once() -> None:
    runs = planned([])
    assert [job.name for job in transformer.jobs(runs, [], [])] == [
        *("transformer seed 0", "transformer seed 1")
    ]
    own = {**SETTINGS, **transformer.SETTINGS}
    footing = equal(own, ["attention", "lstm"], 30_000, 50, tolerance=transformer.TOLERANCE)
    cells = plan(own, 1, footing, TEXT, 50, Path("x"))
    assert [job.name for job in transformer.jobs(runs, cells, [])] == ["transformer seed 1"]


def test_where_none_has_so_few_parameters_the_cells_are_compared_without_it() -> None:
    said: list[str] = []
    assert planned(said, 700) == []
    assert len(said) == 1 and said[0].startswith("no transformer stands beside the cells: ")
    told = transformer.baseline([])
    assert told["bits_per_char"] is None and "no size of 4 blocks" in told["protocol"]
