"""Judgement of a run whose process has died: sound, at most a step lost, the same bits."""

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path

from charlm.runs.metrics import load_latest_metrics
from charlm.runs.run import Run, is_run
from charlm.storage.files import TEMP_NAME
from faults import processes

UNDETERMINED = {"events.jsonl", "lock"}  # they hold times and process numbers


def digest_state(path: Path, without: Collection[str] = ()) -> str:
    """Return a hash of a directory, without times and process numbers.

    Args:
        path: The directory.
        without: Names of further files whose content is left out.
    """
    digest = hashlib.sha256()
    for folder, names, files in os.walk(path):
        names.sort()
        for name in sorted((*names, *files)):
            shown = re.sub(r"-\d+-[0-9a-f]{8}$", "", name) if TEMP_NAME.fullmatch(name) else name
            digest.update(f"{os.path.relpath(folder, path)}/{shown}\0".encode())
            if name in files and name not in (*UNDETERMINED, *without):
                digest.update(hashlib.sha256(Path(folder, name).read_bytes()).digest())
    return digest.hexdigest()


def list_temporaries(path: Path) -> list[str]:
    """Return the names of unfinished files below a directory."""
    return [entry.name for entry in path.rglob("*") if TEMP_NAME.fullmatch(entry.name)]


def find_loss(path: Path) -> str:
    """Return what a killed run has lost that it must not lose, or an empty string.

    The run saves after every step.
    """
    if not is_run(path):
        return ""
    newest, step = processes.newest_step(path), load_latest_metrics(path).step
    unsound = [
        saved for saved in Run(path).checkpoints.values() if not (saved / "manifest.json").exists()
    ]
    if unsound:
        return f"{unsound[0].name} is incomplete"
    if newest < step - 1:
        return f"step {newest} is the newest sound checkpoint after step {step}"
    return ""


def find_difference(path: Path, command: list[str], outcome: str) -> str:
    """Continue a killed run, and return how it differs from an uninterrupted one, or nothing.

    Args:
        path: Run.
        command: Command that started it, which is given again if it is no run yet.
        outcome: Digest of the uninterrupted run.
    """
    words = processes.resume_command(path) if is_run(path) else command
    ended = processes.run(words, path.parent)
    if ended.code:
        return f"it cannot be continued: {ended.code}, {ended.errors.strip()[-300:]}"
    if processes.digest_outcome(path) != outcome:
        return "the continued run differs"
    if left := list_temporaries(path):
        return f"{left[0]} is left"
    return ""


class Survival:
    """Checks of killed runs; one state is continued once, however often it came about."""

    def __init__(self, command: list[str], outcome: str) -> None:
        """Create it for runs of a command, whose uninterrupted outcome is known."""
        self.command, self.outcome = command, outcome
        self.continued: dict[str, str] = {}

    def check(self, path: Path) -> str:
        """Return what does not hold of a killed run, or an empty string."""
        if problem := find_loss(path):
            return problem
        state = digest_state(path)
        if state not in self.continued:
            self.continued[state] = find_difference(path, self.command, self.outcome)
        return self.continued[state]
