"""The command line: parse, call, show. What needs torch is loaded inside a command."""

import math
import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import Exit

from charlm import __version__, show
from charlm.config import Config, checked, merged
from charlm.errors import MEANING, BadConfig, Interrupted, NonFinite
from charlm.flags import CHECKPOINT, CORPUS, DEVICE, JSON, LOG_EVERY, RUN, THREADS, settings
from charlm.signals import check, deferred

if TYPE_CHECKING:
    from charlm.checkpoint import Checkpoint
    from charlm.model import CharLM
    from charlm.run import Run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as version_of

        python = sys.version.split()[0]
        show.result(f"charlm {__version__}, torch {version_of('torch')}, Python {python}")
        raise Exit


CODES = ", ".join(f"{code} {meaning.split(':')[0]}" for code, meaning in MEANING.items())
HELP = f"""Train character language models with recurrent cells of every kind, and compare them.

charlm train                      a model of Python's own documentation

charlm sample RUN --prompt "The"  let it write

charlm eval RUN                   its exact bits per character

charlm compare-cells              RNN, GRU and LSTM at equal parameters

Exit codes: {CODES}.
"""


@app.callback(help=HELP)
def charlm(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_version),
    ] = False,
) -> None:
    pass


@app.command()
@settings()
def train(
    given: dict[str, Any],
    corpus: CORPUS = None,
    run: Annotated[
        Path | None, typer.Option(help="Where the run is kept (runs/CELL-TIME).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where --run was left, or start it.")
    ] = False,
    log_every: LOG_EVERY = 10.0,
    json: JSON = False,
) -> None:
    """Train a model on a text.

    charlm train

    charlm train book.txt --cell gru --hidden 300 --minutes 10

    charlm train src/ --glob '**/*.py' --run runs/code

    charlm train --run runs/code --resume
    """
    if resume and run is None:
        raise BadConfig("--resume needs --run DIR: the run to go on with")
    if run is None:
        cell = given.get("cell", Config().cell)
        run = Path("runs") / f"{cell}-{time.strftime('%Y%m%d-%H%M%S')}"
    given = _from_anywhere(given)
    checked(given)  # a mistake is told before anything is loaded or made
    from charlm.run import Run, is_run, refuse_existing, writer
    from charlm.show import tables

    check()
    if not (resume and is_run(run)):
        refuse_existing(run)
    with writer(run):
        try:
            report = _train(run, resume, corpus or [], given, log_every)
        except Interrupted as stop:
            again = f"; go on with: charlm train --run {shlex.quote(str(run))} --resume"
            raise Interrupted(stop.signal, f"{stop}{again if is_run(run) else ''}") from None
        except NonFinite as error:
            if is_run(run):
                Run(run).diverge(str(error))
            raise
    if json:
        show.result_json(report)
    else:
        tables.report(report)
        named = shlex.quote(str(run))
        show.say(f"next: charlm sample {named}   or   charlm eval {named}")


def _from_anywhere(given: dict[str, Any]) -> dict[str, Any]:
    """The settings that are paths made absolute: a run must find its texts from anywhere."""
    from charlm.source import absolute

    texts = {name: given[name] for name in ("valid_text", "test_text") if given.get(name)}
    return {**given, **{name: absolute(path) for name, path in texts.items()}}


