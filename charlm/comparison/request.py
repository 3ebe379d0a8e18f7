"""Comparison request: what `charlm.compare` and `charlm compare-cells` are asked to compare."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import msgspec

from charlm.cells.names import REGISTERED_NAMES, cell_label
from charlm.comparison.search import SearchSettings, make_search
from charlm.config import BUDGETS, Config, option_name, validate_config
from charlm.errors import ConfigError
from charlm.registry import unknown_name_error
from charlm.results.comparison_plan import Measure
from charlm.settings.values import Setting

DEFAULT_CELLS = ("gru", "lstm", "rnn")
DEFAULT_TEXT = "python-source"
DEFAULT_PARAMS = 100_000
DEFAULT_CHARACTERS = 1_500_000  # that each run reads
# Settings of all runs that a comparison has unless they are given.
DEFAULT_SETTINGS: Mapping[str, Setting] = {
    "embedding_dim": 32,
    "split_ratios": "80/5/15",  # intervals are limited by the number of test files
    "test_chars": 250_000,
    "branches": "1/8,1/3",
    "keep": "weights",  # a comparison has many runs, and none is given a longer budget
}
DEFAULT_SEEDS = 6  # the fewest that allow a verdict
DEFAULT_MARGIN = 0.01  # bits per character; a smaller difference is considered negligible
# Settings that a comparison determines: sizes, seeds, equal budgets, and the score on test.
OWN_SETTINGS = ("cell", "hidden_size", "seed", "minutes", "final_eval")
RATE_SETTING = "learning_rate"
TRANSFORMER = "transformer"  # name of the baseline that is trained, and of its entry
# The bracket: runs at these multiples of a recipe's learning rate, which end where a branch of all
# runs does.
BRACKET_FACTORS = 0.5, 2.0
BRACKET_BRANCH = "1/3"
# All baselines, as in evaluation/baselines.py, which is slow to import.
MEASURED_BASELINES = ("uniform", "unigram", "n-gram", "gzip", "bz2", "xz", "zstd")
BASELINE_NAMES = (*MEASURED_BASELINES, TRANSFORMER)
# Those that take seconds; xz and zstd take as long as a run.
DEFAULT_BASELINES = ("uniform", "unigram", "n-gram", "gzip", "bz2")


@dataclass(frozen=True, kw_only=True)
class ComparisonRequest:
    """Everything that determines a comparison on a text; validated at construction.

    Attributes:
        texts: Files, directories or names of built-in corpora, concatenated; "-" for stdin.
        cells: Names of the cells, or FILE.py:CLASS.
        settings: Fields of `Config` that all runs share; recipes differ by cell.
        params: Parameters of every model; with another `match`, of the LSTM that defines the
            budget.
        match: Quantity that all models have in common.
        seeds: Runs per cell.
        first_seed: Seed of the first run of each cell; the others follow.
        minutes: Minutes that the whole command may take, in place of another budget; 0: no limit.
        reference: Cell that the others are compared with; default: the GRU, else the first cell
            with gates, else the first.
        margin: Smallest relevant difference in bits per character.
        trials: Tuning trials per cell and seed; 0: each cell has its recipe.
        lr_range: Learning rates of the trials, such as "1e-3..4e-2".
        baselines: Names of baselines ("transformer" is trained); those that are cheap by default.
        memory: Whether the memory of every run is measured.
        tasks: Directories of finished comparisons on tasks, which the memory profiles take parts
            from.
    """

    texts: tuple[str, ...] = (DEFAULT_TEXT,)
    cells: tuple[str, ...] = DEFAULT_CELLS
    settings: Mapping[str, Setting] = field(default_factory=dict)
    params: int = DEFAULT_PARAMS
    match: Measure = "params"
    seeds: int = DEFAULT_SEEDS
    first_seed: int = 0
    minutes: float = 0.0
    reference: str = ""
    margin: float = DEFAULT_MARGIN
    trials: int = 0
    lr_range: str = ""
    baselines: tuple[str, ...] = DEFAULT_BASELINES
    memory: bool = True
    tasks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise ConfigError if the request cannot be satisfied."""
        object.__setattr__(self, "cells", tuple(dict.fromkeys(self.cells)))
        if not self.texts:
            raise ConfigError(f"cannot compare on no text. Try {DEFAULT_TEXT}")
        if self.match not in get_args(Measure):
            raise ConfigError(
                f"cannot match {self.match}: it must be one of {', '.join(get_args(Measure))}"
            )
        if self.params < 1 or self.seeds < 1:
            raise ConfigError("cannot compare: --params and --seeds must be 1 or more")
        if not (self.margin > 0 and math.isfinite(self.margin)):
            raise ConfigError(f"cannot use --margin {self.margin}: it must be positive")
        for name in OWN_SETTINGS:
            if name in self.settings:
                raise ConfigError(
                    f"cannot set {name}: the comparison determines it. Try without {name}"
                )
        for name in self.baselines:
            if name not in BASELINE_NAMES:
                raise unknown_name_error("baseline", name, ("all", "none", *BASELINE_NAMES))
        given = [name for name in BUDGETS if self.settings.get(name)]
        if self.minutes and given:
            raise ConfigError(
                f"cannot use --minutes with {option_name(given[0])}: they are two budgets. "
                "Try one of them"
            )
        validate_cells(self.base_settings, self.cells)
        labels = [cell_label(cell) for cell in self.cells]
        if self.reference and cell_label(self.reference) not in labels:
            raise ConfigError(
                f"cannot use --reference {self.reference}: it is not among the cells. "
                f"Try one of {', '.join(self.cells)}"
            )
        if self.trials < 0 or self.first_seed < 0 or self.minutes < 0:
            raise ConfigError("cannot compare: --trials, --minutes and seeds must not be negative")
        if self.lr_range and not self.trials:
            raise ConfigError("cannot search --lr-range: there are no --trials. Try without it")
        _ = self.search  # raises if there is nothing to search

    @property
    def base_settings(self) -> dict[str, Setting]:
        """Settings of every run, before it has its cell, size and seed."""
        defaults = dict(DEFAULT_SETTINGS)
        if self.settings.get("tie_weights"):
            del defaults["embedding_dim"]
        if self.settings.get("lr_schedule", "wsd") != "wsd":
            del defaults["branches"]
        return base_settings({**defaults, **self.settings})

    @property
    def search(self) -> SearchSettings | None:
        """The search of every run; None without tuning."""
        return make_search(self.trials, self.settings, self.lr_range) if self.trials else None

    @property
    def has_bracket(self) -> bool:
        """Return True if runs at other learning rates show whether the recipe fits the text."""
        return not self.trials and not self.settings.get(RATE_SETTING)

    @property
    def has_transformer(self) -> bool:
        """True if a Transformer is trained as a baseline."""
        return TRANSFORMER in self.baselines

    @property
    def measured_baselines(self) -> tuple[str, ...]:
        """Names of the baselines that are measured without training."""
        return tuple(name for name in self.baselines if name != TRANSFORMER)


