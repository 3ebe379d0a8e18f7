"""Command `charlm eval`."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import TRAIN
from charlm.cli.options import (
    CHECKPOINT,
    DEVICE,
    JSON,
    KERNEL,
    MOVED_CORPUS,
    QUIET,
    RUN,
    THREADS,
    TRUST_CELL,
    make_progress,
)
from charlm.errors import ConfigError, InputNotFoundError, UsageError
from charlm.progress import ignore
from charlm.results.costs import DynamicSettings

DYNAMIC = DynamicSettings()


@app.command(name="eval", rich_help_panel=TRAIN)
def eval_command(
    run: RUN,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT",
            help="Text to score whole instead of a split.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        Literal["test", "valid", "train"] | None,
        typer.Option(help="Split to score. [default: test]", show_default=False),
    ] = None,
    per_char: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="New file for the bits of each character: .jsonl, .parquet or .html.",
            show_default=False,
        ),
    ] = None,
    by_class: Annotated[
        bool, typer.Option("--by-class", help="Print bits by class of character as well.")
    ] = False,
    dynamic: Annotated[
        bool,
        typer.Option("--dynamic", help="Print the score of a model that learns meanwhile as well."),
    ] = False,
    dynamic_rate: Annotated[
        float | None,
        typer.Option(metavar="FLOAT", help=f"Its learning rate. [default: {DYNAMIC.rate:g}]"),
    ] = None,
    dynamic_decay: Annotated[
        float | None,
        typer.Option(
            metavar="FLOAT",
            help=f"Its decay to the weights of the run. [default: {DYNAMIC.decay:g}]",
        ),
    ] = None,
    dynamic_segment: Annotated[
        int | None,
        typer.Option(
            metavar="N", help=f"Tokens that it learns from at a time. [default: {DYNAMIC.segment}]"
        ),
    ] = None,
    protocol: Annotated[
        Literal["char-rnn", "torch-rnn", "nanogpt", "awd"] | None,
        typer.Option(help="Print the loss that this program would print as well."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seed of the windows of nanogpt. [default: 1337]", min=0),
    ] = None,
    baselines: Annotated[
        bool,
        typer.Option("--baselines", help="Print n-grams and compressors of the test split."),
    ] = False,
    corpus: MOVED_CORPUS = None,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    kernel: KERNEL = "auto",
    device: DEVICE = "auto",
    threads: THREADS = 1,
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Score a text exactly, in bits per character.

    Every character is read once, as one stream: the state is carried on from one file to the next,
    or reset at each document where the run has --documents. Where it has --test-chars, the test
    split is excerpts of its files.

    Examples:
        $ charlm eval runs/code                   # its test split
        $ charlm eval runs/code other.txt --json  # another text, as JSON
        $ charlm eval runs/code chapter.txt --by-class --per-char bits.html
        $ charlm eval runs/code --dynamic --protocol nanogpt
    """
    if text is not None and split is not None:
        raise ConfigError(
            "cannot score a split of another text: TEXT is scored whole. Try without --split"
        )
    if run.is_file():
        raise InputNotFoundError(
            f"cannot open {run}: it is a file, not a run. Try charlm eval RUN {run}"
        )
    if per_char is not None and per_char.suffix not in (".jsonl", ".parquet", ".html"):
        raise UsageError(
            f"cannot write {per_char}: characters are written as .jsonl, .parquet or .html. "
            f"Try --per-char {per_char.with_suffix('.jsonl')}"
        )
    settings = _dynamic_settings(dynamic, dynamic_rate, dynamic_decay, dynamic_segment)
    from charlm.evaluation.evaluate import evaluate
    from charlm.execution.signals import raise_pending
    from charlm.reporting.html.characters import PageRecords, render_characters
    from charlm.reporting.terminal.scores import print_score
    from charlm.runs.run import load_run
    from charlm.storage import files

    raise_pending()
    page = per_char if per_char is not None and per_char.suffix == ".html" else None
    records = PageRecords(str(page))
    if page:
        files.check_new(page)
    report = evaluate(
        load_run(run, trust_cell),
        split or "test",
        text=text,
        checkpoint=checkpoint,
        kernel=kernel,
        device=device,
        threads=threads,
        sources=corpus or (),
        progress=make_progress(),
        per_char=records.add if page else per_char,
        by_class=by_class or page is not None,
        dynamic=settings,
        protocol=protocol,
        protocol_seed=seed,
        baselines=baselines,
        on_length=records.check_length if page else ignore,
    )
    if page:
        files.make_directory(page.absolute().parent)
        files.write_new(page, render_characters(report, records.records, run.name, text))
    if json:
        console.print_json(msgspec.to_builtins(report))
        return
    print_score(report)
    if per_char is not None:
        console.print_result(f"\n{'page' if page else 'characters'} {per_char}")


def _dynamic_settings(
    dynamic: bool, rate: float | None, decay: float | None, segment: int | None
) -> DynamicSettings | None:
    """Return the settings of dynamic evaluation; None without --dynamic.

    Raises:
        ConfigError: One of them is given without --dynamic.
    """
    given = {"rate": rate, "decay": decay, "segment": segment}
    used = {name: value for name, value in given.items() if value is not None}
    if used and not dynamic:
        raise ConfigError(
            f"cannot use --dynamic-{next(iter(used))}: it is a setting of dynamic evaluation. "
            "Try it with --dynamic"
        )
    return msgspec.convert(used, DynamicSettings) if dynamic else None
