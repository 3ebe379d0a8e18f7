"""What several commands do with what they were given."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from charlm import console
from charlm.errors import Interrupted
from charlm.execution.jobs import Executor, Job
from charlm.execution.signals import defer_signals


@contextmanager
def make_executor(
    kind: str, address: str, device: str, jobs: int, place: Path
) -> "Iterator[Executor]":
    """Where the jobs in a directory, which the caller has locked, are done: `local` or `ray`."""
    from charlm.execution.jobs import LocalExecutor
    from charlm.execution.ray_cluster import connect

    if kind == "local":
        yield LocalExecutor(jobs, device)
    else:
        with connect(address or "auto", device, jobs, place) as cluster:
            if os.environ.get("RAY_AUTH_MODE") != "token":
                console.print_message(
                    f"note: the cluster at {cluster.address} asks for no token: whoever reaches "
                    "its ports can run programs on its machines (RAY_AUTH_MODE=token)"
                )
            yield cluster


class Execution(NamedTuple):
    """Where and how jobs are done."""

    directory: Path  # of their logs
    engine: "Executor"
    log_every: float


def run_jobs(jobs: "Sequence[Job]", work: Execution) -> None:
    """Has the jobs done, if there are any, and shows how they go."""
    if not jobs:
        return
    from charlm.execution import jobs as workers
    from charlm.reporting.terminal import progress

    with defer_signals("what was begun is saving") as signalled:
        shown = progress.JobsProgress(work.log_every)
        try:
            for now in workers.run_jobs(jobs, work.directory, work.engine, lambda: bool(signalled)):
                shown.update(now)
        finally:
            shown.close()
    if signalled:
        raise Interrupted(signalled[0], "all is saved; the same command goes on")
