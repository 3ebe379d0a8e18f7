"""Progress protocol: how library functions report progress to whoever shows it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from charlm.results.jobs import JobState
from charlm.results.training import TrainingEvent

ProgressCallback = Callable[[int], object]  # is called with the number of items done since


class Progress(Protocol):
    """Receiver of progress. Every method returns a context manager that ends the display."""

    def counter(
        self, description: str, total: int | None = None
    ) -> AbstractContextManager[ProgressCallback]:
        """Show a count of items, such as bytes read, or their share of the total if it is known."""
        ...

    def training(
        self, max_steps: int, tokens_per_step: int, best_bits: float | None
    ) -> AbstractContextManager[Callable[[TrainingEvent], object]]:
        """Show a training run. best_bits: best validation so far, of a resumed run."""
        ...

    def jobs(self) -> AbstractContextManager[Callable[[Sequence[JobState]], object]]:
        """Show jobs that run side by side."""
        ...


class NoProgress:
    """Progress that is not shown."""

    @contextmanager
    def counter(
        self,
        description: str,  # noqa: ARG002
        total: int | None = None,  # noqa: ARG002
    ) -> Iterator[ProgressCallback]:
        """Ignore the count."""
        yield ignore

    @contextmanager
    def training(
        self,
        max_steps: int,  # noqa: ARG002
        tokens_per_step: int,  # noqa: ARG002
        best_bits: float | None,  # noqa: ARG002
    ) -> Iterator[Callable[[TrainingEvent], object]]:
        """Ignore the events."""
        yield ignore

    @contextmanager
    def jobs(self) -> Iterator[Callable[[Sequence[JobState]], object]]:
        """Ignore the states."""
        yield ignore


def ignore(_: object) -> None:
    """Do nothing."""
