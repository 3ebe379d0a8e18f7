"""Settings of the search of recipes: where each cell starts, and what is changed."""

from typing import NamedTuple

from charlm.recipes import get_recipe

CHARACTERS = 1_200_000  # of a run, with a copy at a quarter of them
OTHER_CHARACTERS = 600_000  # of runs of the other cells, which are many
LINEAR_CELLS = ("mingru", "minlstm", "lru", "rg-lru", "matrix-lstm", "qrnn", "attention")
SOURCE = "python-source"
LARGE_CELLS = ("slstm", "mingru", "minlstm", "lru", "rg-lru", "matrix-lstm")
FIRST_CELLS = ("gru", "lstm", "rnn")
START_RATES = {"gru": 0.010, "lstm": 0.016, "rnn": 0.004, "clockwork": 0.004, "indrnn": 0.004}
START_RATES |= {"irnn": 0.008, "layernorm-lstm": 0.016, "coupled-lstm": 0.016, "lru": 0.006}
START_RATES |= {"peephole-lstm": 0.016, "attention": 0.006}
OTHER_CELLS = (  # one layer of depth-gated-lstm is an lstm
    *("mingru", "minlstm", "lru", "rg-lru", "matrix-lstm", "slstm", "sru", "mogrifier"),
    *("mul-lstm", "indrnn", "gru-cho", "coupled-lstm", "layernorm-lstm", "peephole-lstm"),
    *("qrnn", "irnn", "attention", "clockwork"),
)


class Setting(NamedTuple):
    """Identity of a run: its key in the CSV."""

    cell: str
    block: str
    text: str
    parameters: int
    characters: int
    batch_size: int
    recurrent_init: str
    grad_clip: float
    beta1: float
    beta2: float
    warmup_steps: int
    learning_rate: float
    seed: int


class Outcome(NamedTuple):
    """Result of a run: validation bits per character, infinite if it diverged."""

    short_bits: float
    long_bits: float
    vocabulary: int
    hidden_size: int
    seconds: float  # CPU


def start_setting(cell: str, text: str, parameters: int) -> Setting:
    """Return the settings that the search began with."""
    return Setting(
        cell=cell,
        block="residual" if cell in LINEAR_CELLS else "none",
        text=text,
        parameters=parameters,
        characters=CHARACTERS,
        batch_size=8,
        recurrent_init=get_recipe(cell).recurrent_init,
        grad_clip=1.0,
        beta1=0.9,
        beta2=0.99,
        warmup_steps=50,
        learning_rate=START_RATES.get(cell, 0.010),
        seed=0,
    )


def adopted(setting: Setting) -> Setting:
    """Return the setting with what gained: more of the newest gradients, and clipped earlier."""
    return setting._replace(grad_clip=0.25, beta1=0.8, beta2=0.95)


def at_rate(setting: Setting, steps: float) -> Setting:
    """Return the setting with a rate that is a number of factors of 2 away."""
    rate = float(f"{setting.learning_rate * 2**steps:.3g}")
    return setting._replace(learning_rate=rate)
