"""Metrics of runs as CSV, one number per row."""

from charlm.reporting.tables.csv_text import csv_text
from charlm.results.metrics import RunsMetrics

HEADS = ("run", "tag", "step", "characters", "value", "time")


def render_metrics_csv(metrics: RunsMetrics) -> str:
    """Return all scalars of all runs; times are seconds since the epoch."""
    return csv_text(
        HEADS,
        (
            (run.run, scalar.tag, scalar.step, scalar.characters, scalar.value, scalar.time)
            for run in metrics.runs
            for scalar in run.scalars
        ),
    )
