"""Work of a comparison: all runs, trials and brackets, as far as they are known, and their jobs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from charlm.comparison.bracket import plan_bracket
from charlm.comparison.entries import Entry, PlannedRun, by_seed
from charlm.comparison.plan import ComparisonPlan
from charlm.comparison.tuning import SuccessiveHalving
from charlm.execution.jobs import Job
from charlm.results.comparison_plan import Purpose
from charlm.results.jobs import JobProgress

DIRECTORIES: Mapping[Purpose, str] = {"run": "runs", "trial": "trials", "bracket": "bracket"}


class PlannedWork(NamedTuple):
    """A run, trial or bracket that a comparison will do.

    Attributes:
        entry: Its entry.
        purpose: Whether it is compared, tunes the entry, or shows whether its recipe fits.
        run: Its size and settings.
        is_open: Whether tuning has yet to choose its settings, and so its directory; those of
            `run` stand for them.
    """

    entry: Entry
    purpose: Purpose
    run: PlannedRun
    is_open: bool = False

    @property
    def label(self) -> str:
        """Name of its directory under the name of the entry, or without a hash while open."""
        name = f"{DIRECTORIES[self.purpose]}/{self.entry.name}-s{self.run.config.seed}"
        return name if self.is_open else f"{name}-{self.run.path.name.rpartition('-')[2]}"

    def progress(self) -> JobProgress:
        """Return how far it is, according to its directory; nothing is done while it is open."""
        return JobProgress() if self.is_open else self.run.progress()

    def job(self, texts: Sequence[str]) -> Job:
        """Return its job."""
        name = f"{self.entry.name} seed {self.run.config.seed}"
        if self.purpose == "bracket":
            name += f" --lr {self.run.config.learning_rate:g}"
        return self.run.job(texts, name)


def planned_work(plan: ComparisonPlan) -> list[PlannedWork]:
    """Return all trials, runs and brackets, each once, as far as they are known.

    As long as a rung has not ended, other trials of the same size stand for those that will go
    on, and the settings of runs are open.
    """
    work: list[PlannedWork] = []
    runs = [PlannedWork(entry, "run", run) for entry, run in by_seed(plan.entries)]
    if plan.search:
        halving = SuccessiveHalving(plan)
        for rung in halving.rungs(has_ended=lambda run: bool(run.progress().status)):
            work += [PlannedWork(trial.entry, "trial", trial.run) for trial in rung]
        runs = [_tuned(item, halving, plan) for item in runs]
    work += [*runs, *bracket_work(plan)]
    return list({item.run.path: item for item in reversed(work)}.values())[::-1]


def _tuned(item: PlannedWork, halving: SuccessiveHalving, plan: ComparisonPlan) -> PlannedWork:
    """Return a run with the settings that tuning chose, or open while it has not."""
    if item.run.path not in halving.results:
        return item
    settings = halving.best_settings(item.entry, item.run)
    if settings is None:
        return item._replace(is_open=True)
    (run,) = Entry("", "cell", None, (item.run,)).with_settings([settings], plan.corpus.record).runs
    return item._replace(run=run)


def bracket_work(plan: ComparisonPlan) -> list[PlannedWork]:
    """Return the runs of the bracket."""
    return [PlannedWork(entry, "bracket", run) for entry, _, run in plan_bracket(plan)]


def order_jobs(
    work: Sequence[PlannedWork], seconds: Mapping[str, float], texts: Sequence[str]
) -> list[Job]:
    """Return jobs, the longest first, so that all cores are busy to the end.

    Args:
        work: What is to be done.
        seconds: Entry -> seconds per step; where none is known, FLOPs stand for them.
        texts: Sources of the text.
    """

    def duration(item: PlannedWork) -> float:
        config = item.run.config
        tokens = config.batch_size * config.seq_len
        per_step = seconds.get(item.entry.name, 1e-9 * item.run.flops_per_character * tokens)
        return item.run.max_steps * per_step

    return [item.job(texts) for item in sorted(work, key=duration, reverse=True)]
