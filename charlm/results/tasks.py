"""TODO docstring."""

import msgspec

from charlm.config import Config


class TaskScore(msgspec.Struct, frozen=True):
    """How good predictions are."""

    loss: float  # nats per target, or the mean squared error
    accuracy: float  # share of the answers that are right


class CurriculumRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """climb.json: what decides a climb, and who made it."""

    format: int
    task: str
    config: Config
    cell_sha256: str  # of the file, where the cell is the person's own


class TaskValidation(msgspec.Struct, frozen=True):
    """A look at validation sequences."""

    step: int
    seconds: float  # of updates
    loss: float
    accuracy: float


class LevelResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of training at one distance."""

    length: int
    solved: bool
    steps: int  # done
    seconds: float  # of updates
    kernel: str
    chance: TaskScore
    test: TaskScore | None  # of the last weights; None if it diverged before or here
    extrapolation: dict[
        str, float
    ]  # how often the distance -> accuracy there; 0 if it diverges there
    diverged: str = ""  # why
