"""Run configuration: each field defines an option, its help text and a key of run.json.

`cli/options.py` builds the options from these annotations. msgspec checks every value against
them, whether it comes from the command line or from a run directory.
"""

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from charlm.cells.names import parse_custom_cell
from charlm.errors import ConfigError

FORMAT_VERSION = 5  # of run directories: raised when an older charlm cannot read a newer run
DEFAULT_CHARACTERS = 2_000_000  # budget of a run on a text if none is given
DEFAULT_MAX_STEPS = 2000  # budget on a task if none is given
TEST_CHARS_PER_MINUTE = 100_000  # that are scored at most if the budget is in minutes
BUDGETS = ("characters", "max_steps", "epochs", "minutes")
MIN_CHRONO_LENGTH = 3  # the shortest memory that chrono initialization is defined for
PositiveInt = Annotated[int, Meta(ge=1, le=2**20)]
NonNegativeInt = Annotated[int, Meta(ge=0, le=10**9)]
TEXT, MODEL, TRAINING, MACHINE = "Text", "Model", "Training", "Machine"


class OptionMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """Command-line option of a field."""

    panel: str  # heading in --help
    help: str
    aliases: tuple[str, ...] = ()  # further spellings
    metavar: str = ""  # empty: derived from the type
    can_change: bool = False  # whether a resumed run may have another value
    default: str = ""  # text that --help shows; empty: the default of the field


