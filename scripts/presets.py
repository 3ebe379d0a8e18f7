"""Scores of the presets of `charlm train`, and of the best n-gram on the same text.

    python scripts/presets.py TEXT [--presets minute] [--seeds 1,2] [--work presets] [--out FILE.md]

A run that is finished is not trained again. A preset without a finished run is "not measured".
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from charlm import Config, Corpus, load_corpus, train
from charlm.config import option_name, validate_config
from charlm.evaluation.ngram_baseline import measure_ngram, ngram_training_ids
from charlm.presets import PRESETS
from charlm.results.run import RunReport
from charlm.runs.run import Run, is_run


def main() -> None:
    """Train what is missing, and write the document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", help="text to train on")
    parser.add_argument("--presets", default="minute", help="presets to train, by commas")
    parser.add_argument("--seeds", default="1,2", help="seeds of each preset, by commas")
    parser.add_argument("--work", type=Path, default=Path("presets"), help="directory of runs")
    parser.add_argument("--out", type=Path, default=Path("docs/guides/presets.md"), help="document")
    arguments = parser.parse_args()
    corpus = load_corpus(arguments.text, Config())
    for name in filter(None, arguments.presets.split(",")):
        for seed in arguments.seeds.split(","):
            config = validate_config({**PRESETS[name].settings, "seed": int(seed)})
            run = train(corpus, config, arguments.work / f"{name}-{seed}", resume=True)
            print(f"{name}, seed {seed}: {run.report and run.report.score}"[:80])
    arguments.out.write_text(format_document(corpus, arguments.text, arguments.work))


def format_document(corpus: Corpus, text: str, work: Path) -> str:
    """Return docs/guides/presets.md."""
    ids, details = ngram_training_ids(corpus)
    _, details = measure_ngram(corpus, ids, details)
    assert details.order
    ngram_bits = details.bits_by_order[details.order - 1]
    lines = [
        "# Presets",
        "",
        "`charlm train TEXT --preset NAME` sets cell, sizes, regularisation and budget for a time.",
        "Options and a configuration file override them. Made by `python scripts/presets.py TEXT`.",
        "",
        f"Text: {Path(text).name}, {corpus.record.characters:,} characters, SHA-256 "
        f"`{corpus.record.digest.sha256[:16]}…`, splits 90/5/5. Scores are exact, on the test "
        "split.",
        "",
        "| preset | use | seeds | bits/char | best n-gram | CPU seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, preset in PRESETS.items():
        reports = finished_reports(name, work)
        lines.append(f"| `{name}` | {preset.help} | {measured(reports, ngram_bits)} |")
    lines.append("")
    for name in PRESETS:
        bits = [r.score.bits_per_char for r in finished_reports(name, work) if r.score]
        if bits:
            wins = sum(value is not None and value < ngram_bits for value in bits)
            lines.append(f"`{name}` beats the n-gram with {wins} of {len(bits)} seeds.")
    lines += [
        "",
        f"The n-gram is counted on the whole training split, {len(ids):,} characters; its order "
        f"({details.order}) is the best on the validation split. CPU seconds are those of the "
        "whole run, in one thread, beside other programs.",
        "",
        "## Settings",
        "",
        f"| option | {' | '.join(f'`{name}`' for name in PRESETS)} |",
        f"|---|{'---|' * len(PRESETS)}",
    ]
    keys = dict.fromkeys(key for preset in PRESETS.values() for key in preset.settings)
    for key in keys:
        values = [preset.settings.get(key, getattr(Config(), key)) for preset in PRESETS.values()]
        cells = [f"{value:,}" if isinstance(value, int) else str(value) for value in values]
        lines.append(f"| `{option_name(key)}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def finished_reports(name: str, work: Path) -> list[RunReport]:
    """Return the reports of the finished runs of a preset, by seed."""
    directories = sorted(path for path in work.glob(f"{name}-*") if is_run(path))
    return [report for path in directories if (report := Run(path).report)]


def measured(reports: Sequence[RunReport], ngram_bits: float) -> str:
    """Return seeds, scores, score of the n-gram and CPU seconds, as cells of a table."""
    if not reports:
        return "| not measured | | "
    bits = [report.score.bits_per_char for report in reports if report.score]
    seconds = statistics.mean(report.cpu.total for report in reports)
    scores = ", ".join(f"{value:.3f}" for value in bits)
    seeds = ", ".join(str(report.seed) for report in reports)
    return f"{seeds} | {scores} | {ngram_bits:.3f} | {seconds:.0f}"


if __name__ == "__main__":
    main()
