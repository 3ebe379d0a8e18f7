"""How work goes on: bars on a terminal, plain lines every so many seconds off it."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from tqdm import tqdm

from charlm.console import escape_control_characters, print_message
from charlm.reporting.formatting import format_count, format_duration


class TrainingProgress:
    """How training goes: a bar on a terminal, else one plain line every so many seconds."""

    def __init__(self, updates: int, characters: int, best: float | None, every: float) -> None:
        """characters: read by one update; best: validation so far, of a run that is resumed."""
        self.updates, self.characters, self.every = updates, characters, every
        self.began = self.said = time.monotonic()
        self.first: int | None = None  # the update at which we began to watch
        self.best = best
        self.bits: float | None = None
        self.valid: float | None = None
        self.rate = self.norm = 0.0
        self.bar = tqdm(
            total=updates,
            file=sys.stderr,
            disable=None,  # off a terminal
            mininterval=0.1,
            leave=True,
            dynamic_ncols=True,
            bar_format="{percentage:3.0f}%|{bar:3}|{remaining} {desc}",  # within 80 columns,
        )

    def update(self, happened: Any) -> None:
        if hasattr(happened, "valid_bits"):
            self.valid = happened.valid_bits
            self.best = self.valid if self.best is None else min(self.best, self.valid)
        elif hasattr(happened, "bits"):
            if self.first is None:
                self.first = happened.step - 1
                self.bar.update(self.first)
                self.bar.initial = self.first
            # a running mean: single batches are noisy
            self.bits = (
                happened.bits if self.bits is None else 0.95 * self.bits + 0.05 * happened.bits
            )
            self.rate, self.norm = happened.learning_rate, happened.gradient_norm
            self.bar.set_description_str(self._line(happened.step), refresh=False)
            self.bar.update()
            now = time.monotonic()
            if self.bar.disable and now - self.said >= self.every:
                self.said = now
                self._say(happened.step)

    def _speed(self, update: int) -> float:
        done = update - (self.first or 0)
        return done * self.characters / max(1e-9, time.monotonic() - self.began)

    def _line(self, update: int) -> str:
        def number(value: float | None, digits: int = 3) -> str:
            return "-" if value is None else f"{value:.{digits}f}"

        return (
            f"{format_count(self._speed(update))} ch/s train {number(self.bits, 2)} "
            f"valid {number(self.valid)} best {number(self.best)} "
            f"lr {self.rate:.0e} |g| {self.norm:.1f}"
        )

    def _say(self, update: int) -> None:
        left = (self.updates - update) * self.characters / max(1e-9, self._speed(update))
        print_message(
            f"update {update}/{self.updates}  {self._line(update)}  left {format_duration(left)}"
        )

    def close(self) -> None:
        self.bar.close()


@contextmanager
def progress_counter(what: str, every: float) -> Iterator[Callable[[int], object]]:
    """A tick for what may take long: a counter that goes away, or a plain line now and then."""
    bar = tqdm(
        desc=escape_control_characters(what),
        unit="",
        unit_scale=True,
        file=sys.stderr,
        disable=None,  # off a terminal
        leave=False,
        delay=1.0,
        dynamic_ncols=True,
    )
    count, said = 0, time.monotonic()

    def tick(more: int) -> None:
        nonlocal count, said
        count += more
        bar.update(more)
        if bar.disable and time.monotonic() - said >= every:
            said = time.monotonic()
            print_message(f"{what}: {format_count(count)} so far")

    with bar:
        yield tick


class JobsProgress:
    """How jobs side by side go: on a terminal a bar for each that is under way, and a line for each
    that has ended; else a plain line for all now and then."""

    def __init__(self, every: float) -> None:
        self.every = every
        self.began = self.said = time.monotonic()
        self.done_before: float | None = None
        self.console = Console(stderr=True)
        self.progress: Progress | None = None
        self.tasks: dict[str, TaskID] = {}
        self.killed: dict[str, int] = {}
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.description:<14}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%  {task.fields[said]}", markup=False),
                console=self.console,
            )
            self.tasks[""] = self.progress.add_task("all", total=1, said="")  # stays the first
            self.progress.start()

    def update(self, states: Sequence[Any]) -> None:
        for state in states:
            if state.killed > self.killed.get(state.job.name, 0):
                self.killed[state.job.name] = state.killed
                self.print_above(
                    f"{state.job.name}: its process was killed, and goes on in another"
                )
        whole = sum(self._share(state) for state in states)
        if self.done_before is None:
            self.done_before = whole
        took = time.monotonic() - self.began
        gained = whole - self.done_before
        left = format_duration((len(states) - whole) * took / gained) if gained else "unknown"
        if self.progress:
            for state in states:
                self._bar(state)
            done = sum(state.status in ("done", "diverged") for state in states)
            said = f"{done} of {len(states)} done, left {left}"
            self.progress.update(self.tasks[""], completed=whole / len(states), said=said)
        elif time.monotonic() - self.said >= self.every:
            self.said = time.monotonic()
            running = ", ".join(
                f"{state.job.name} {state.progress.done}/{state.progress.total} "
                f"{state.progress.message}".rstrip()
                for state in states
                if state.status == "running"
            )
            done = sum(state.status == "done" for state in states)
            print_message(f"{done} of {len(states)} done{running and '; '}{running}; left {left}")

    def print_above(self, line: str) -> None:
        """A line that stays, above the bars."""
        if self.progress:
            self.progress.console.print(
                escape_control_characters(line), markup=False, highlight=False
            )
        else:
            print_message(line)

    def _share(self, state: Any) -> float:
        """Of the job: a half is 0.5; one that is done may have had less to do than was thought."""
        ended = state.status in ("done", "diverged")
        return 1.0 if ended else state.progress.done / (state.progress.total or 1)

    def _bar(self, state: Any) -> None:
        assert self.progress
        name = state.job.path.name
        if state.status == "running":
            if name not in self.tasks:
                self.tasks[name] = self.progress.add_task(
                    escape_control_characters(state.job.name), total=1, said=""
                )
            self.progress.update(
                self.tasks[name], completed=self._share(state), said=state.progress.message
            )
        elif name in self.tasks:
            self.progress.remove_task(self.tasks.pop(name))
            if state.status != "waiting":
                self.print_above(
                    f"{state.job.name}: {state.status} {state.progress.message}".rstrip()
                )

    def close(self) -> None:
        if self.progress:
            self.progress.stop()
