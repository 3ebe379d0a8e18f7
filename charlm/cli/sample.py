"""Command `charlm sample`."""

import os
import sys
from typing import Annotated

import msgspec
import typer

from charlm import console
from charlm.cli.app import app
from charlm.cli.help import TRAIN
from charlm.cli.options import CHECKPOINT, KERNEL, QUIET, RUN, TRUST_CELL


@app.command(name="sample", rich_help_panel=TRAIN)
def sample_command(
    run: RUN,
    prompt: Annotated[
        str,
        typer.Option(
            "--prompt",
            "-p",
            metavar="TEXT",
            help="Text to begin with; - reads standard input.",
            show_default=False,
        ),
    ] = "",
    length: Annotated[
        int, typer.Option("--length", "-n", metavar="N", help="Tokens to generate.", min=0)
    ] = 500,
    num_samples: Annotated[int, typer.Option(metavar="N", help="Samples to generate.", min=1)] = 1,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="FLOAT", help="Divides the logits; 0: the most probable token.", min=0.0
        ),
    ] = 1.0,
    top_k: Annotated[
        int,
        typer.Option(
            metavar="N", help="Sample from the K most probable tokens; 0: from all.", min=0
        ),
    ] = 0,
    top_p: Annotated[
        float,
        typer.Option(
            metavar="FLOAT",
            help="Sample from the fewest tokens with this total probability.",
            min=0.0,
            max=1.0,
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed.", min=0)] = 0,
    checkpoint: CHECKPOINT = "best",
    trust_cell: TRUST_CELL = "",
    kernel: KERNEL = "auto",
    quiet: QUIET = False,  # noqa: ARG001
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per sample.")] = False,
) -> None:
    """Generate text and print it as it comes.

    Examples:
        $ charlm sample runs/code -p "def " --temperature 0.8
        $ echo "Once" | charlm sample runs/code -p - --num-samples 3

    The last line end of a prompt from standard input is left out.
    """
    from charlm.evaluation.generation import check_sampling, iter_generated
    from charlm.execution.device import select_device
    from charlm.execution.signals import raise_pending
    from charlm.reporting.terminal.notes import print_unknown
    from charlm.results.run import GeneratedSample
    from charlm.runs.restore import load_model
    from charlm.runs.run import load_run

    raise_pending()
    check_sampling(length, temperature, top_k, top_p)
    opened = load_run(run, trust_cell)
    select_device("cpu", 1)
    _, model = load_model(opened, checkpoint, kernel, "cpu", 1)
    prompt_bytes = read_prompt() if prompt == "-" else os.fsencode(prompt)
    prompt_text = prompt_bytes.decode("utf-8", "surrogateescape")  # whatever the locale is
    print_unknown(opened.vocabulary.find_unknown(prompt_text), "the prompt")
    for number in range(num_samples):
        pieces = iter_generated(
            model,
            opened.vocabulary,
            prompt_text,
            length,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            sample_number=number,
        )
        if json:
            sample = GeneratedSample(
                prompt=prompt_bytes.decode("utf-8", "replace"),
                text=b"".join(pieces).decode("utf-8", "replace"),
                sample=number,
                seed=seed,
                kernel=model.kernel,
            )
            console.print_json(msgspec.to_builtins(sample))
            continue
        if num_samples > 1:
            console.print_message(f"sample {number + 1} of {num_samples}")
        out = console.StreamWriter()
        out.write(prompt_bytes)
        for piece in pieces:
            out.write(piece)
        if out.terminal or num_samples > 1:
            out.write(b"\n")


def read_prompt() -> bytes:
    """Return standard input without its last line end, which `echo` and editors add."""
    data = sys.stdin.buffer.read()
    line_end = next((end for end in (b"\r\n", b"\n", b"\r") if data.endswith(end)), b"")
    return data.removesuffix(line_end)
