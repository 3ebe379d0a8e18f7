"""Training of a whole run: create or resume it, train, score, and write its report."""

import logging
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from charlm.cells.names import cell_label, parse_custom_cell
from charlm.config import Config, resume_config
from charlm.data.corpus import Corpus, Sources
from charlm.errors import ConfigError, DivergedError, Interrupted
from charlm.execution.device import select_device
from charlm.execution.jobs import is_orphaned
from charlm.execution.signals import defer_signals
from charlm.execution.torchrun import is_main_process, world_size
from charlm.progress import NoProgress, Progress
from charlm.recipes import get_recipe
from charlm.results.run import DeviceReason, RunSummary
from charlm.results.tuning import Setting
from charlm.runs.run import Run, check_not_existing, is_run
from charlm.storage.lock import exclusive_lock
from charlm.training.budget import check_fits_memory
from charlm.training.checks import (
    check_config,
    check_corpus,
    import_custom_cell,
    load_given_corpus,
    reload_run_corpus,
    warn_of_changes,
)
from charlm.training.clock import Clock
from charlm.training.completion import restore_trainer, score_and_report
from charlm.training.distributed import init_process_group
from charlm.training.loop import run_training_loop
from charlm.training.planning import RunPlan, plan_run, summarize_run

logger = logging.getLogger("charlm")

StartHook = Callable[[RunSummary], object]