def validate_executor(executor: str, ray_address: str = "", *, times_cells: bool = False) -> None:
    """Raise ConfigError for an unknown executor, cluster options without one, or missing Ray.

    Args:
        executor: "local" or "ray".
        ray_address: HOST:PORT of a cluster.
        times_cells: Whether cells are timed on this machine, as --dry-run and --match time do.
    """
    if executor not in ("local", "ray"):
        raise ConfigError(f"cannot use executor {executor}: it must be local or ray")
    if executor != "ray":
        if ray_address:
            raise ConfigError(
                "cannot use --ray-address: it is of a cluster. Try --executor ray, too"
            )
        return
    if times_cells:
        raise ConfigError(
            "cannot use --dry-run or --match time in a cluster: cells are timed on this machine. "
            "Try --executor local"
        )
    if find_spec("ray") is None:
        raise ConfigError(
            "cannot use --executor ray: Ray is not installed. Try pip install 'charlm[ray]'"
        )


def is_run_list(names: Sequence[str]) -> bool:
    """Return whether these are directories of runs or comparisons, rather than texts.

    Raises:
        ConfigError: They are both.
    """
    made_by_charlm = [
        name
        for name in names
        if any((Path(name) / file).exists() for file in ("run.json", "comparison.json"))
    ]
    if made_by_charlm and len(made_by_charlm) < len(names):
        text = next(name for name in names if name not in made_by_charlm)
        raise ConfigError(
            f"cannot compare {made_by_charlm[0]} with {text}: one is a run, the other is not. "
            "Name only runs, or only texts"
        )
    return bool(made_by_charlm)


def parse_baselines(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return names of baselines, which may be text with commas.

    "all" stands for all that need no training, also beside "transformer", and "none" for none.
    """
    names = tuple(parse_names(names))
    if names == ("none",):
        return ()
    expanded = [
        name for given in names for name in (MEASURED_BASELINES if given == "all" else (given,))
    ]
    return tuple(dict.fromkeys(expanded))


def split_names(text: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_names(names: str | Sequence[str]) -> Sequence[str]:
    """Return names, or those in a text with commas."""
    return split_names(names) if isinstance(names, str) else names


def settings_of(config: Config | Mapping[str, Setting] | None) -> dict[str, Setting]:
    """Return the settings that all runs share: a mapping, or what a config has set.

    What a comparison determines by itself is left out of a `Config`, which always has it.

    Raises:
        ConfigError: A mapping has a device.
    """
    if isinstance(config, Config):
        defaults = msgspec.structs.asdict(Config())
        return {
            name: value
            for name, value in msgspec.structs.asdict(config).items()
            if value != defaults[name] and name not in (*OWN_SETTINGS, "device")
        }
    if config and "device" in config:
        raise ConfigError(
            "cannot set device in config: the comparison has its own. Try the argument device="
        )
    return dict(config or {})


def base_settings(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return settings that are valid before each cell has its own size.

    With tied weights, the embedding is as wide as the cell; until sizes are chosen both have the
    default width.

    Raises:
        ConfigError: The width of a tied embedding is given.
    """
    if not settings.get("tie_weights"):
        return dict(settings)
    if "embedding_dim" in settings:
        raise ConfigError(
            "cannot set --embedding-dim: --tie-weights makes the embedding as wide as each cell. "
            "Try without --embedding-dim"
        )
    return {**settings, "hidden_size": Config().embedding_dim}


def validate_cells(settings: Mapping[str, Setting], cells: Sequence[str]) -> None:
    """Raise ConfigError if cells cannot have these settings, or two would have one label."""
    validate_config(dict(settings))
    if not cells:
        raise ConfigError("cannot compare no cells. Try --cells gru,lstm,rnn")
    by_label: dict[str, str] = {}
    for cell in cells:
        validate_config({**settings, "cell": cell})
        if cell in REGISTERED_NAMES:
            raise ConfigError(
                f"cannot compare {cell!r}: it is registered in this process only. Try FILE.py:CLASS"
            )
        label = cell_label(cell)
        if (other := by_label.setdefault(label, cell)) != cell:
            raise ConfigError(
                f"cannot compare {other} and {cell}: both would be called {label}. "
                "Try another name for the file or class of one"
            )
