"""charlm train"""

import shlex
import signal
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from charlm import console
from charlm.cells.names import cell_label
from charlm.cli.app import app
from charlm.cli.options import CORPUS, JSON, LOG_EVERY, add_config_options
from charlm.config import Config, resume_config, validate_config
from charlm.data.sources import make_paths_absolute
from charlm.errors import ConfigError, DivergedError, Interrupted
from charlm.execution.signals import defer_signals, raise_pending
from charlm.testing.trusted_cells import load_and_check_custom_cells


@app.command()
@add_config_options()
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

    charlm train book.txt --cell gru --hidden-size 300 --minutes 10

    charlm train src/ --glob '**/*.py' --run runs/code

    charlm train --run runs/code --resume

    torchrun --standalone --nproc-per-node 2 -m -- charlm train book.txt --run runs/two
    """
    if resume and run is None:
        raise ConfigError("--resume needs --run DIR: the run to go on with")
    unnamed = run is None
    if run is None:
        cell = given.get("cell", Config().cell)
        run = Path("runs") / f"{cell_label(cell)}-{time.strftime('%Y%m%d-%H%M%S')}"
    given = make_paths_absolute(given)
    validate_config(given)  # a mistake is told before anything is loaded or made
    from charlm.execution.torchrun import is_main_process, world_size
    from charlm.reporting.terminal import tables
    from charlm.runs.run import Run, check_not_existing, is_run
    from charlm.storage.lock import exclusive_lock

    raise_pending()
    if world_size() > 1 and unnamed:
        raise ConfigError("several processes that train together need --run DIR: where they meet")
    if not is_main_process():
        _train_worker(run, resume, corpus or [], given)
        return
    if not (resume and is_run(run)):
        check_not_existing(run)
        load_and_check_custom_cells([given.get("cell", Config().cell)])
    with exclusive_lock(run):
        try:
            report = _train(run, resume, corpus or [], given, log_every)
        except Interrupted as stop:
            again = f"; go on with: charlm train --run {shlex.quote(str(run))} --resume"
            raise Interrupted(stop.signal, f"{stop}{again if is_run(run) else ''}") from None
        except DivergedError as error:
            if is_run(run):
                Run(run).mark_diverged(str(error))
            raise
    if json:
        console.print_json(report)
    else:
        tables.print_run_report(report)
        named = shlex.quote(str(run))
        console.print_message(f"next: charlm sample {named}   or   charlm eval {named}")


def _train(
    path: Path, resume: bool, names: list[str], given: dict[str, Any], log_every: float
) -> dict[str, Any]:
    """Trains the run in this directory, which is locked, to its end; its report."""
    from charlm.data import corpus as texts
    from charlm.execution.device import select_device
    from charlm.execution.jobs import is_orphaned
    from charlm.models.cost import estimate_training_memory
    from charlm.reporting.terminal import progress, tables
    from charlm.runs.run import Run, check_not_existing, is_run
    from charlm.training import loop as training
    from charlm.training.budget import check_fits_memory, measure_step_time
    from charlm.training.distributed import init_process_group, per_process_config
    from charlm.training.session import create_run, restore_trainer, run_kernel, score_and_report

    raise_pending()
    going_on = resume and is_run(path)
    if going_on:
        run = Run(path)
        run.load_custom_cell(given.get("cell", ""))
        config = resume_config(run.record.config, given)
        if run.report:
            if names:  # of another text it would be another run
                texts.reload_corpus(config, run.record.text, names)
            console.print_message(f"{path} is finished: there is nothing to go on with")
            return run.report
    else:
        check_not_existing(path)
        config = validate_config(given)
    device, why = select_device(config.device, config.threads)
    ranks = init_process_group(device, config.batch_size)
    with progress.progress_counter("reading the text", log_every) as tick:
        if going_on:
            corpus = texts.reload_corpus(config, run.record.text, names)
        else:
            corpus = texts.load_corpus(names or ["python-docs"], config)
    if going_on:
        check_fits_memory(config, corpus, device)
        made = run.record.environment
        kernel, _ = run_kernel(run, config, device)
        began = [made.get("device"), made.get("threads"), made.get("processes", "1")]
        if [device, str(config.threads), str(ranks.size), kernel] != [*began, run.record.kernel]:
            console.print_message(
                f"note: the run began on {began[0]}, {began[2]} process(es) with {began[1]} "
                f"thread(s), and the kernel {run.record.kernel}: with others the last digits may "
                "differ"
            )
    else:
        run = create_run(path, config, corpus, device)
    record, symbols = run.record, run.vocabulary.size
    kernel, reason = run_kernel(run, config, device)
    each = measure_step_time(
        per_process_config(config), record.max_steps, symbols, kernel, device, corpus.split("train")
    )
    needed = estimate_training_memory(per_process_config(config), symbols)
    tables.print_run_summary(run, config, each, needed, f"{kernel}: {reason}", f"{device} ({why})")

    ranks.barrier()  # the others open what is now there
    learner, metrics_bytes = restore_trainer(run, device, config, console.print_message, ranks)
    if learner.step:
        console.print_message(f"going on after update {learner.step}")
    best = learner.best and learner.best[1]
    shown = progress.TrainingProgress(
        record.max_steps, config.batch_size * config.seq_len, best, log_every
    )
    with defer_signals("finishing this update and saving") as signalled:
        steps = training.train(
            run, learner, corpus, metrics_bytes, lambda: bool(signalled) or is_orphaned()
        )
        try:
            for happened in steps:
                shown.update(happened)
        finally:
            shown.close()
    ranks.shutdown()
    if signalled or learner.step < record.max_steps:
        number = signalled[0] if signalled else signal.SIGTERM
        raise Interrupted(number, f"saved after update {learner.step}")
    with progress.progress_counter("scoring exactly", log_every) as tick:
        return score_and_report(run, corpus, kernel, device, console.print_message, tick)


def _train_worker(path: Path, resume: bool, names: list[str], given: dict[str, Any]) -> None:
    """One of several processes that train together, but not the first: it takes its share of the
    streams, and neither writes nor speaks."""
    from charlm.data import corpus as texts
    from charlm.execution.device import select_device
    from charlm.runs.run import Run, is_run
    from charlm.training import loop as training
    from charlm.training.distributed import init_process_group
    from charlm.training.session import restore_trainer

    config = validate_config(given)
    if resume and is_run(path):
        if Run(path).report:
            return
        config = resume_config(Run(path).record.config, given)
    device, _ = select_device(config.device, config.threads)
    ranks = init_process_group(device, config.batch_size)
    ranks.barrier()  # until the run is there
    run = Run(path)
    run.load_custom_cell(given.get("cell", ""))
    config = resume_config(run.record.config, given)
    corpus = texts.reload_corpus(config, run.record.text, names)
    learner, _ = restore_trainer(run, device, config, lambda _: None, ranks)
    with defer_signals("") as signalled:
        for _ in training.train(run, learner, corpus, stop=lambda: bool(signalled)):
            pass
    ranks.shutdown()
