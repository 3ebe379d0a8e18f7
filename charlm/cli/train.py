"""charlm train"""

import shlex
import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from charlm import show
from charlm.cli.given import from_anywhere, load_own
from charlm.cli.root import app
from charlm.config import Config, checked, label, merged
from charlm.errors import BadConfig, Interrupted, NonFinite
from charlm.flags import CORPUS, JSON, LOG_EVERY, settings
from charlm.signals import check, deferred


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

    torchrun --standalone --nproc-per-node 2 -m -- charlm train book.txt --run runs/two
    """
    if resume and run is None:
        raise BadConfig("--resume needs --run DIR: the run to go on with")
    unnamed = run is None
    if run is None:
        cell = given.get("cell", Config().cell)
        run = Path("runs") / f"{label(cell)}-{time.strftime('%Y%m%d-%H%M%S')}"
    given = from_anywhere(given)
    checked(given)  # a mistake is told before anything is loaded or made
    from charlm.run import Run, is_run, refuse_existing, writer
    from charlm.show import tables
    from charlm.torchrun import is_first, several

    check()
    if several() > 1 and unnamed:
        raise BadConfig("several processes that train together need --run DIR: where they meet")
    if not is_first():
        _follow(run, resume, corpus or [], given)
        return
    if not (resume and is_run(run)):
        refuse_existing(run)
        load_own([given.get("cell", Config().cell)])
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


def _train(
    path: Path, resume: bool, names: list[str], given: dict[str, Any], log_every: float
) -> dict[str, Any]:
    """Trains the run in this directory, which is locked, to its end; its report."""
    from charlm import corpus as texts
    from charlm import train as training
    from charlm.machine import prepare
    from charlm.model import memory
    from charlm.ranks import join, of_one
    from charlm.run import Run, is_run, refuse_existing
    from charlm.show import progress, tables
    from charlm.workers import orphaned

    check()
    going_on = resume and is_run(path)
    if going_on:
        run = Run(path)
        run.admit(given.get("cell", ""))
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
    ranks = join(device, config.batch)
    with progress.reading("reading the text", log_every) as tick:
        if going_on:
            corpus = texts.reload(config, run.record.text, names, tick)
        else:
            corpus = texts.load(config, names or ["python-docs"], tick)
    if going_on:
        training.refuse_what_cannot_fit(config, corpus, device)
        made = run.record.made_by
        kernel, _ = training.walked_by(run, config, device)
        began = [made.get("device"), made.get("threads"), made.get("processes", "1")]
        if [device, str(config.threads), str(ranks.size), kernel] != [*began, run.record.kernel]:
            show.say(
                f"note: the run began on {began[0]}, {began[2]} process(es) with {began[1]} "
                f"thread(s), and the kernel {run.record.kernel}: with others the last digits may "
                "differ"
            )
    else:
        run = training.new_run(path, config, corpus, device)
    record, symbols = run.record, run.alphabet.size
    kernel, reason = training.walked_by(run, config, device)
    each = training.seconds_per_update(
        of_one(config), record.updates, symbols, kernel, device, corpus.split("train")
    )
    needed = memory(of_one(config), symbols)
    tables.summary(run, config, each, needed, f"{kernel}: {reason}", f"{device} ({why})")

    ranks.wait()  # the others open what is now there
    learner, metrics_bytes = training.begin(run, device, config, show.say, ranks)
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
    ranks.leave()
    if signalled or learner.update < record.updates:
        number = signalled[0] if signalled else signal.SIGTERM
        raise Interrupted(number, f"saved after update {learner.update}")
    with progress.reading("scoring exactly", log_every) as tick:
        return training.conclude(run, corpus, kernel, device, show.say, tick)


def _follow(path: Path, resume: bool, names: list[str], given: dict[str, Any]) -> None:
    """One of several processes that train together, but not the first: it takes its share of the
    streams, and neither writes nor speaks."""
    from charlm import corpus as texts
    from charlm import train as training
    from charlm.machine import prepare
    from charlm.ranks import join
    from charlm.run import Run, is_run

    config = checked(given)
    if resume and is_run(path):
        if Run(path).report:
            return
        config = merged(Run(path).record.config, given)
    device, _ = prepare(config.device, config.threads)
    ranks = join(device, config.batch)
    ranks.wait()  # until the run is there
    run = Run(path)
    run.admit(given.get("cell", ""))
    config = merged(run.record.config, given)
    corpus = texts.reload(config, run.record.text, names)
    learner, _ = training.begin(run, device, config, lambda _: None, ranks)
    with deferred("") as signalled:
        for _ in training.train(run, learner, corpus, stop=lambda: bool(signalled)):
            pass
    ranks.leave()
