"""Training of a whole run: create or resume it, train, score, and write its report."""

import logging
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from charlm.cells.names import cell_label, parse_custom_cell
from charlm.config import Config, resume_config
from charlm.data.corpus import Corpus, Sources
from charlm.errors import ConfigError
from charlm.execution.torchrun import is_main_process, world_size
from charlm.progress import NoProgress, Progress
from charlm.runs.run import Run, is_run
from charlm.settings.values import Setting
from charlm.training.checks import check_config, check_corpus
from charlm.training.clock import Clock
from charlm.training.initial_weights import (
    WeightSource,
    check_initial_run,
    find_weight_source,
    given_settings,
)
from charlm.training.longer_budget import (
    is_extendable,
    is_extension,
    longer_run_dir,
    plan_extension,
    requested_budget,
    without_budget,
)
from charlm.training.process import StartHook, TrainingProcess

logger = logging.getLogger("charlm")


def train(
    corpus: Corpus | Sources,
    config: Config | str | Path | None = None,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
    init_from: WeightSource | Run | str | Path | None = None,
    longer_dir: str | Path | None = None,
    progress: Progress = NoProgress(),
    on_start: StartHook | None = None,
    started: float | None = None,
) -> Run:
    """Train a character language model and score it.

    Processes that torchrun started train one model together; all must call this function.

    The file of a custom cell is executed, but the cell is not tested: see `check_cell`.

    Args:
        corpus: Text, or its sources as `load_corpus` takes them.
        config: Settings, or a TOML file or run that has them (its text is left out); default:
            `Config()`, or those of the run that is continued. A `Corpus` brings its own settings
            of the text.
        run_dir: New directory of the run; default: runs/CELL-TIME.
        resume: Continue the run in `run_dir`, with the same settings. A finished run is returned
            as it is. Where no run is yet, one is started. A larger budget makes a longer run in
            `longer_dir`, see `resume_training`.
        init_from: Run whose best weights the new run starts from. It determines the settings of
            the model, and its characters stay in the vocabulary. Optimizer, step counter, learning
            rate and warmup start again.
        longer_dir: New directory of a longer run; default: RUN-BUDGET.
        progress: Receiver of progress.
        on_start: Is called with a summary before the first step.
        started: Monotonic time at which this process began to serve this run, which a budget in
            minutes and the CPU seconds of the report count from; default: now.

    Returns:
        The finished run, with its report.

    Raises:
        OutputExistsError: `run_dir` exists, and it is not a run to be resumed.
        LockedError: Another process is writing `run_dir`.
        InputNotFoundError: A source is missing.
        ConfigError: Settings contradict each other, the text, the run or this machine.
        DivergedError: The loss is no longer finite.
        Interrupted: A signal came; the state has been saved.
    """
    if resume and run_dir is None:
        raise ConfigError("cannot resume: no run is named. Try run_dir=...")
    if resume and run_dir is not None and is_run(Path(run_dir)):
        overrides = _settings_of_the_same_call(Path(run_dir), corpus, config, init_from)
        cell = str(overrides.get("cell", ""))
        return resume_training(
            run_dir,
            corpus,
            overrides=overrides,
            longer_dir=longer_dir,
            trust_cell=cell if cell and parse_custom_cell(cell) else "",
            progress=progress,
            on_start=on_start,
            started=started,
        )
    source = find_weight_source(init_from, config)
    checked_config = check_config(source.config if source else config, corpus)
    path = Path(run_dir) if run_dir is not None else default_run_dir(checked_config)
    clock = Clock.at(started)
    return TrainingProcess(
        path, corpus, checked_config, None, source, progress, on_start, clock
    ).run()


def _settings_of_the_same_call(
    path: Path,
    corpus: Corpus | Sources,
    config: Config | str | Path | None,
    init_from: WeightSource | Run | str | Path | None,
) -> Mapping[str, Setting]:
    """Return the settings that a run which exists is resumed with.

    Raises:
        ConfigError: The run began with other weights.
    """
    text_settings = corpus.settings if isinstance(corpus, Corpus) else {}
    if init_from is not None:  # other settings of the model are inherited
        named = init_from.run if isinstance(init_from, WeightSource) else init_from
        check_initial_run(Run(path), named)
        return {**given_settings(config), **text_settings}
    if config is None:
        return text_settings
    return msgspec.structs.asdict(check_config(config, corpus))


