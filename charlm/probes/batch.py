"""TODO docstring."""

import sys
from collections.abc import Sequence
from typing import Any

from charlm.execution.executor import Execution, run_jobs
from charlm.probes.base import Probe
from charlm.runs.run import Run


def probe_comparison_runs(runs: "Sequence[Run]", work: Execution) -> dict[str, Any]:
    """Every probe asked of the runs of a comparison, on its device; on a GPU one run at a time."""
    from charlm.execution.jobs import LocalExecutor
    from charlm.probes.runner import select_probes

    engine, words = work.engine, []
    if isinstance(engine, LocalExecutor):
        words = [f"--device={engine.device}"]
        engine = engine if engine.device == "cpu" else LocalExecutor(1, engine.device)
    return probe_runs(
        runs, select_probes([]), words, Execution(work.directory / "probes", engine, work.log_every)
    )


def probe_runs(
    runs: "Sequence[Run]",
    wanted: "Sequence[Probe]",
    words: Sequence[str],
    work: Execution,
) -> dict[str, Any]:
    """Several runs, each probed by `charlm probe` in a process and a directory of its own; the
    report of them all. words: what that command is told besides."""
    from charlm.probes import runner

    runner.check_same_text(runs)
    jobs = [runner.probe_job(run, work.directory, words, wanted) for run in runs]
    run_jobs(jobs, work)
    places = [job.path for job in jobs]
    told = [runner.load_run_summary(place) for place in places]
    report = runner.build_report(told, places, wanted, ["charlm", *sys.argv[1:]])
    runner.write_report(report, work.directory)
    return report
