"""Presets: named bundles of cell, sizes, regularisation and budget, for a time on one core."""

import msgspec

from charlm.registry import unknown_name_error
from charlm.settings.values import Setting


class Preset(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that fit a time; `scripts/presets.py` measures them."""

    help: str
    settings: dict[str, Setting]  # fields of `Config`


# Those of docs/explanation/race.md, which were found on tiny Shakespeare.
COMMON: dict[str, Setting] = {
    "cell": "gru-cho",
    "recurrent_init": "orthogonal",
    "embedding_dim": 128,
    "batch_size": 16,
    "seq_len": 32,
    "weight_decay": 0.05,
    "grad_clip": 1.0,
    "warmup_steps": 20,
    "lr_schedule": "linear",
}
PRESETS = {
    "minute": Preset(
        help="small and without dropout",
        settings=COMMON | {"hidden_size": 192, "learning_rate": 0.008, "characters": 3_000_000},
    ),
    "hour": Preset(
        help="with dropout of outputs and recurrent weights",
        settings=COMMON
        | {
            "hidden_size": 448,
            "embedding_dim": 256,
            "batch_size": 32,
            "learning_rate": 0.006,
            "dropout": 0.2,
            "weight_dropout": 0.2,
            "characters": 20_000_000,
        },
    ),
    "night": Preset(
        help="a wider model, for texts of many megabytes",
        settings=COMMON
        | {
            "hidden_size": 768,
            "embedding_dim": 256,
            "batch_size": 32,
            "learning_rate": 0.004,
            "dropout": 0.2,
            "weight_dropout": 0.2,
            "characters": 100_000_000,
        },
    ),
}


def get_preset(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        UnknownNameError: There is none; the message lists the names.
    """
    if name not in PRESETS:
        raise unknown_name_error("preset", name, PRESETS)
    return PRESETS[name]
