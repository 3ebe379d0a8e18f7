"""What a run is told, once: a field is a flag, a line of --help and a line of run.json.

Typer builds the flags from these annotations (flags.py) and msgspec checks every value against
them, whether it comes from a person or from a run that somebody sent.
"""

import math
import re
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from charlm.cells.names import parse_custom_cell
from charlm.errors import ConfigError

FORMAT_VERSION = 4  # of run directories: raised when an older charlm could not read a newer run
PositiveInt = Annotated[int, Meta(ge=1, le=2**20)]
NonNegativeInt = Annotated[int, Meta(ge=0, le=10**9)]
TEXT, MODEL, TRAINING, MACHINE = "CorpusRecord", "Model", "TrainingProgress", "Machine"


def option(panel: str, text: str, *also: str, free: bool = False) -> Meta:
    """Help for a field: where it stands in --help, what it says, other spellings of its flag.

    A free field may change when a run is resumed: it tells where and how, never what is computed.
    """
    return Meta(description=text, extra={"panel": panel, "also": also, "free": free})


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what a run computes, as the person asked for it."""

    # text
    glob: Annotated[str, option(TEXT, "which files of a directory are read")] = "**/*.txt"
    vocab: Annotated[
        Literal["characters", "bytes"],
        option(TEXT, "a symbol is a Unicode code point, or one of 256 bytes"),
    ] = "characters"
    split_ratios: Annotated[str, option(TEXT, "shares of train/valid/test, cut in this order")] = (
        "90/5/5"
    )
    valid_file: Annotated[str, option(TEXT, "validate on this file, not on a share", free=True)] = (
        ""
    )
    test_file: Annotated[str, option(TEXT, "test on this file, not on a share", free=True)] = ""

    # model
    cell: Annotated[
        str, option(MODEL, "the recurrence: one that charlm cells lists, or FILE.py:CLASS")
    ] = "lstm"
    hidden_size: Annotated[PositiveInt, option(MODEL, "units per layer")] = 256
    num_layers: Annotated[int, Meta(ge=1, le=64), option(MODEL, "recurrent layers")] = 1
    embedding_dim: Annotated[PositiveInt, option(MODEL, "width of a character's vector")] = 64
    dropout: Annotated[
        float, Meta(ge=0, lt=1), option(MODEL, "share of each layer's output dropped in training")
    ] = 0.0
    weight_dropout: Annotated[
        float,
        Meta(ge=0, lt=1),
        option(MODEL, "share of the weights from state to state dropped in each update"),
    ] = 0.0
    tie_weights: Annotated[
        bool, option(MODEL, "one table for reading and predicting (embedding = hidden)")
    ] = False
    initial_state: Annotated[
        Literal["zero", "learned"], option(MODEL, "the state before the first character")
    ] = "zero"
    forget_bias: Annotated[
        str,
        option(
            MODEL,
            "what units keep at first: a number, chrono or chrono:N, of at most N characters "
            "(--seq-len); 1 leaves it to the cell",
        ),
    ] = "1"
    recurrent_init: Annotated[
        Literal["default", "orthogonal"],
        option(MODEL, "matrices from state to state at first; default leaves them to the cell"),
    ] = "default"
    block: Annotated[
        Literal["none", "residual"],
        option(MODEL, "around each cell: nothing, or norm, residual and gated MLP"),
    ] = "none"
    kernel: Annotated[
        str,
        option(
            MODEL,
            "how time is walked: auto, or one of those that charlm cells lists",
            free=True,
        ),
    ] = "auto"

    # training
    batch_size: Annotated[PositiveInt, option(TRAINING, "streams read side by side")] = 32
    seq_len: Annotated[
        PositiveInt, option(TRAINING, "characters per update: the gradient's reach")
    ] = 64
    max_steps: Annotated[
        NonNegativeInt, option(TRAINING, "budget in optimiser updates; 2000 if there is no other")
    ] = 0
    epochs: Annotated[
        float, Meta(ge=0, le=1e6), option(TRAINING, "budget in readings of the text")
    ] = 0.0
    minutes: Annotated[
        float, Meta(ge=0, le=1e6), option(TRAINING, "budget in minutes, timed first")
    ] = 0.0
    learning_rate: Annotated[
        float, Meta(gt=0, le=1000), option(TRAINING, "AdamW's highest learning rate", "--lr")
    ] = 0.006
    lr_schedule: Annotated[
        Literal["cosine", "linear"], option(TRAINING, "how the learning rate falls, to 2 %")
    ] = "linear"
    warmup_steps: Annotated[
        NonNegativeInt, option(TRAINING, "updates to the highest rate, a tenth at most")
    ] = 100
    beta1: Annotated[
        float, Meta(ge=0, lt=1), option(TRAINING, "share of AdamW's direction that is of before")
    ] = 0.9
    weight_decay: Annotated[float, Meta(ge=0, le=10), option(TRAINING, "AdamW's, on matrices")] = (
        0.01
    )
    grad_clip: Annotated[
        float, Meta(gt=0, le=1e9), option(TRAINING, "largest norm of the whole gradient")
    ] = 1.0
    seed: Annotated[
        int, Meta(ge=0, le=2**63 - 1), option(TRAINING, "of weights, order and dropout")
    ] = 0
    eval_every: Annotated[
        NonNegativeInt,
        option(TRAINING, "updates between validations; 0: a 20th of the run, on a task 50"),
    ] = 0
    final_eval: Annotated[
        Literal["test", "valid", "none"], option(TRAINING, "split scored exactly at the end")
    ] = "test"

    # machine
    device: Annotated[str, option(MACHINE, "auto, cpu, cuda or cuda:N", free=True)] = "auto"
    threads: Annotated[int, Meta(ge=1, le=1024), option(MACHINE, "threads on a CPU", free=True)] = 1
    save_every: Annotated[
        float, Meta(gt=0, le=1e9), option(MACHINE, "seconds between checkpoints", free=True)
    ] = 60.0

    def __post_init__(self) -> None:
        parse_custom_cell(self.cell)
        parse_split_ratios(self.split_ratios)
        parse_chrono_bias(self.forget_bias, self.seq_len)
        asked = [name for name in ("max_steps", "epochs", "minutes") if getattr(self, name)]
        if len(asked) > 1:
            raise ConfigError(f"one budget, not {len(asked)}: keep one of --{', --'.join(asked)}")
        if self.tie_weights and self.embedding_dim != self.hidden_size:
            raise ConfigError(
                f"--tie-weights needs --embedding-dim and --hidden-size to be equal, not {self.embedding_dim} and "
                f"{self.hidden_size}: add --embedding-dim {self.hidden_size}"
            )


DEFAULT_MAX_STEPS = 2000  # the budget of a run that was told none
# What is about a text and the one run that reads it: it says nothing of a task.
TEXT_ONLY_FIELDS = (
    *("glob", "vocab", "split_ratios", "valid_file", "test_file", "seq_len", "epochs", "minutes"),
    *("final_eval", "save_every"),
)


def parse_split_ratios(split: str) -> tuple[Fraction, Fraction, Fraction]:
    """'90/5/5' -> (9/10, 1/20, 1/20), exactly."""
    number = r"(\d{1,9}(?:\.\d{1,9})?)"
    found = re.fullmatch(f"{number}/{number}/{number}", split)
    train, valid, test = map(Fraction, found.groups()) if found else (Fraction(0),) * 3
    if not min(train, valid, test):
        raise ConfigError(
            f"--split {split}: three positive shares for train, valid and test, such as 90/5/5"
        )
    whole = train + valid + test
    return train / whole, valid / whole, test / whole


def parse_chrono_bias(keep_bias: str, time: int) -> int | None:
    """How long the units may keep at first, in characters; None: they all have one bias."""
    found = re.fullmatch(r"chrono(?::(\d{1,9}))?", keep_bias)
    if found:
        longest = int(found[1] or time)
        if longest < 3:
            raise ConfigError(
                f"--forget-bias {keep_bias}: of at least 3 characters, as in chrono:100"
            )
        return longest
    try:
        finite = math.isfinite(float(keep_bias))
    except ValueError:
        finite = False
    if not finite:
        raise ConfigError(f"--forget-bias {keep_bias}: a number such as 2, chrono, or chrono:100")
    return None


def describe_block(block: str) -> str:
    """How the cells stand in the model, in words for whoever compares."""
    return "bare cells" if block == "none" else "residual blocks"


def option_name(name: str) -> str:
    return "--" + name.replace("_", "-")


@cache
def option_metadata(name: str) -> dict[str, Any]:
    """What `says` said of a field: panel, also, free, and its text as `help`."""
    kind = get_type_hints(Config, include_extras=True)[name]
    said = next(meta for meta in kind.__metadata__ if meta.extra)
    return {**said.extra, "help": said.description}


def validate_config(values: dict[str, Any]) -> Config:
    """A Config of these values, the rest as they are by default."""
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        problem, _, name = str(error).partition(" - at `$.")
        name = name.rstrip("`")
        if name not in values:
            raise ConfigError(problem) from None
        raise ConfigError(
            f"{option_name(name)} {values[name]}: {problem[0].lower()}{problem[1:]}"
        ) from None


def to_argv(config: Config, free: bool = True, without: Sequence[str] = ()) -> list[str]:
    """The command line that says all this again; without free fields, all that decides a run."""
    words = []
    for name, value in msgspec.structs.asdict(config).items():
        if name in without or (not free and option_metadata(name)["free"]):
            continue
        if isinstance(value, bool):
            words.append(option_name(name if value else f"no_{name}"))
        else:
            words.append(f"{option_name(name)}={value}")
    return words


def resume_config(recorded: Config, given: dict[str, Any]) -> Config:
    """The recorded settings of a run that is resumed, with what may change as now given."""
    differ = [
        f"{option_name(name)} {value} (the run has {getattr(recorded, name)})"
        for name, value in given.items()
        if value != getattr(recorded, name) and not option_metadata(name)["free"]
    ]
    if differ:
        raise ConfigError(
            f"a resumed run keeps its settings, and these differ: {'; '.join(differ)}. "
            "Leave them out, or start another run with another --run"
        )
    return validate_config({**msgspec.structs.asdict(recorded), **given})
