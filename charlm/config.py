"""Run configuration: each field defines an option, its help text and a key of run.json.

`cli/options.py` builds the options from these annotations. msgspec checks every value against
them, whether it comes from the command line or from a run directory.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from charlm.cells.names import parse_custom_cell
from charlm.errors import ConfigError, InvalidValueError
from charlm.settings.expected import describe_expected
from charlm.settings.options import (
    MACHINE,
    TRAINING,
    Name,
    OptionMetadata,
    Word,
    option,
)
from charlm.settings.values import (
    DECAY_FRACTION,
    Setting,
    document_separator,
    parse_branches,
    parse_forget_bias,
    parse_split_ratios,
)
from charlm.settings.windows import WindowSettings

FORMAT_VERSION = 6  # of run directories: raised when an older charlm cannot read a newer run
DEFAULT_CHARACTERS = 2_000_000  # budget of a run on a text if none is given
DEFAULT_MAX_STEPS = 2000  # budget on a task if none is given
MEASURED_THREADS = 0  # `threads` that are to be measured
MAX_THREADS = 1024  # far more end a process without a message
BUDGETS = ("characters", "max_steps", "epochs", "minutes")
NonNegativeInt = Annotated[int, Meta(ge=0, le=10**9)]


class Config(WindowSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings that determine what a run computes, and how it is executed."""

    # training
    characters: Annotated[
        int,
        Meta(ge=0, le=10**12),
        option(TRAINING, "Budget: characters to read.", default=str(DEFAULT_CHARACTERS)),
    ] = 0
    max_steps: Annotated[
        NonNegativeInt,
        option(TRAINING, "Budget: optimizer steps.", "--steps", default="none"),
    ] = 0
    epochs: Annotated[
        float,
        Meta(ge=0, le=1e6),
        option(TRAINING, "Budget: epochs.", default="none"),
    ] = 0.0
    minutes: Annotated[
        float,
        Meta(ge=0, le=1e6),
        option(TRAINING, "Budget: minutes of the whole command.", default="none"),
    ] = 0.0
    learning_rate: Annotated[
        float,
        Meta(ge=0, le=1000),
        option(TRAINING, "Peak rate of AdamW.", "--lr", default="the cell's recipe"),
    ] = 0.0
    lr_schedule: Annotated[
        Literal["wsd", "linear", "cosine"],
        option(
            TRAINING,
            f"Decay of the rate: wsd (1 - sqrt in the last {100 * DECAY_FRACTION:g} % of the run), "
            "linear or cosine.",
        ),
    ] = "wsd"
    branches: Annotated[
        Name,
        option(
            TRAINING,
            "Parts of the budget, such as 1/8,1/3, at which a copy is decayed and validated (wsd).",
            metavar="PARTS",
        ),
    ] = ""
    warmup_steps: Annotated[NonNegativeInt, option(TRAINING, "Steps of linear warmup.")] = 50
    beta1: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(TRAINING, "Decay of AdamW's gradient average."),
    ] = 0.8
    weight_decay: Annotated[
        float, Meta(ge=0, le=10), option(TRAINING, "AdamW weight decay of matrices.")
    ] = 0.01
    grad_clip: Annotated[
        float,
        Meta(ge=0, le=1e9),
        option(TRAINING, "Largest gradient norm.", default="the cell's recipe"),
    ] = 0.0
    seed: Annotated[
        int, Meta(ge=0, le=2**63 - 1), option(TRAINING, "Seed of weights, order and dropout.")
    ] = 0
    eval_every: Annotated[
        NonNegativeInt,
        option(TRAINING, "Validation interval.", metavar="STEPS", default="a 10th; of a task: 50"),
    ] = 0
    final_eval: Annotated[
        Literal["test", "valid", "none"], option(TRAINING, "Final score: test, valid or none.")
    ] = "test"

    dtype: Annotated[
        Literal["fp32", "bf16"],
        option(TRAINING, "Type: fp32, or bf16 autocast on CUDA."),
    ] = "fp32"

    # machine
    device: Annotated[
        Word,
        option(
            MACHINE, "Where: auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE", can_change=True
        ),
    ] = "auto"
    threads: Annotated[
        int,
        Meta(ge=0, le=MAX_THREADS),
        option(
            MACHINE,
            "CPU threads; auto measures.",
            metavar="N|auto",
            can_change=True,
            words={"auto": MEASURED_THREADS},
        ),
    ] = 1
    save_every: Annotated[
        float,
        Meta(gt=0, le=1e9),
        option(MACHINE, "Seconds between checkpoints.", metavar="SECONDS", can_change=True),
    ] = 60.0
    keep: Annotated[
        Literal["weights", "state", "all"],
        option(
            MACHINE,
            "Keep the best weights; with state also what a longer budget needs; or all.",
            can_change=True,
        ),
    ] = "state"

    def __post_init__(self) -> None:
        """Check what the types cannot express.

        Raises:
            ConfigError: A value has no meaning, or two contradict each other.
        """
        parse_custom_cell(self.cell)
        parse_split_ratios(self.split_ratios)
        parse_forget_bias(self.forget_bias, self.seq_len)
        document_separator(self.documents)
        if parse_branches(self.branches) and self.lr_schedule != "wsd":
            raise ConfigError(
                f"cannot use --branches with --lr-schedule {self.lr_schedule}: the rate before a "
                "branch must not depend on the budget. Try --lr-schedule wsd"
            )
        budgets = [name for name in BUDGETS if getattr(self, name)]
        if len(budgets) > 1:
            options = ", ".join(map(option_name, budgets))
            raise ConfigError(
                f"cannot use {len(budgets)} budgets at once. Try to keep one of {options}"
            )
        if self.tie_weights and self.embedding_dim != self.hidden_size:
            raise ConfigError(
                "cannot use --tie-weights: --embedding-dim and --hidden-size must be equal, not "
                f"{self.embedding_dim} and {self.hidden_size}. "
                f"Try --embedding-dim {self.hidden_size}"
            )