def _train(
    path: Path, resume: bool, names: list[str], given: dict[str, Any], log_every: float
) -> dict[str, Any]:
    """Trains the run in this directory, which is locked, to its end; its report."""
    from charlm import corpus as texts
    from charlm import train as training
    from charlm.machine import prepare
    from charlm.model import memory
    from charlm.run import Run, is_run, refuse_existing
    from charlm.show import progress, tables
    from charlm.workers import orphaned

    check()
    going_on = resume and is_run(path)
    if going_on:
        run = Run(path)
        config = merged(run.record.config, given)
        if run.report:
            if names:  # of another text it would be another run
                texts.reload(config, run.record.text, names)
            show.say(f"{path} is finished: there is nothing to go on with")
            return run.report
    else:
        refuse_existing(path)
        config = checked(given)
    device, why = prepare(config.device, config.threads)
    with progress.reading("reading the text", log_every) as tick:
        if going_on:
            corpus = texts.reload(config, run.record.text, names, tick)
        else:
            corpus = texts.load(config, names or ["python-docs"], tick)
    if going_on:
        training.refuse_what_cannot_fit(config, corpus, device)
        began = (run.record.made_by.get("device"), run.record.made_by.get("threads"))
        if (device, str(config.threads)) != began:
            show.say(
                f"note: the run began on {began[0]} with {began[1]} thread(s): on another "
                "device or number of threads the last digits may differ"
            )
    else:
        run = training.new_run(path, config, corpus, device)
    record, symbols = run.record, run.alphabet.size
    each = training.seconds_per_update(
        config, record.updates, symbols, record.kernel, device, corpus.split("train")
    )
    tables.summary(run, config, each, memory(config, symbols), f"{device} ({why})")

    learner, metrics_bytes = training.begin(run, device, config, show.say)
    if learner.update:
        show.say(f"going on after update {learner.update}")
    best = learner.best and learner.best[1]
    shown = progress.Training(record.updates, config.batch * config.time, best, log_every)
    with deferred("finishing this update and saving") as signalled:
        steps = training.train(
            run, learner, corpus, metrics_bytes, lambda: bool(signalled) or orphaned()
        )
        try:
            for happened in steps:
                shown.see(happened)
        finally:
            shown.close()
    if signalled or learner.update < record.updates:
        number = signalled[0] if signalled else signal.SIGTERM
        raise Interrupted(number, f"saved after update {learner.update}")
    with progress.reading("scoring exactly", log_every) as tick:
        return training.conclude(run, corpus, device, show.say, tick)


def _model(run: "Run", which: str, kernel: str, device: str) -> "tuple[Checkpoint, CharLM]":
    """A checkpoint of a run, each hash verified, and the model with its weights."""
    from charlm.machine import memory_available
    from charlm.model import load_weights, make, refuse_more_than, size

    parameters, _ = size(run.record.config, run.alphabet.size)
    refuse_more_than(memory_available(device), 8 * parameters)  # the file's, and the model's
    weights = run.load(which, show.say)
    model = make(run.record.config, run.alphabet.size, kernel, device)
    load_weights(model, weights.tensors)
    return weights, model