def option(
    panel: str,
    text: str,
    *aliases: str,
    metavar: str = "",
    can_change: bool = False,
    default: str = "",
) -> Meta:
    """Return the annotation that makes a field an option."""
    metadata = OptionMetadata(
        panel=panel,
        help=text,
        aliases=aliases,
        metavar=metavar,
        can_change=can_change,
        default=default,
    )
    return Meta(description=text, extra={"option": metadata})


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings that determine what a run computes, and how it is executed."""

    # text
    glob: Annotated[
        str, option(TEXT, "Pattern of the files to read in a directory.", metavar="GLOB")
    ] = "**/*.txt"
    vocab: Annotated[
        Literal["chars", "bytes"],
        option(TEXT, "Kind of token: Unicode code points or single bytes."),
    ] = "chars"
    split_ratios: Annotated[
        str,
        option(
            TEXT, "Proportions of the train, valid and test splits, in this order.", metavar="A/B/C"
        ),
    ] = "90/5/5"
    split_by: Annotated[
        Literal["auto", "position", "file", "line"],
        option(
            TEXT,
            "What a split is made of: position (one cut through the whole text), file (each file "
            "is in one split, by a hash of its path) or line (for independent items, by a hash of "
            "the line). auto: file where the text is at least 100 files, else position.",
        ),
    ] = "auto"
    test_chars: Annotated[
        int,
        Meta(ge=0, le=10**12),
        option(
            TEXT,
            "Score at most this many characters of the test split: the beginnings of its files, "
            "all cut at the same length, or the beginning of the split if it is not by file.",
            default=f"all; with --minutes {TEST_CHARS_PER_MINUTE} per minute",
        ),
    ] = 0
    min_char_frequency: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(
            TEXT,
            "Characters that are rarer in the training split are coded as unknown characters.",
        ),
    ] = 1e-5
    valid_file: Annotated[
        str,
        option(TEXT, "File to validate on, instead of a split.", metavar="PATH", can_change=True),
    ] = ""
    test_file: Annotated[
        str, option(TEXT, "File to test on, instead of a split.", metavar="PATH", can_change=True)
    ] = ""

    # model
    cell: Annotated[
        str,
        option(
            MODEL, "Recurrent cell: a name from charlm cells, or FILE.py:CLASS.", metavar="CELL"
        ),
    ] = "lstm"
    hidden_size: Annotated[PositiveInt, option(MODEL, "Units per layer.")] = 256
    num_layers: Annotated[int, Meta(ge=1, le=64), option(MODEL, "Recurrent layers.")] = 1
    embedding_dim: Annotated[PositiveInt, option(MODEL, "Size of a token's embedding.")] = 64
    dropout: Annotated[
        float, Meta(ge=0, lt=1), option(MODEL, "Dropout probability of each layer's output.")
    ] = 0.0
    weight_dropout: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(MODEL, "Dropout probability of the hidden-to-hidden weights."),
    ] = 0.0
    tie_weights: Annotated[
        bool, option(MODEL, "Use one matrix as input embedding and output projection.")
    ] = False
    initial_state: Annotated[
        Literal["zero", "learned"], option(MODEL, "State before the first token.")
    ] = "zero"
    forget_bias: Annotated[
        str,
        option(
            MODEL,
            "Initial bias of the LSTM forget gate, GRU update gate and similar gates: default, a "
            "number, chrono or chrono:N (N tokens; chrono alone takes --seq-len). default leaves "
            "it to the cell.",
            metavar="BIAS",
        ),
    ] = "default"
    recurrent_init: Annotated[
        Literal["recipe", "default", "orthogonal"],
        option(
            MODEL,
            "Initial hidden-to-hidden matrices: recipe (the cell's recipe names one of the other "
            "two), default (leaves them to the cell) or orthogonal.",
        ),
    ] = "recipe"
    block: Annotated[
        Literal["none", "residual"],
        option(MODEL, "Block around each cell. residual: pre-norm, residual and gated MLP."),
    ] = "none"
    kernel: Annotated[
        str,
        option(
            MODEL,
            "Implementation of the recurrence: auto, or a name from charlm cells.",
            metavar="KERNEL",
            can_change=True,
        ),
    ] = "auto"

    # training
    batch_size: Annotated[
        int,
        Meta(ge=0, le=2**20),
        option(TRAINING, "Streams per batch.", default="the cell's recipe"),
    ] = 0
    seq_len: Annotated[
        PositiveInt,
        option(TRAINING, "Tokens per step: length of truncated backpropagation.", "--bptt"),
    ] = 64
    characters: Annotated[
        int,
        Meta(ge=0, le=10**12),
        option(
            TRAINING,
            "Stop after reading this many characters of the training split.",
            default=f"{DEFAULT_CHARACTERS} where there is no other budget",
        ),
    ] = 0
    max_steps: Annotated[
        NonNegativeInt,
        option(
            TRAINING,
            "Stop after this many optimizer steps.",
            "--steps",
            default=f"none; on a task {DEFAULT_MAX_STEPS}",
        ),
    ] = 0
    epochs: Annotated[
        float, Meta(ge=0, le=1e6), option(TRAINING, "Stop after this many epochs.", default="none")
    ] = 0.0
    minutes: Annotated[
        float,
        Meta(ge=0, le=1e6),
        option(
            TRAINING,
            "Take about this many minutes for the whole command, from start-up to the final score. "
            "The step time is measured first.",
            default="none",
        ),
    ] = 0.0
    learning_rate: Annotated[
        float,
        Meta(ge=0, le=1000),
        option(TRAINING, "Peak learning rate of AdamW.", "--lr", default="the cell's recipe"),
    ] = 0.0
    lr_schedule: Annotated[
        Literal["wsd", "linear", "cosine"],
        option(
            TRAINING,
            "Decay of the learning rate, to 2 % of its peak: wsd (constant, then linear over the "
            "last fifth of the run), linear or cosine.",
        ),
    ] = "wsd"
    branches: Annotated[
        str,
        option(
            TRAINING,
            "Fractions of the budget, such as 1/8,1/3, at which a copy of the model is decayed as "
            "if the run ended there, validated and thrown away. Needs --lr-schedule wsd.",
            metavar="FRACTIONS",
            default="none",
        ),
    ] = ""
    warmup_steps: Annotated[
        NonNegativeInt, option(TRAINING, "Steps of linear warmup, a tenth of the run at most.")
    ] = 50
    beta1: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(TRAINING, "AdamW beta1: decay rate of the gradient average."),
    ] = 0.8
    weight_decay: Annotated[
        float, Meta(ge=0, le=10), option(TRAINING, "AdamW weight decay, of matrices only.")
    ] = 0.01
    grad_clip: Annotated[
        float,
        Meta(ge=0, le=1e9),
        option(TRAINING, "Largest norm of the whole gradient.", default="the cell's recipe"),
    ] = 0.0
    seed: Annotated[
        int, Meta(ge=0, le=2**63 - 1), option(TRAINING, "Seed of weights, data order and dropout.")
    ] = 0
    eval_every: Annotated[
        NonNegativeInt,
        option(
            TRAINING,
            "Steps between validations.",
            metavar="STEPS",
            default="a 10th of the run; on a task 50",
        ),
    ] = 0
    final_eval: Annotated[
        Literal["test", "valid", "none"], option(TRAINING, "Split to score exactly at the end.")
    ] = "test"

    # machine
    device: Annotated[
        str,
        option(MACHINE, "Device: auto, cpu, cuda or cuda:N.", metavar="DEVICE", can_change=True),
    ] = "auto"
    threads: Annotated[
        int, Meta(ge=1, le=1024), option(MACHINE, "CPU threads.", can_change=True)
    ] = 1
    save_every: Annotated[
        float,
        Meta(gt=0, le=1e9),
        option(MACHINE, "Seconds between checkpoints.", metavar="SECONDS", can_change=True),
    ] = 60.0
    keep: Annotated[
        Literal["weights", "all"],
        option(
            MACHINE,
            "What a finished run keeps: its best weights alone, or all of its last checkpoints.",
            can_change=True,
        ),
    ] = "weights"

    def __post_init__(self) -> None:
        """Check what the types cannot express.

        Raises:
            ConfigError: A value has no meaning, or two contradict each other.
        """
        parse_custom_cell(self.cell)
        parse_split_ratios(self.split_ratios)
        parse_forget_bias(self.forget_bias, self.seq_len)
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

# Settings of a text and of a run that reads it: they have no meaning for a task.
TEXT_ONLY_FIELDS = (
    *("glob", "vocab", "split_ratios", "split_by", "test_chars", "min_char_frequency"),
    *("valid_file", "test_file", "seq_len", "characters", "epochs", "minutes", "branches"),
    *("final_eval", "save_every", "keep"),
)


def parse_split_ratios(ratios: str) -> tuple[Fraction, Fraction, Fraction]:
    """Return the exact proportions of train, valid and test: '90/5/5' -> (9/10, 1/20, 1/20).

    Raises:
        ConfigError: The text is not three positive numbers.
    """
    number = r"(\d{1,9}(?:\.\d{1,9})?)"
    match = re.fullmatch(f"{number}/{number}/{number}", ratios)
    train, valid, test = map(Fraction, match.groups()) if match else (Fraction(0),) * 3
    if not min(train, valid, test):
        raise ConfigError(
            f"cannot use --split-ratios {ratios}: it must be three positive numbers, for train, "
            "valid and test. Try 90/5/5"
        )
    total = train + valid + test
    return train / total, valid / total, test / total


def parse_branches(text: str) -> tuple[Fraction, ...]:
    """Return the fractions of the budget at which a branch ends: '1/8,1/3' -> (1/8, 1/3).

    Raises:
        ConfigError: The text is not empty and not a list of ascending fractions between 0 and 1.
    """
    if not text:
        return ()
    number = r"\s*(\d{1,9}(?:/\d{1,9}|\.\d{1,9})?)\s*"
    matches = [re.fullmatch(number, part) for part in text.split(",")]
    try:
        fractions = tuple(Fraction(match[1]) for match in matches if match)
    except ZeroDivisionError:
        fractions = ()
    ascending = list(fractions) == sorted(set(fractions))
    if (
        len(fractions) != len(matches)
        or not ascending
        or not 0 < min(fractions) <= max(fractions) < 1
    ):
        raise ConfigError(
            f"cannot use --branches {text}: it must be ascending fractions of the budget, between "
            "0 and 1. Try 1/8,1/3"
        )
    return fractions


class ForgetBias(msgspec.Struct, frozen=True):
    """Parsed `forget_bias`: both None leave it to the cell."""

    bias: float | None = None  # the same for all units
    chrono_length: int | None = None  # longest memory of chrono initialization, in tokens


def parse_forget_bias(text: str, seq_len: int) -> ForgetBias:
    """Parse default, a number, chrono or chrono:N.

    Args:
        text: Value of `forget_bias`.
        seq_len: Longest memory in tokens, where chrono names none.

    Raises:
        ConfigError: The text is none of these, or N is below 3.
    """
    if text == "default":
        return ForgetBias()
    if match := re.fullmatch(r"chrono(?::(\d{1,9}))?", text):
        length = int(match[1] or seq_len)
        if length < MIN_CHRONO_LENGTH:
            raise ConfigError(
                f"cannot use --forget-bias {text}: chrono needs at least {MIN_CHRONO_LENGTH} "
                "tokens. Try chrono:100"
            )
        return ForgetBias(chrono_length=length)
    try:
        bias = float(text)
    except ValueError:
        bias = math.nan
    if not math.isfinite(bias):
        raise ConfigError(
            f"cannot use --forget-bias {text}: it must be default, a number, chrono or chrono:N. "
            "Try --forget-bias 2"
        )
    return ForgetBias(bias=bias)


def describe_block(block: str) -> str:
    """Return the name of a block, for tables."""
    return "bare cells" if block == "none" else "residual blocks"


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
        raise ConfigError(
            f"cannot use {option_name(name)} {values[name]}: {problem[0].lower()}{problem[1:]}. "
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

    Overrides that leave a setting to the recipe are ignored: the run has resolved it.

    Raises:
        ConfigError: An override differs from a setting that must not change.
    """
    overrides = {
        name: value
        for name, value in overrides.items()
        if name not in LEFT_TO_RECIPE or value != LEFT_TO_RECIPE[name]
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