def resume_training(
    run_dir: str | Path,
    corpus: Corpus | Sources = (),
    *,
    overrides: Mapping[str, Setting] | None = None,
    longer_dir: str | Path | None = None,
    trust_cell: str = "",
    progress: Progress = NoProgress(),
    on_start: StartHook | None = None,
    started: float | None = None,
) -> Run:
    """Continue a run from its last checkpoint; a finished run is returned as it is.

    A finished run is only read, so it may be locked by another process.

    With a larger budget, a new run goes on from the state of this one before its learning rate
    decayed, and this one stays as it is. The new run is the same, to the bit, as one with the
    larger budget from its first step. The same call continues it.

    Args:
        run_dir: Run.
        corpus: Its text, or where that is now; default: where the run found it.
        overrides: Settings that differ now. Only those that cannot change the result may, and the
            budget.
        longer_dir: New directory of the run with a larger budget; default: RUN-BUDGET, such as
            runs/first-4000-steps.
        trust_cell: FILE.py:CLASS of a run with a custom cell. The file is executed.
        progress: Receiver of progress.
        on_start: Is called with a summary before the first step.
        started: As for `train`.

    Raises:
        InputNotFoundError: It is not a run, or its text is missing.
        LockedError: It is not finished, and another process is writing it.
        DataError: The text is not that of the run, or every checkpoint is damaged.
        ConfigError: An override would change the result, or the budget cannot be raised.
        DivergedError: The loss is no longer finite.
        Interrupted: A signal came; the state has been saved.
    """
    overrides = dict(overrides or {})
    run = Run(Path(run_dir))
    recorded_cell = run.record.config.cell
    if overrides.get("cell", recorded_cell) in (recorded_cell, trust_cell):
        overrides.pop("cell", None)  # under which name it is known now is no setting
    run.load_custom_cell(trust_cell)
    budget = requested_budget(run.record.config, overrides)
    source = None
    if budget:
        config = resume_config(run.record.config, without_budget(overrides))
        source = plan_extension(run, config, budget)
        config, path = source.config, Path(longer_dir or longer_run_dir(run.path, budget))
        if not is_main_process() or not is_extension(path, run, config):
            clock = Clock.at(started)
            return TrainingProcess(
                path, corpus, config, None, source, progress, on_start, clock
            ).run()
        run = Run(path)
        run.load_custom_cell(trust_cell)
    elif longer_dir is not None:
        raise ConfigError(
            f"cannot make a new run in {longer_dir}: the budget of {run.path} is no other one. "
            "Try a larger budget"
        )
    else:
        config = resume_config(run.record.config, overrides)
    if run.report:
        run.load_checkpoint("best")  # what is damaged is not finished
        check_corpus(run, config, corpus, progress)
        if is_main_process():
            logger.info(
                "%s is finished: its learning rate has decayed, and nothing is left to train. "
                "For more steps, %s",
                run.path,
                f"give a larger budget, such as --max-steps {2 * run.record.max_steps}"
                if is_extendable(run)
                else f"start a new run from its weights: --init-from {run.path}",
            )
        return run
    clock = Clock.at(started)
    return TrainingProcess(run.path, corpus, config, run, None, progress, on_start, clock).run()


def resumed_dir(
    run_dir: Path, overrides: Mapping[str, Setting], longer_dir: Path | None = None
) -> Path:
    """Return the directory that is trained in: that of the run, or of a longer one."""
    budget = requested_budget(Run(run_dir).record.config, overrides)
    return (longer_dir or longer_run_dir(run_dir, budget)) if budget else run_dir


def default_run_dir(config: Config) -> Path:
    """Return the directory of a run that was given none: runs/CELL-TIME.

    Raises:
        ConfigError: Several processes train together, whose clocks may differ.
    """
    if world_size() > 1:
        raise ConfigError(
            "several processes that train together must know the directory of the run. "
            "Try --run DIR"
        )
    return Path("runs") / f"{cell_label(config.cell)}-{time.strftime('%Y%m%d-%H%M%S')}"
