"""Settings of the runs that are stopped and resumed: a pairwise covering design over options."""

import itertools
import random
from collections.abc import Mapping, Sequence
from typing import Any

from charlm.cells.base import DEFAULT_NUM_HEADS
from charlm.cells.loader import get_cell
from charlm.cells.names import CELL_NAMES
from charlm.config import Config, validate_config
from charlm.kernels.registry import supported_kernels
from charlm.settings.model import CELL_OPTIONS

STEPS = 50
# 1,350 characters to train on: an epoch has 42, 28 or 7 steps.
COMMON = {
    "hidden_size": 8,
    "embedding_dim": 4,
    "batch_size": 4,
    "seq_len": 8,
    "max_steps": STEPS,
    "warmup_steps": 3,
    "learning_rate": 0.01,
    "grad_clip": 1.0,
    "recurrent_init": "default",
    "eval_every": 20,
    "test_chars": 60,
    "keep": "all",
    "save_every": 1e9,
}
STOCHASTIC = {"dropout": 0.2, "weight_dropout": 0.2, "initial_state": "learned"}
Settings = Mapping[str, Any]
# Each level is a set of settings; the first level of each factor is the simplest.
FACTORS: dict[str, tuple[Settings, ...]] = {
    "cell": tuple({"cell": name} for name in CELL_NAMES),
    "kernel": tuple({"kernel": number} for number in range(5)),  # one of those that serve the cell
    "schedule": (
        {"lr_schedule": "wsd"},
        {"lr_schedule": "wsd", "branches": "1/3,3/4"},
        {"lr_schedule": "linear"},
        {"lr_schedule": "cosine"},
    ),
    "warmup": ({"warmup_steps": 0}, {"warmup_steps": 3}, {"warmup_steps": 50}),
    "dropout": ({"dropout": 0.0}, {"dropout": 0.3}),
    "weight_dropout": ({"weight_dropout": 0.0}, {"weight_dropout": 0.3}),
    "layers": ({"num_layers": 1}, {"num_layers": 2}),
    "block": ({"block": "none"}, {"block": "residual"}),
    "initial_state": ({"initial_state": "zero"}, {"initial_state": "learned"}),
    "convolution": ({}, {"conv": 3}),
    "options": ({}, {"num_heads": 2, "eigenvalues": "signed"}),
    "recompute": ({}, {"recompute": 5}),
    "documents": ({}, {"documents": "e "}),
    "reset_prob": ({}, {"reset_prob": 0.3}),
    "vocab": ({"vocab": "chars"}, {"vocab": "bytes"}),
    "embedding": ({}, {"tie_weights": True, "embedding_dim": 8}),
    "clipping": ({"grad_clip": 1e9}, {"grad_clip": 0.1}),
    "adamw": ({}, {"beta1": 0.0, "weight_decay": 0.5}),
    "weights": ({}, {"recurrent_init": "orthogonal", "forget_bias": "chrono"}),
    "epoch": ({"seq_len": 8}, {"seq_len": 12}, {"seq_len": 48}),
    "score": (
        {"final_eval": "test", "eval_every": 20},
        {"final_eval": "none", "eval_every": 1},
        {"final_eval": "valid", "eval_every": 50},
    ),
}


def base_settings(cell: str) -> Config:
    """Return the settings of a cell with all that is drawn at random."""
    return resolve({**COMMON, **STOCHASTIC, "cell": cell, "kernel": 0})


def covering_settings(seed: int = 0) -> list[Config]:
    """Return settings such that any two levels of any two factors occur together."""
    factors = list(FACTORS.values())
    rows = cover_pairs([len(levels) for levels in factors], random.Random(seed))
    configs = []
    for row in rows:
        chosen = [levels[level] for levels, level in zip(factors, row, strict=True)]
        configs.append(resolve({**COMMON, **{k: v for part in chosen for k, v in part.items()}}))
    return configs


def cover_pairs(sizes: Sequence[int], rng: random.Random) -> list[tuple[int, ...]]:
    """Return rows of levels such that any two levels of any two factors are in one row.

    A row is built from a pair that is still missing; each further factor takes the level that adds
    most missing pairs.

    Args:
        sizes: Number of levels of each factor.
        rng: Source of the order in which factors are filled.
    """
    missing = {
        (first, one, second, other)
        for first, second in itertools.combinations(range(len(sizes)), 2)
        for one in range(sizes[first])
        for other in range(sizes[second])
    }
    rows = []
    while missing:
        first, one, second, other = min(missing)
        row = {first: one, second: other}
        rest = [factor for factor in range(len(sizes)) if factor not in row]
        rng.shuffle(rest)
        for factor in rest:
            levels = list(range(sizes[factor]))
            rng.shuffle(levels)
            row[factor] = max(levels, key=lambda level: _gain(missing, row, factor, level))
        rows.append(tuple(row[factor] for factor in range(len(sizes))))
        missing -= {
            (a, rows[-1][a], b, rows[-1][b])
            for a, b in itertools.combinations(range(len(sizes)), 2)
        }
    return rows


def _gain(
    missing: set[tuple[int, int, int, int]], row: Mapping[int, int], factor: int, level: int
) -> int:
    """Return how many missing pairs a level adds to a row."""
    return sum(
        (
            (other, row[other], factor, level)
            if other < factor
            else (factor, level, other, row[other])
        )
        in missing
        for other in row
    )


def resolve(settings: dict[str, Any]) -> Config:
    """Return the config, without what the cell does not have."""
    cell_type = get_cell(settings["cell"])
    for option in {*CELL_OPTIONS}.difference(cell_type.options):
        settings.pop(option, None)
    multiple = cell_type.size_multiple(settings.get("num_heads", DEFAULT_NUM_HEADS))
    settings["hidden_size"] = -(-settings["hidden_size"] // multiple) * multiple
    if settings.get("tie_weights"):
        settings["embedding_dim"] = settings["hidden_size"]
    cell = cell_type(4, settings["hidden_size"])
    if not cell.forget_gate:
        settings.pop("forget_bias", None)
    if not list(cell.recurrent_matrices()):
        settings |= {"recurrent_init": "default", "weight_dropout": 0.0}
    if settings["cell"] == "irnn":
        # Weight dropout multiplies the weights that it keeps of an identity: (1 / 0.98) ** 2400, in
        # 50 steps of 48 characters, is still a number.
        settings["weight_dropout"] = min(settings.get("weight_dropout", 0.0), 0.02)
    if cell.output_size != cell.hidden_size:
        settings["block"] = "none"
    kernels = supported_kernels(cell, "cpu")
    settings["kernel"] = kernels[settings["kernel"] % len(kernels)]
    return validate_config(settings)