@app.command(name="eval")
def evaluate(
    run: RUN,
    split: Annotated[str, typer.Option(help="Of the run's corpus: test, valid or train.")] = "",
    text: Annotated[str, typer.Option(help="Score this text instead, whole.")] = "",
    corpus: Annotated[
        list[str] | None, typer.Option(help="Where the run's corpus is now, if it was moved.")
    ] = None,
    checkpoint: CHECKPOINT = "best",
    device: DEVICE = "auto",
    threads: THREADS = 1,
    json: JSON = False,
) -> None:
    """Score a text exactly: every character once, in one stream.

    charlm eval runs/code

    charlm eval runs/code --text other.txt --json
    """
    if text and split:
        raise BadConfig("--text and --split: one of them, for --text scores the whole file")
    if split not in ("", "test", "valid", "train"):
        raise BadConfig(f"--split {split}: test, valid or train")
    from charlm.corpus import reload
    from charlm.encoding import encoded
    from charlm.evaluate import score
    from charlm.machine import prepare
    from charlm.run import Run
    from charlm.show import progress, tables
    from charlm.source import sources

    check()
    opened = Run(run)
    record = opened.record
    device, _ = prepare(device, threads)
    weights, model = _model(opened, checkpoint, record.kernel, device)
    split = split or "test"
    with progress.reading("reading the text", 10.0) as tick:
        if text:
            encoding = encoded([sources([text], record.config.glob)], opened.alphabet, tick)
            span = (0, encoding.size)
        else:
            encoding = reload(record.config, record.text, corpus or [], tick).encoding
            span = record.text.splits[split]
    with progress.reading("scoring", 10.0) as tick:
        exact = score(model, opened.alphabet, encoding, span, tick)
    told = {
        **exact,
        "split": None if text else split,
        "run_corpus_sha256": record.text.digest.sha256,
        "weights_sha256": weights.sha256,
        "update": weights.progress.update,
    }
    if json:
        show.result_json(told)
    else:
        tables.score(told, text or split)
        show.result(f"weights    {weights.sha256} (update {weights.progress.update})")


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
    json: Annotated[bool, typer.Option("--json", help="One JSON object a sample.")] = False,
) -> None:
    """Let a model write, on stdout, as it goes.

    charlm sample runs/code --prompt "def " --temperature 0.8

    echo "Once" | charlm sample runs/code --prompt - --length 1000 -n 3
    """
    if not (math.isfinite(temperature) and math.isfinite(top_p)):
        raise BadConfig("--temperature and --top-p: finite numbers")
    from charlm.machine import prepare
    from charlm.run import Run
    from charlm.sample import write

    check()
    opened = Run(run)
    prepare("cpu", 1)
    # One character at a time leaves nothing for a sequence kernel to fuse: the loop is fastest.
    _, model = _model(opened, checkpoint, "loop", "cpu")
    before = sys.stdin.buffer.read() if prompt == "-" else os.fsencode(prompt)
    prompt = before.decode("utf-8", "surrogateescape")  # whatever the locale took it for
    for number in range(count):
        written = write(
            model,
            opened.alphabet,
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
            told = {"sample": number, "seed": seed, "text": text}
            show.result_json({"prompt": before.decode("utf-8", "replace"), **told})
            continue
        if count > 1:
            show.say(f"sample {number + 1} of {count}")
        out = show.Writer()
        out.write(before)
        for piece in written:
            out.write(piece)
        if out.terminal or count > 1:
            out.write(b"\n")


@app.command(name="compare-cells")
@settings("cell", "hidden", "seed", "minutes", "final", "threads")
def compare_cells(
    given: dict[str, Any],
    corpus: CORPUS = None,
    cells: Annotated[str, typer.Option(help="Which cells, with commas between.")] = "rnn,gru,lstm",
    seeds: Annotated[int, typer.Option(help="Runs of each cell.", min=1, max=1000)] = 3,
    parameters: Annotated[
        int, typer.Option(help="Parameters of every model.", min=1, max=10**10)
    ] = 150_000,
    out: Annotated[Path, typer.Option(help="Where the comparison is kept.")] = Path("comparison"),
    jobs: Annotated[
        int, typer.Option(help="Runs side by side, one thread each; 0: one a core.", min=0)
    ] = 0,
    log_every: LOG_EVERY = 10.0,
    json: JSON = False,
) -> None:
    """Compare recurrent cells on one text: equal parameters, data order and updates.

    charlm compare-cells

    charlm compare-cells book.txt --cells gru,lstm --seeds 5 --updates 5000 --out mine

    The same command again goes on where it was stopped; more cells or seeds reuse what is done.
    """
    given = _from_anywhere(given)
    config = checked(given)
    names = list(dict.fromkeys(name.strip() for name in cells.split(",") if name.strip()))
    if not names:
        raise BadConfig("--cells: name at least one, such as --cells rnn,gru,lstm")
    from charlm import compare, workers
    from charlm.corpus import load
    from charlm.machine import cores, prepare
    from charlm.run import refuse_existing, writer
    from charlm.show import progress, tables

    check()
    device, _ = prepare(config.device, 1)
    if not compare.is_comparison(out):
        refuse_existing(out)
    with writer(out):
        compare.begin(out)
        texts = compare.kept_standard_input(corpus or ["python-docs"], out)
        with progress.reading("reading the text", log_every) as tick:
            text = load(config, texts, tick)
        planned = compare.plan(
            given, names, seeds, parameters, text.text.digest, text.alphabet.size, out
        )
        side_by_side = jobs or (cores() if device == "cpu" else 1)
        tables.planned(planned, text, parameters, f"{side_by_side} side by side on {device}", out)
        with deferred("the runs are saving") as signalled:
            states = workers.work(planned, texts, out, side_by_side, lambda: bool(signalled))
            shown = progress.Comparing(log_every)
            try:
                for now in states:
                    shown.see(now)
            finally:
                shown.close()
        if signalled:
            raise Interrupted(signalled[0], "every run is saved; the same command goes on")
        report = compare.conclude(planned, parameters, out)
    if json:
        show.result_json(report)
    else:
        tables.comparison(report)
    show.say(f"in {out}: report.json, curves.png and every run")
