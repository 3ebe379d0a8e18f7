"""Results of fault injection: what was injected, how often, and what did not hold."""

import msgspec


class Hazard(msgspec.Struct, frozen=True):
    """Outcome of one hazard."""

    name: str  # what may happen, such as "power cut"
    method: str  # how it was made to happen, in one sentence
    trials: int
    failures: tuple[str, ...]  # what did not hold, one sentence per trial; empty: all held
    seconds: float  # CPU seconds of this process and its children


class Measured(msgspec.Struct, frozen=True):
    """Outcome of one module, as recorded in faults.json."""

    module: str
    command: str
    date: str
    commit: str
    hazard: Hazard | None  # None: it did not end as it should
    problem: str = ""  # why there is no outcome


class Faults(msgspec.Struct, frozen=True):
    """File docs/reference/reliability/faults.json."""

    machine: str
    versions: dict[str, str]
    measured: tuple[Measured, ...]
