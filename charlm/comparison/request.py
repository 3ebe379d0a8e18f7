"""What compare-cells is told, and what comes of it, whatever it is that it compares."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from charlm.cells.names import cell_label
from charlm.comparison import search as tuning
from charlm.config import Config, validate_config
from charlm.errors import ConfigError

DEFAULT_CELLS = ["rnn", "gru", "lstm"]  # if none are named


class ComparisonRequest(NamedTuple):
    """What is compared, and how."""

    config_overrides: dict[str, Any]  # the settings
    corpus: list[str]  # texts, or runs
    cells: list[str] | None
    baseline: str
    margin: float | None
    seeds: int
    match: str
    parameters: int
    plan: bool
    in_cluster: bool
    search: tuning.SearchSettings | None
    probe: bool
    transformer: bool
    task: str
    distance: str
    explicit_options: AbstractSet[str]  # the options that were given, by name

    @property
    def cell_names(self) -> list[str]:
        """The cells that are yet to be trained."""
        return list(dict.fromkeys(DEFAULT_CELLS if self.cells is None else self.cells))

    @property
    def settings(self) -> dict[str, Any]:
        """What all of these are told alike."""
        # Until each cell's own width is chosen, both are this.
        tied = (
            {"hidden_size": Config().embedding_dim}
            if self.config_overrides.get("tie_weights")
            else {}
        )
        return {**self.config_overrides, **tied}


class ComparisonOutcome(NamedTuple):
    """What came of it."""

    report: dict[str, Any]
    print_report: Callable[[], None]  # on stdout
    output_description: str  # what is in --out now, in words


def validate_cells(asked: ComparisonRequest) -> None:
    """Cells that cannot be had with these settings, or not be told apart."""
    if asked.config_overrides.get("tie_weights") and "embedding_dim" in asked.config_overrides:
        raise ConfigError(
            "--tie-weights: the table is as wide as each cell: leave --embedding-dim out"
        )
    validate_config(asked.settings)
    if not asked.cell_names:
        raise ConfigError("--cells: name at least one, such as --cells rnn,gru,lstm")
    called: dict[str, str] = {}
    for name in asked.cell_names:
        validate_config({**asked.settings, "cell": name})
        if (other := called.setdefault(cell_label(name), name)) != name:
            raise ConfigError(
                f"--cells: {other} and {name} would both be called {cell_label(name)}: give one's file "
                "or class another name"
            )
    if asked.baseline and cell_label(asked.baseline) not in called:
        raise ConfigError(
            f"--reference {asked.baseline}: one of --cells, {', '.join(asked.cell_names)}"
        )
