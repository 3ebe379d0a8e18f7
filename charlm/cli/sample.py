"""charlm sample"""

import math
import os
import sys
from typing import Annotated

import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.options import CELL, CHECKPOINT, KERNEL, RUN
from charlm.errors import ConfigError
from charlm.execution.signals import raise_pending
from charlm.runs.restore import load_model


@app.command()
def sample(
    run: RUN,
    prompt: Annotated[
        str, typer.Option("--prompt", "-p", help="What comes before; - reads it.")
    ] = "",
    length: Annotated[int, typer.Option(help="Characters to write.", min=0)] = 500,
    temperature: Annotated[
        float, typer.Option(help="Below 1 safer, above 1 bolder, 0 the likeliest.", min=0.0)
    ] = 1.0,
    top_k: Annotated[int, typer.Option(help="Only the K likeliest; 0: all.", min=0)] = 0,
    top_p: Annotated[
        float, typer.Option(help="Only the likeliest that make up this share.", min=0.0, max=1.0)
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.", min=0)] = 0,
    count: Annotated[int, typer.Option("-n", "--count", help="How many samples.", min=1)] = 1,
    checkpoint: CHECKPOINT = "best",
    cell: CELL = "",
    kernel: KERNEL = "auto",
    json: Annotated[bool, typer.Option("--json", help="One JSON object a sample.")] = False,
) -> None:
    """Let a model write, on stdout, as it goes.

    charlm sample runs/code --prompt "def " --temperature 0.8

    echo "Once" | charlm sample runs/code --prompt - --length 1000 -n 3
    """
    if not (math.isfinite(temperature) and math.isfinite(top_p)):
        raise ConfigError("--temperature and --top-p: finite numbers")
    from charlm.evaluation.generation import generate
    from charlm.execution.device import select_device
    from charlm.runs.run import Run

    raise_pending()
    opened = Run(run)
    opened.load_custom_cell(cell)
    select_device("cpu", 1)
    _, model = load_model(opened, checkpoint, kernel, "cpu", 1)
    before = sys.stdin.buffer.read() if prompt == "-" else os.fsencode(prompt)
    prompt = before.decode("utf-8", "surrogateescape")  # whatever the locale took it for
    for number in range(count):
        written = generate(
            model,
            opened.vocabulary,
            prompt,
            length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            number=number,
        )
        if json:
            text = b"".join(written).decode("utf-8", "replace")
            told = {"sample": number, "seed": seed, "kernel": model.kernel, "text": text}
            console.print_json({"prompt": before.decode("utf-8", "replace"), **told})
            continue
        if count > 1:
            console.print_message(f"sample {number + 1} of {count}")
        out = console.StreamWriter()
        out.write(before)
        for piece in written:
            out.write(piece)
        if out.terminal or count > 1:
            out.write(b"\n")
