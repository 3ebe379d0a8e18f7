"""Baselines and the Transformer in words."""

from charlm.reporting.formatting import format_bytes, format_fixed, pluralize
from charlm.reporting.wording.rows import bits, short_unit
from charlm.results.baselines import BaselineResult
from charlm.results.comparison import ComparisonReport, EntryRow, Unit

READ_NGRAM = "n-gram-read"  # name of the n-gram of only as much text as a run has read


def baseline_table(report: ComparisonReport) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the table of baselines; the Transformer comes last."""
    rows = [
        [item.name, format_fixed(baseline_bits(item, report.unit)), describe_baseline(item)]
        for item in report.baselines
    ]
    for row in report.rows:
        if row.role == "transformer":
            mean = bits(row, report.unit).mean
            rows.append([row.name, format_fixed(mean), describe_transformer(row)])
    return ["baseline", short_unit(report.unit), "description"], rows


def baseline_bits(baseline: BaselineResult, unit: Unit) -> float | None:
    """Return a baseline's score in this unit."""
    return baseline.bits_per_char if unit == "bits_per_char" else baseline.bits_per_byte


def describe_baseline(baseline: BaselineResult) -> str:
    """Return how a baseline was measured."""
    if baseline.missing_package:
        return f"not installed: pip install 'charlm[{baseline.missing_package}]'"
    if baseline.kind == "adaptive":
        if baseline.block_bytes is not None:
            size = format_bytes(baseline.block_bytes)
            return f"adaptive: C(train + test) - C(train), in blocks of {size}"
        if baseline.window_bytes is None:
            return "adaptive: C(train + test) - C(train), looks back at all of it"
        window = format_bytes(baseline.window_bytes)
        return f"adaptive: C(train + test) - C(train), looks back {window}"
    if baseline.vocabulary_size is not None:
        return f"static: uniform over {pluralize(baseline.vocabulary_size, 'token')}"
    counted = "train"
    if baseline.name == READ_NGRAM and baseline.training_tokens is not None:
        counted = f"{baseline.training_tokens:,} tokens of train, as many as a run has read"
    elif baseline.training_is_partial and baseline.training_tokens is not None:
        counted = f"the last {baseline.training_tokens:,} tokens of train"
    if baseline.order is None:
        return f"static: trained on {counted}"
    if baseline.order == 1:
        return f"static: token frequencies in {counted}"
    text = f"static: interpolated Kneser-Ney on {counted}, order {baseline.order}"
    if baseline.max_order is not None and baseline.selection_tokens is not None:
        text += f" of 2 to {baseline.max_order}, chosen on {baseline.selection_tokens:,} tokens"
        text += " of valid"
    return f"{text}; it is the highest that was tried" if baseline.is_at_edge else text


def describe_transformer(row: EntryRow) -> str:
    """Return size, learning rate and seeds of the Transformer of a comparison."""
    seeds = pluralize(len(row.seeds), "seed")
    return (
        f"static: attention in {row.num_layers} residual blocks of {row.hidden_size}, "
        f"{row.parameters:,} parameters, learning rate {row.learning_rate:g}, "
        f"not tuned; "
        + (f"{row.diverged} of {seeds} diverged" if row.diverged else f"mean of {seeds}")
    )
