"""Replays of recorded operations, in which the power is cut after each one."""

import hashlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from faults.crash_states import Disk, Step

State = dict[str, bytes | None]
Check = Callable[[Path, Step | None], str]  # what does not hold of a state, given the last mark
STATES = 18_000  # distinct ones of runs, at most: about 10,000 differ
RESUMED = 24
SEEN = 100  # states in a row that were seen before: then a step has no new ones


class Replay:
    """Replays of recorded operations, in which the power is cut again and again."""

    def __init__(self, path: Path, rng: random.Random) -> None:
        """Create it; states are written to a path."""
        self.path, self.rng = path, rng
        self.trials = 0
        self.failures: list[str] = []
        self.seen: set[bytes] = set()

    def cut(self, root: Path, steps: list[Step], states: int, check: Check) -> list[State]:
        """Cut the power after each step, and check each distinct state.

        Args:
            root: Directory below which the steps were recorded.
            steps: Operations and marks, in order.
            states: How many distinct states to make, at most.
            check: Is given the directory of a state and the last mark before the cut.

        Returns:
            Some of the states.
        """
        disk, owed = Disk(str(root)), 0.0
        sample: list[State] = []
        mark: Step | None = None
        for number, step in enumerate(steps):
            if step.name == "mark":
                mark = step
            else:
                disk.apply(step)
            # Where few states differ, more are made at the next steps.
            owed += states / len(steps)
            seen = 0
            while owed >= 1 and seen < SEEN:
                state = disk.cut_power(self.rng)
                if not self._is_new(root, state, mark):
                    seen += 1
                    continue
                owed, seen = owed - 1, 0
                self.trials += 1
                materialize(state, self.path)
                if problem := check(self.path, mark):
                    self.failures.append(f"after {number} ({step.name} {step.path}): {problem}")
                elif self.rng.random() < 4 * RESUMED / states:
                    sample.append(state)
        return sample

    def _is_new(self, root: Path, state: State, mark: Step | None) -> bool:
        """Return whether a state was not seen; the log of times and the lock make no difference."""
        digest = hashlib.sha256(f"{root}\0{mark}".encode())
        for path, content in sorted(state.items()):
            if not path.endswith(("events.jsonl", "lock")):
                digest.update(f"\0{path}\0{content is None}".encode())
                digest.update(hashlib.sha256(content or b"").digest())
        is_new = digest.digest() not in self.seen
        self.seen.add(digest.digest())
        return is_new


def materialize(state: State, path: Path) -> None:
    """Write a state to a directory, in place of what is there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    for name, content in state.items():
        place = path / name
        if content is None:
            place.mkdir(mode=0o700)
        else:
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, content)
            os.close(descriptor)