def train(
    corpus: Corpus | Sources,
    config: Config | str | Path | None = None,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
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
            as it is. Where no run is yet, one is started.
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
    checked_config = check_config(config, corpus)
    path = Path(run_dir) if run_dir is not None else default_run_dir(checked_config)
    if resume and is_run(path):
        overrides: Mapping[str, Setting] = msgspec.structs.asdict(checked_config)
        if config is None:
            overrides = corpus.settings if isinstance(corpus, Corpus) else {}
        return resume_training(
            path,
            corpus,
            overrides=overrides,
            trust_cell=checked_config.cell if parse_custom_cell(checked_config.cell) else "",
            progress=progress,
            on_start=on_start,
            started=started,
        )
    clock = Clock.at(started)
    return _Session(path, corpus, checked_config, None, progress, on_start, clock).run()


def resume_training(
    run_dir: str | Path,
    corpus: Corpus | Sources = (),
    *,
    overrides: Mapping[str, Setting] | None = None,
    trust_cell: str = "",
    progress: Progress = NoProgress(),
    on_start: StartHook | None = None,
    started: float | None = None,
) -> Run:
    """Continue a run from its last checkpoint; a finished run is returned as it is.

    A finished run is only read, so it may be locked by another process.

    Args:
        run_dir: Run.
        corpus: Its text, or where that is now; default: where the run found it.
        overrides: Settings that differ now. Only those that cannot change the result may.
        trust_cell: FILE.py:CLASS of a run with a custom cell. The file is executed.
        progress: Receiver of progress.
        on_start: Is called with a summary before the first step.
        started: As for `train`.

    Raises:
        InputNotFoundError: It is not a run, or its text is missing.
        LockedError: It is not finished, and another process is writing it.
        DataError: The text is not that of the run, or every checkpoint is damaged.
        ConfigError: An override would change the result.
        DivergedError: The loss is no longer finite.
        Interrupted: A signal came; the state has been saved.
    """
    overrides = dict(overrides or {})
    run = Run(Path(run_dir))
    recorded_cell = run.record.config.cell
    if overrides.get("cell", recorded_cell) in (recorded_cell, trust_cell):
        overrides.pop("cell", None)  # under which name it is known now is no setting
    run.load_custom_cell(trust_cell)
    config = resume_config(run.record.config, overrides)
    if run.report:
        check_corpus(run, config, corpus, progress)
        if is_main_process():
            logger.info(
                "%s is finished: its learning rate has decayed, and nothing is left to train. "
                "For more steps, train a new run with a larger budget",
                run_dir,
            )
        return run
    clock = Clock.at(started)
    return _Session(run.path, corpus, config, run, progress, on_start, clock).run()


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


@dataclass
class _Session:
    """One process that trains a run to its end."""

    path: Path
    corpus: Corpus | Sources
    config: Config
    resumed: Run | None  # None: a new run
    progress: Progress
    on_start: StartHook | None
    clock: Clock

    def run(self) -> Run:
        """Train, score and write the report; ranks above 0 only train."""
        if not is_main_process():
            self.progress, self.on_start = NoProgress(), None
            return self._train()
        # A run may be another process's, which the lock tells. Other directories are not touched.
        if self.resumed is None and not is_run(self.path):
            check_not_existing(self.path)
        with exclusive_lock(self.path):
            if self.resumed is None:
                check_not_existing(self.path)
            try:
                return self._train()
            except DivergedError as error:
                if (self.path / "run.json").exists():
                    Run(self.path).mark_diverged(str(error))
                raise

    def _train(self) -> Run:
        import_custom_cell(self.config.cell)
        device, device_reason = select_device(
            self.config.device, self.config.threads, self.config.dtype
        )
        batch_size = self.config.batch_size or get_recipe(cell_label(self.config.cell)).batch_size
        group = init_process_group(device, batch_size)
        if group.is_main:
            run, corpus = self._open_main(device, device_reason)
            group.barrier()  # from here on the others can open the run
        else:
            group.barrier()
            run, corpus = self._open_follower()

        trainer, metrics_bytes = restore_trainer(run, device, self.config, group)
        trainer.cpu_start = self.clock.cpu
        best_bits = trainer.best and trainer.best[1]
        tokens_per_step = self.config.batch_size * self.config.seq_len
        message = "finishing this step and saving" if group.is_main else ""
        with (
            defer_signals(message) as received,
            self.progress.training(trainer.max_steps, tokens_per_step, best_bits) as show,
        ):
            for event in run_training_loop(
                run,
                trainer,
                corpus,
                metrics_bytes,
                lambda: bool(received) or (group.is_main and is_orphaned()),
            ):
                show(event)
        group.shutdown()
        if not group.is_main:
            return run
        if received or trainer.step < trainer.max_steps:
            number = received[0] if received else signal.SIGTERM
            raise Interrupted(number, f"saved after step {trainer.step}")
        score_and_report(run, corpus, trainer, device, self.progress)
        return run

    def _open_main(self, device: str, device_reason: DeviceReason) -> tuple[Run, Corpus]:
        """Create the run or check the resumed one, and report the summary."""
        if self.resumed is None:
            corpus = load_given_corpus(self.corpus, self.config, self.progress)
            plan = plan_run(self.config, corpus, device, self.clock.wall)
            run = Run.create(self.path, plan.record, corpus.vocabulary)
            self.config = run.record.config  # with the recipe
        else:
            run = self.resumed
            corpus = reload_run_corpus(run, self.config, self.corpus, self.progress)
            check_fits_memory(self.config, run.vocabulary.size, device)
            warn_of_changes(run, self.config, device)
            plan = RunPlan(run.record)
        if self.on_start:
            self.on_start(
                summarize_run(
                    self.path,
                    plan,
                    self.config,
                    corpus,
                    device,
                    device_reason,
                    steps_done=max(run.checkpoints, default=0),
                    elapsed=self.clock.elapsed(),
                )
            )
        return run, corpus

    def _open_follower(self) -> tuple[Run, Corpus]:
        """Open the run that rank 0 has created."""
        run = Run(self.path)
        custom = parse_custom_cell(self.config.cell)
        run.load_custom_cell(self.config.cell if custom else "")
        self.config = resume_config(run.record.config, msgspec.structs.asdict(self.config))
        return run, reload_run_corpus(run, self.config, self.corpus, NoProgress())
