"""What compare-cells is told, and what comes of it, whatever it is that it compares."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

from charlm import tuning
from charlm.config import Config, checked, label
from charlm.errors import BadConfig

CELLS = ["rnn", "gru", "lstm"]  # if none are named


class Asked(NamedTuple):
    """What is compared, and how."""

    given: dict[str, Any]  # the settings
    corpus: list[str]  # texts, or runs
    cells: list[str] | None
    baseline: str
    margin: float | None
    seeds: int
    match: str
    parameters: int
    plan: bool
    in_cluster: bool
    search: tuning.Search | None
    probe: bool
    transformer: bool
    task: str
    distance: str
    said: AbstractSet[str]  # the options that were given, by name

    @property
    def names(self) -> list[str]:
        """The cells that are yet to be trained."""
        return list(dict.fromkeys(CELLS if self.cells is None else self.cells))

    @property
    def settings(self) -> dict[str, Any]:
        """What all of these are told alike."""
        # Until each cell's own width is chosen, both are this.
        tied = {"hidden": Config().embedding} if self.given.get("tie") else {}
        return {**self.given, **tied}


class Done(NamedTuple):
    """What came of it."""

    report: dict[str, Any]
    draw: Callable[[], None]  # on stdout
    left: str  # what is in --out now, in words


def refuse_cells(asked: Asked) -> None:
    """Cells that cannot be had with these settings, or not be told apart."""
    if asked.given.get("tie") and "embedding" in asked.given:
        raise BadConfig("--tie: the table is as wide as each cell: leave --embedding out")
    checked(asked.settings)
    if not asked.names:
        raise BadConfig("--cells: name at least one, such as --cells rnn,gru,lstm")
    called: dict[str, str] = {}
    for name in asked.names:
        checked({**asked.settings, "cell": name})
        if (other := called.setdefault(label(name), name)) != name:
            raise BadConfig(
                f"--cells: {other} and {name} would both be called {label(name)}: give one's file "
                "or class another name"
            )
    if asked.baseline and label(asked.baseline) not in called:
        raise BadConfig(f"--baseline {asked.baseline}: one of --cells, {', '.join(asked.names)}")
