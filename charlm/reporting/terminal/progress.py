"""Progress on a terminal: bars, or plain lines every few seconds where there is no terminal."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from tqdm import tqdm

from charlm.console import clear_before_lines, escape_control_characters, print_message
from charlm.progress import ProgressCallback
from charlm.reporting.formatting import format_count, format_duration
from charlm.reporting.wording.text import describe_job
from charlm.results.jobs import JobState
from charlm.results.training import BranchStep, StepMetrics, TrainingEvent, ValidationMetrics

WIDE_COLUMNS = 104  # of a terminal that has room for a bar beside the figures
REFRESH_SECONDS = 0.1  # between changes of a bar whose count stands still


class TerminalProgress:
    """Progress on stderr; log_every: seconds between plain lines where there is no terminal."""

    def __init__(self, log_every: float) -> None:
        """Create a display."""
        self.log_every = log_every

    @contextmanager
    def counter(self, description: str, total: int | None = None) -> Iterator[ProgressCallback]:
        """Show a count, or a percentage of the total, that disappears at the end."""
        percentage = "{desc}: {percentage:3.0f}%|{bar:20}| {elapsed}<{remaining}"
        bar = tqdm(
            desc=escape_control_characters(description),
            total=total,
            bar_format=percentage if total else None,
            unit="",
            unit_scale=True,
            file=sys.stderr,
            disable=None,  # where there is no terminal
            leave=False,
            delay=1.0,
            dynamic_ncols=True,
        )
        count, start = 0, time.monotonic()
        last_line = start

        def advance(number: int) -> None:
            nonlocal count, last_line
            count += number
            bar.update(number)
            if bar.disable and time.monotonic() - last_line >= self.log_every:
                last_line = time.monotonic()
                done = f"{count / total:.0%}" if total else f"{format_count(count)} so far"
                if total and count:
                    seconds = (last_line - start) * (total - count) / count
                    done += f", {format_duration(seconds)} left"
                print_message(f"{description}: {done}")

        with bar, clear_before_lines(bar.clear):
            yield advance

    @contextmanager
    def training(
        self, max_steps: int, tokens_per_step: int, best_bits: float | None
    ) -> Iterator[Callable[[TrainingEvent], object]]:
        """Show a bar with speed, losses and learning rate."""
        display = TrainingDisplay(max_steps, tokens_per_step, best_bits, self.log_every)
        try:
            with clear_before_lines(display.bar.clear):
                yield display.update
        finally:
            display.close()

    @contextmanager
    def jobs(self) -> Iterator[Callable[[Sequence[JobState]], object]]:
        """Show a bar for each running job, and a line for each that has ended."""
        display = JobsDisplay(self.log_every)
        try:
            yield display.update
        finally:
            display.close()


class TrainingDisplay:
    """A bar of a training run, or a plain line every few seconds."""

    def __init__(
        self, max_steps: int, tokens_per_step: int, best_bits: float | None, log_every: float
    ) -> None:
        """Create a display; best_bits: best validation so far, of a resumed run."""
        self.max_steps, self.tokens_per_step = max_steps, tokens_per_step
        self.log_every = log_every
        self.start = self.last_shown = time.monotonic()
        self.first_step: int | None = None  # steps that were done at the start
        self.best_bits = best_bits
        self.train_bits: float | None = None
        self.valid_bits: float | None = None
        self.learning_rate = self.gradient_norm = 0.0
        bar = "|{bar:20}|" if Console(stderr=True).width >= WIDE_COLUMNS else ""
        self.bar = tqdm(
            total=max_steps,
            file=sys.stderr,
            disable=None,  # where there is no terminal
            mininterval=0.1,
            leave=True,
            dynamic_ncols=True,
            bar_format=f"{{percentage:3.0f}}%{bar}{{desc}}",
        )

    def update(self, event: TrainingEvent) -> None:
        """Show an event."""
        if isinstance(event, ValidationMetrics):
            bits = self.valid_bits = event.valid_bits
            self.best_bits = bits if self.best_bits is None else min(self.best_bits, bits)
        elif isinstance(event, StepMetrics):
            if self.first_step is None:
                self.first_step = event.step - 1
                self.bar.update(self.first_step)
                self.bar.initial = self.first_step
            # a running mean, because single batches are noisy
            bits = event.bits
            self.train_bits = (
                bits if self.train_bits is None else 0.95 * self.train_bits + 0.05 * bits
            )
            self.learning_rate, self.gradient_norm = event.learning_rate, event.gradient_norm
            self.bar.set_description_str(f" {self._short_line(event.step)}", refresh=False)
            self.bar.update()
            if self.bar.disable and self._is_due(self.log_every):
                self._print_line(event.step)
        elif isinstance(event, BranchStep):
            message = f"decayed copy: step {event.done} of {event.total}"
            if self.bar.disable and self._is_due(self.log_every):
                print_message(message)
            elif not self.bar.disable and self._is_due(REFRESH_SECONDS):
                self.bar.set_description_str(f" {message}")

    def _is_due(self, interval: float) -> bool:
        """Return whether the display is older than the interval in seconds, which then restarts."""
        now = time.monotonic()
        if now - self.last_shown < interval:
            return False
        self.last_shown = now
        return True

    def _tokens_per_second(self, step: int) -> float:
        steps = step - (self.first_step or 0)
        return steps * self.tokens_per_step / max(1e-9, time.monotonic() - self.start)

    def _short_line(self, step: int) -> str:
        """Return steps, time left, speed and bits; the best ones only if they are not the last."""
        tokens = (self.max_steps - step) * self.tokens_per_step
        remaining = format_duration(tokens / max(1e-9, self._tokens_per_second(step)))
        speed = format_count(self._tokens_per_second(step))
        is_best = self.valid_bits is not None and self.valid_bits == self.best_bits
        best = "" if is_best or self.best_bits is None else f" best {self.best_bits:.3f}"
        bits = f"train {format_bits(self.train_bits, 2)} valid {format_bits(self.valid_bits)}{best}"
        return f"step {step}/{self.max_steps} {remaining} left {speed} ch/s {bits} bits"

    def _print_line(self, step: int) -> None:
        line = self._short_line(step)
        print_message(f"{line} lr {self.learning_rate:.0e} grad {self.gradient_norm:.1f}")

    def close(self) -> None:
        """End the display."""
        self.bar.close()


def format_bits(bits: float | None, digits: int = 3) -> str:
    """Return bits per token, or - where none are measured yet."""
    return "-" if bits is None else f"{bits:.{digits}f}"


class JobsDisplay:
    """Bars of jobs that run side by side, or a plain line every few seconds."""

    def __init__(self, log_every: float) -> None:
        """Create a display."""
        self.log_every = log_every
        self.start = self.last_line = time.monotonic()
        self.done_at_start: float | None = None
        self.console = Console(stderr=True)
        self.progress: Progress | None = None
        self.tasks: dict[str, TaskID] = {}  # by name of the job; "" is all of them
        self.restarts: dict[str, int] = {}
        if self.console.is_terminal:
            self.progress = Progress(
                TextColumn("{task.description:<14}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.percentage:>3.0f}%  {task.fields[message]}", markup=False),
                console=self.console,
            )
            self.tasks[""] = self.progress.add_task("all", total=1, message="")  # stays the first
            self.progress.start()

    def update(self, states: Sequence[JobState]) -> None:
        """Show the states of all jobs."""
        for state in states:
            if state.restarts > self.restarts.get(state.name, 0):
                self.restarts[state.name] = state.restarts
                self._print_above(f"{state.name}: its process was killed; restarted")
        done = sum(_fraction_done(state) for state in states)
        if self.done_at_start is None:
            self.done_at_start = done
        elapsed, gained = time.monotonic() - self.start, done - self.done_at_start
        remaining = "unknown"
        if gained:
            remaining = format_duration((len(states) - done) * elapsed / gained)
        ended = sum(state.status in ("finished", "diverged") for state in states)
        summary = f"{ended} of {len(states)} done"
        if self.progress:
            for state in states:
                self._update_bar(self.progress, state)
            message = f"{summary}, time left: {remaining}"
            self.progress.update(self.tasks[""], completed=done / len(states), message=message)
        elif time.monotonic() - self.last_line >= self.log_every:
            self.last_line = time.monotonic()
            running = ", ".join(
                _describe_running_job(state) for state in states if state.status == "running"
            )
            print_message(f"{summary}{running and '; '}{running}; time left: {remaining}")

    def _print_above(self, line: str) -> None:
        """Print a line that stays, above the bars."""
        if self.progress:
            text = escape_control_characters(line)
            self.progress.console.print(text, markup=False, highlight=False)
        else:
            print_message(line)

    def _update_bar(self, progress: Progress, state: JobState) -> None:
        message = escape_control_characters(describe_job(state.progress))
        if state.status == "running":
            if state.name not in self.tasks:
                description = escape_control_characters(state.name)
                self.tasks[state.name] = progress.add_task(description, total=1, message="")
            completed = _fraction_done(state)
            progress.update(self.tasks[state.name], completed=completed, message=message)
        elif state.name in self.tasks:
            progress.remove_task(self.tasks.pop(state.name))
            if state.status != "pending":
                self._print_above(f"{state.name}: {state.status} {message}".rstrip())

    def close(self) -> None:
        """End the display."""
        if self.progress:
            self.progress.stop()


def _describe_running_job(state: JobState) -> str:
    """Return its name, steps and result so far; a job that has not begun has no total."""
    steps = f"{state.progress.done}/{state.progress.total}" if state.progress.total else ""
    return " ".join(part for part in (state.name, steps, describe_job(state.progress)) if part)


def _fraction_done(state: JobState) -> float:
    """Return the fraction; a finished job may have had less to do than was expected."""
    ended = state.status in ("finished", "diverged")
    return 1.0 if ended else state.progress.done / (state.progress.total or 1)
