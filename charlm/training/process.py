"""Process that trains a run to its end: it creates or opens the run, trains, and scores."""

import signal
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import msgspec

from charlm.cells.names import cell_label, parse_custom_cell
from charlm.config import Config, resume_config
from charlm.data.corpus import Corpus, Sources
from charlm.errors import DivergedError, Interrupted
from charlm.execution.device import select_device
from charlm.execution.parent_process import is_orphaned
from charlm.execution.signals import defer_signals
from charlm.execution.torchrun import is_main_process
from charlm.progress import NoProgress, Progress
from charlm.recipes import get_recipe
from charlm.results.run import DeviceReason, RunSummary
from charlm.runs.creation import check_not_existing, create_run
from charlm.runs.run import Run, is_run
from charlm.storage.lock import exclusive_lock
from charlm.training.budget import check_fits_memory
from charlm.training.checks import (
    import_cell,
    load_given_corpus,
    reload_run_corpus,
    warn_of_changes,
)
from charlm.training.clock import Clock
from charlm.training.completion import restore_trainer, score_and_report
from charlm.training.distributed import init_process_group
from charlm.training.initial_weights import WeightSource, plan_run_from, start_from
from charlm.training.longer_budget import Extension, extend_run
from charlm.training.loop import run_training_loop
from charlm.training.planning import RunPlan, plan_run, summarize_run

StartHook = Callable[[RunSummary], object]


class NewRun(NamedTuple):
    """A run that was just created, its plan and its text."""

    run: Run
    plan: RunPlan
    corpus: Corpus


@dataclass
class TrainingProcess:
    """One process that trains a run to its end.

    Attributes:
        path: Directory of the run.
        corpus: Its text, or sources of it.
        config: Its settings; those of the recipe are open until the run is created.
        resumed: Run that is continued; None: a new run.
        source: What a new run starts from; None: new weights.
        progress: Receiver of progress.
        on_start: Is called with a summary before the first step.
        clock: When this process began to serve the run.
    """

    path: Path
    corpus: Corpus | Sources
    config: Config
    resumed: Run | None
    source: WeightSource | Extension | None
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
                if is_run(self.path):
                    Run(self.path).mark_diverged(str(error))
                raise

    def _train(self) -> Run:
        import_cell(self.config)
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
            run, plan, corpus = self._create(device)
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

    def _create(self, device: str) -> NewRun:
        """Create the run, with new weights or those of another one."""
        source = self.source
        if isinstance(source, Extension):
            corpus = reload_run_corpus(source.run, self.config, self.corpus, self.progress)
            check_fits_memory(self.config, source.run.vocabulary.size, device)
            warn_of_changes(source.run, self.config, device)
            # Nobody writes a finished run. Checkpoints of another one must not be replaced now.
            with nullcontext() if source.run.report else exclusive_lock(source.run.path):
                record, start = extend_run(source, corpus, device, self.clock.wall)
            run = create_run(self.path, record, source.run.vocabulary, start)
            return NewRun(run, RunPlan(record), corpus)
        first_tokens = source.first_tokens if source else ()
        corpus = load_given_corpus(self.corpus, self.config, self.progress, first_tokens)
        if source is None:
            plan = plan_run(self.config, corpus, device, self.clock.wall)
            return NewRun(create_run(self.path, plan.record, corpus.vocabulary), plan, corpus)
        plan = plan_run_from(source, self.config, corpus, device, self.clock.wall)
        start = start_from(source, plan.record, corpus)
        run = create_run(self.path, plan.record, corpus.vocabulary, start)
        return NewRun(run, plan, corpus)

    def _open_follower(self) -> tuple[Run, Corpus]:
        """Open the run that rank 0 has created."""
        run = Run(self.path)
        custom = parse_custom_cell(self.config.cell)
        run.load_custom_cell(self.config.cell if custom else "")
        self.config = resume_config(run.record.config, msgspec.structs.asdict(self.config))
        return run, reload_run_corpus(run, self.config, self.corpus, NoProgress())
