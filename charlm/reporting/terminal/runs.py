"""A training run on a terminal: its settings and its result."""

from charlm.config import describe_block
from charlm.console import print_message, print_result
from charlm.reporting.formatting import format_count, format_duration, pluralize
from charlm.reporting.terminal.scores import print_exact_score
from charlm.reporting.terminal.tables import corpus_field, print_fields, vocabulary_field
from charlm.reporting.wording.run import (
    BF16_NOTE,
    DEVICE_REASONS,
    describe_cell_options,
    describe_kernel_reason,
    describe_recipe,
    describe_start,
    describe_thread_timings,
    describe_windows,
)
from charlm.reporting.wording.text import describe_text_note
from charlm.results.run import RunReport, RunSummary


def print_run_summary(summary: RunSummary) -> None:
    """Print a run before its first step, on stderr."""
    record, config = summary.record, summary.config
    kernel_reason = describe_kernel_reason(summary.kernel_reason, config.threads)
    tokens_per_step = config.batch_size * config.seq_len
    sizes = {name: end - start for name, (start, end) in record.text.splits.items()}
    epochs = record.max_steps * tokens_per_step / sizes["train"]
    speed = format_count(tokens_per_step / summary.seconds_per_step)
    print_fields(
        [
            ("cell", describe_cell_options(config)),
            ("block", describe_block(config.block, config.conv)),
            *[("dtype", BF16_NOTE) for _ in range(config.dtype == "bf16")],
            ("kernel", f"{summary.kernel}: {kernel_reason}"),
            ("parameters", f"{record.parameters:,}; {record.state_size:,} floats of state"),
            corpus_field(record.text),
            vocabulary_field(summary.vocabulary_kind, summary.vocabulary_size),
            ("splits", ", ".join(f"{name} {size:,}" for name, size in sizes.items())),
            (
                "budget",
                f"{record.max_steps:,} steps of {config.batch_size} × {config.seq_len}: "
                f"{epochs:,.2f} epochs"
                + (f"; {summary.steps_done:,} steps are done" if summary.steps_done else ""),
            ),
            *describe_windows(config),
            ("recipe", describe_recipe(config)),
            *[("start", start) for start in [describe_start(record)] if start],
            (
                "estimate",
                f"{format_duration(summary.seconds)} for all, the score included; training reads "
                f"{speed} characters/s; {summary.memory_bytes / 1e6:,.0f} MB of memory beyond "
                f"PyTorch's own, {summary.disk_bytes / 1e6:.1f} MB on disk",
            ),
            (
                "device",
                f"{summary.device} ({DEVICE_REASONS[summary.device_reason]}), "
                f"{pluralize(config.threads, 'thread')}"
                + describe_thread_timings(summary.thread_timings),
            ),
            ("run", summary.path),
        ]
    )
    for note in summary.notes:
        print_message(f"note: {describe_text_note(note)}")


def print_run_report(report: RunReport) -> None:
    """Print the result of a finished run."""
    if report.score:
        print_exact_score(report.score, report.scored_split)
    elif report.best_valid_bits is not None:
        print_result(
            f"{report.best_valid_bits:.4f} bits/token, subsampled validation at step "
            f"{report.best_step}"
        )