# Values that leave a setting to the cell's recipe.
LEFT_TO_RECIPE = {
    "learning_rate": 0.0,
    "batch_size": 0,
    "grad_clip": 0.0,
    "recurrent_init": "recipe",
}
# Values that leave a setting open, until a run resolves them.
LEFT_OPEN = {**LEFT_TO_RECIPE, "threads": MEASURED_THREADS}

# Settings of a text and of a run that reads it: they have no meaning for a task.
TEXT_ONLY_FIELDS = (
    *("glob", "vocab", "split_ratios", "split_by", "test_chars", "min_char_frequency"),
    *("valid_file", "test_file", "seq_len", "characters", "epochs", "minutes", "branches"),
    *("final_eval", "save_every", "keep", "documents", "reset_prob"),
)


def describe_block(block: str, conv: int = 0) -> str:
    """Return the name of a block, and the width of its convolution, for tables."""
    name = "bare cells" if block == "none" else "residual blocks"
    return f"{name} with a convolution of {conv} token{'s' * (conv > 1)}" if conv else name


def describe_blocks(settings: Mapping[str, Setting]) -> str:
    """Return the name of the block of settings that several runs share."""
    return describe_block(str(settings["block"]), int(settings.get("conv", 0)))


def option_name(name: str) -> str:
    """Return the command-line option of a field."""
    return "--" + name.replace("_", "-")


@cache
def option_metadata(name: str) -> OptionMetadata:
    """Return the option of a field of `Config`."""
    annotations = get_type_hints(Config, include_extras=True)[name].__metadata__
    metadata = next(meta.extra["option"] for meta in annotations if meta.extra)
    assert isinstance(metadata, OptionMetadata)
    return metadata


def validate_config(values: Mapping[str, Any]) -> Config:
    """Return a Config with these values and otherwise defaults.

    Raises:
        ConfigError: A name is unknown, or a value has the wrong type or range.
    """
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        problem, _, name = str(error).partition(" - at `$.")
        name = name.rstrip("`")
        if name not in values:
            raise ConfigError(
                f"cannot use the settings: {problem}. Try `charlm train --help` for their names"
            ) from None
        expected = describe_expected(get_type_hints(Config, include_extras=True)[name])
        raise InvalidValueError(
            f"cannot use {option_name(name)} {values[name]}: it must be {expected}. "
            "Try another value"
        ) from None


def to_argv(
    config: Config, *, with_changeable: bool = True, exclude: Sequence[str] = ()
) -> list[str]:
    """Return the command-line options that give this Config again.

    Args:
        config: Settings.
        with_changeable: Whether to include settings that a resumed run may change. Without them,
            the options are exactly those that determine the result.
        exclude: Fields to leave out.
    """
    argv = []
    for name, value in msgspec.structs.asdict(config).items():
        if name in exclude or (not with_changeable and option_metadata(name).can_change):
            continue
        if isinstance(value, bool):
            argv.append(option_name(name if value else f"no_{name}"))
        else:
            argv.append(f"{option_name(name)}={value}")
    return argv


def resume_config(recorded: Config, overrides: Mapping[str, Any]) -> Config:
    """Return the settings of a resumed run, with the overrides that may change.

    Overrides that leave a setting open are ignored: the run has resolved it.

    Raises:
        ConfigError: An override differs from a setting that must not change.
    """
    overrides = {
        name: value
        for name, value in overrides.items()
        if name not in LEFT_OPEN or value != LEFT_OPEN[name]
    }
    differing = [
        f"{option_name(name)} {value} (the run has {getattr(recorded, name)})"
        for name, value in overrides.items()
        if value != getattr(recorded, name) and not option_metadata(name).can_change
    ]
    if differing:
        raise ConfigError(
            f"cannot change the settings of a resumed run: {'; '.join(differing)}. "
            "Leave them out, or train a new run with --run"
        )
    return validate_config({**msgspec.structs.asdict(recorded), **overrides})
