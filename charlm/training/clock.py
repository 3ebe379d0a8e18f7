"""Clock of a process that trains: when it began to serve its run."""

import time
from typing import NamedTuple


class Clock(NamedTuple):
    """Beginning of the time in which a process serves a run."""

    wall: float  # monotonic time
    cpu: float  # CPU time of the process

    @classmethod
    def at(cls, started: float | None) -> "Clock":
        """Return the clock of a process that exists for its run since `started`.

        Args:
            started: Monotonic time; None if the process had other work before and begins now.
        """
        if started is None:
            return cls(time.monotonic(), time.process_time())
        return cls(started, 0.0)

    def elapsed(self) -> float:
        """Return the seconds since then."""
        return time.monotonic() - self.wall
