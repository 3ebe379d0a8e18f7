"""Commands `charlm compress` and `charlm decompress`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.completion import complete_run
from charlm.cli.help import TRAIN
from charlm.cli.options import (
    CHECKPOINT,
    JSON,
    KERNEL,
    QUIET,
    TRUST_CELL,
    check_runs_exist,
    make_progress,
)

CODING_RUN = Annotated[
    Path,
    typer.Option(
        "--run",
        metavar="RUN",
        help="Directory of the run.",
        show_default=False,
        callback=check_runs_exist,
        autocompletion=complete_run,
    ),
]


@app.command(name="compress", rich_help_panel=TRAIN)
def compress_command(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="File of any bytes to compress.", show_default=False),
    ],
    run: CODING_RUN,
    out: Annotated[
        Path,
        typer.Option(metavar="PATH", help="Compressed file to write.", show_default=False),
    ],
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    kernel: KERNEL = "auto",
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Compress a file with a model, to the bits that charlm eval reports.

    The same run, versions and kind of processor restore every byte. A text that is compressed
    already, such as a .gz file, is not unpacked. The model computes on the CPU, one token at a
    time.

    Examples:
        $ charlm compress book.txt --run runs/code --out book.clz
        $ charlm decompress book.clz --run runs/code --out copy.txt
    """
    from charlm.compression.compress import compress
    from charlm.execution.signals import raise_pending
    from charlm.reporting.terminal.compression import print_compression
    from charlm.runs.run import load_run

    raise_pending()
    report = compress(
        file,
        load_run(run, trust_cell),
        out,
        checkpoint=checkpoint,
        kernel=kernel,
        progress=make_progress(),
    )
    if json:
        console.print_json(msgspec.to_builtins(report))
    else:
        print_compression(report, str(out))


@app.command(name="decompress", rich_help_panel=TRAIN)
def decompress_command(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Compressed file.", show_default=False)
    ],
    run: CODING_RUN,
    out: Annotated[Path, typer.Option(metavar="PATH", help="File to restore.", show_default=False)],
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Restore a file that charlm compress wrote, and verify every byte of it.

    Examples:
        $ charlm decompress book.clz --run runs/code --out copy.txt
    """
    from charlm.compression.decompress import decompress
    from charlm.execution.signals import raise_pending
    from charlm.reporting.terminal.compression import print_decompression
    from charlm.runs.run import load_run

    raise_pending()
    report = decompress(
        file,
        load_run(run, trust_cell),
        out,
        checkpoint=checkpoint,
        progress=make_progress(),
    )
    if json:
        console.print_json(msgspec.to_builtins(report))
    else:
        print_decompression(report, str(out))
