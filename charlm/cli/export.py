"""Command `charlm export`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import TRAIN
from charlm.cli.options import CHECKPOINT, JSON, QUIET, RUN, TRUST_CELL


@app.command(name="export", rich_help_panel=TRAIN)
def export_command(
    run: RUN,
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="Folder to create.", show_default=False),
    ],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX files too.")] = False,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    quiet: QUIET = False,  # noqa: ARG001
    json: JSON = False,
) -> None:
    """Write a model as a folder that others can use without charlm.

    The folder has the weights as safetensors, settings, vocabulary, a model card, and char_lm.py,
    which writes and scores text with numpy alone. What it computes is compared with the model
    before anything is written.

    Examples:
        $ charlm export runs/code model   # then: python model/char_lm.py "def "
        $ charlm export runs/code model2 --onnx  # model.onnx, start.onnx
    """
    from charlm.execution.device import select_device
    from charlm.execution.signals import raise_pending
    from charlm.exporting.export_run import export
    from charlm.reporting.terminal.export import print_export
    from charlm.runs.run import load_run

    raise_pending()
    select_device("cpu", 1)
    report = export(load_run(run, trust_cell), directory, onnx=onnx, checkpoint=checkpoint)
    if json:
        console.print_json(msgspec.to_builtins(report))
    else:
        print_export(report)
