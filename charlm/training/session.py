"""Training of a whole run: create or resume it, train, score, and write its report."""

import logging
import os
import platform
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch

from charlm import __version__
from charlm.cells import loader
from charlm.cells.names import cell_label, parse_custom_cell
from charlm.config import (
    DEFAULT_CHARACTERS,
    FORMAT_VERSION,
    Config,
    resume_config,
    validate_config,
)
from charlm.data.corpus import Corpus, Sources, load_corpus, reload_corpus
from charlm.errors import ConfigError, DataError, DivergedError, Interrupted
from charlm.evaluation.scoring import SUBSAMPLED_PROTOCOL, score_text
from charlm.execution.device import select_device
from charlm.execution.jobs import is_orphaned
from charlm.execution.signals import defer_signals
from charlm.execution.torchrun import is_main_process, world_size
from charlm.models.build import build_char_lm, load_weights, select_kernel
from charlm.models.char_lm import CharLM
from charlm.models.cost import count_parameters_and_state, estimate_training_memory
from charlm.progress import NoProgress, Progress
from charlm.recipes import apply_recipe, get_recipe
from charlm.results.run import (
    DeviceReason,
    Environment,
    KernelReason,
    RunRecord,
    RunReport,
    RunSummary,
)
from charlm.results.tuning import Setting
from charlm.runs.run import Run, check_not_existing, is_run
from charlm.storage.lock import exclusive_lock
from charlm.training.budget import (
    MAX_TIMED_STEPS,
    check_fits_memory,
    measure_step_time,
    resolve_max_steps,
)
from charlm.training.distributed import (
    SINGLE_PROCESS,
    ProcessGroup,
    init_process_group,
    per_process_config,
)
from charlm.training.loop import run_training_loop
from charlm.training.trainer import Trainer

logger = logging.getLogger("charlm")

MINUTES_TIMING_SECONDS = 3.0  # for which steps are measured if the budget is in minutes
StartHook = Callable[[RunSummary], object]


def train(
    corpus: Corpus | Sources,
    config: Config | None = None,
    run_dir: str | Path | None = None,
    *,
    resume: bool = False,
    progress: Progress = NoProgress(),
    on_start: StartHook | None = None,
) -> Run:
    """Train a character language model and score it.

    Processes that torchrun started train one model together; all must call this function.

    The file of a custom cell is executed, but the cell is not tested: see `check_cell`.

    Args:
        corpus: Text, or its sources as `load_corpus` takes them.
        config: Settings; default: `Config()`, or those of the run that is continued. A `Corpus`
            brings its own settings of the text.
        run_dir: New directory of the run; default: runs/CELL-TIME.
        resume: Continue the run in `run_dir`, with the same settings. A finished run is returned
            as it is. Where no run is yet, one is started.
        progress: Receiver of progress.
        on_start: Is called with a summary before the first step.

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
    checked_config = _check_config(config, corpus)
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
        )
    return _Session(path, corpus, checked_config, None, progress, on_start).run()


def resume_training(
    run_dir: str | Path,
    corpus: Corpus | Sources = (),
    *,
    overrides: Mapping[str, Setting] | None = None,
    trust_cell: str = "",
    progress: Progress = NoProgress(),
    on_start: StartHook | None = None,
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
        _check_corpus(run, config, corpus, progress)
        if is_main_process():
            logger.info("%s is finished: there is nothing left to train", run_dir)
        return run
    return _Session(run.path, corpus, config, run, progress, on_start).run()


def plan_training(
    corpus: Corpus | Sources,
    config: Config | None = None,
    run_dir: str | Path | None = None,
    *,
    progress: Progress = NoProgress(),
) -> RunSummary:
    """Return the summary of a new run, with measured step time and memory; train nothing.

    Args:
        corpus: Text, or its sources as `load_corpus` takes them.
        config: Settings; default: `Config()`.
        run_dir: Directory that the run would have.
        progress: Receiver of progress.
    """
    config = _check_config(config, corpus)
    path = Path(run_dir) if run_dir is not None else default_run_dir(config)
    check_not_existing(path)
    _import_custom_cell(config.cell)
    device, device_reason = select_device(config.device, config.threads)
    text = corpus if isinstance(corpus, Corpus) else load_corpus(corpus, config, progress)
    record = make_run_record(config, text, device)
    return summarize_run(path, record, record.config, text, device, device_reason)


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
        _import_custom_cell(self.config.cell)
        device, device_reason = select_device(self.config.device, self.config.threads)
        batch_size = self.config.batch_size or get_recipe(cell_label(self.config.cell)).batch_size
        group = init_process_group(device, batch_size)
        if group.is_main:
            run, corpus = self._open_main(device, device_reason)
            group.barrier()  # from here on the others can open the run
        else:
            group.barrier()
            run, corpus = self._open_follower()

        trainer, metrics_bytes = restore_trainer(run, device, self.config, group)
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
            corpus = self._load_corpus()
            run = Run.create(
                self.path, make_run_record(self.config, corpus, device), corpus.vocabulary
            )
            self.config = run.record.config  # with the recipe
        else:
            run = self.resumed
            corpus = _reload_corpus(run, self.config, self.corpus, self.progress)
            check_fits_memory(self.config, run.vocabulary.size, device)
            _warn_of_changes(run, self.config, device)
        if self.on_start:
            self.on_start(
                summarize_run(
                    self.path,
                    run.record,
                    self.config,
                    corpus,
                    device,
                    device_reason,
                    steps_done=max(run.checkpoints, default=0),
                )
            )
        return run, corpus

    def _open_follower(self) -> tuple[Run, Corpus]:
        """Open the run that rank 0 has created."""
        run = Run(self.path)
        custom = parse_custom_cell(self.config.cell)
        run.load_custom_cell(self.config.cell if custom else "")
        self.config = resume_config(run.record.config, msgspec.structs.asdict(self.config))
        return run, _reload_corpus(run, self.config, self.corpus, NoProgress())

    def _load_corpus(self) -> Corpus:
        if isinstance(self.corpus, Corpus):
            return self.corpus
        return load_corpus(self.corpus, self.config, self.progress)


def _import_custom_cell(cell: str) -> None:
    """Import the file of a custom cell, which the caller of `train` has named."""
    if parse_custom_cell(cell) and cell not in loader.CUSTOM_CELLS:
        loader.load_custom_cell(cell)


def _check_config(config: Config | None, corpus: Corpus | Sources) -> Config:
    """Return a checked config: a program may have built it with any values.

    Raises:
        ConfigError: A value has the wrong type or range, or is not that of the corpus.
    """
    checked = validate_config(msgspec.structs.asdict(config or Config()))
    return _with_text_settings(checked, corpus) if isinstance(corpus, Corpus) else checked


def _with_text_settings(config: Config, corpus: Corpus) -> Config:
    """Return the config with the settings of the text that the corpus was loaded with.

    Raises:
        ConfigError: The config has other settings of the text.
    """
    default = Config()
    for name, value in corpus.settings.items():
        requested = getattr(config, name)
        if requested not in (value, getattr(default, name)):
            raise ConfigError(
                f"cannot train with {name}={requested!r}: the corpus was loaded with {value!r}. "
                "Try to load it with the same config"
            )
    return validate_config({**msgspec.structs.asdict(config), **corpus.settings})


def _check_corpus(run: Run, config: Config, corpus: Corpus | Sources, progress: Progress) -> None:
    """Check that a text that was named is that of the run.

    Raises:
        DataError: It is another one.
    """
    if isinstance(corpus, Corpus) or corpus:
        _reload_corpus(run, config, corpus, progress)


def _reload_corpus(
    run: Run, config: Config, corpus: Corpus | Sources, progress: Progress
) -> Corpus:
    if not isinstance(corpus, Corpus):
        return reload_corpus(config, run.record.text, corpus, progress)
    if corpus.record.digest != run.record.text.digest:
        raise DataError(
            f"cannot resume {run.path} with this corpus: its SHA-256 is "
            f"{corpus.record.digest.sha256[:12]}…, that of the run "
            f"{run.record.text.digest.sha256[:12]}…. Try the text that the run read"
        )
    return corpus


def _warn_of_changes(run: Run, config: Config, device: str) -> None:
    """Warn if the resumed run computes in another way, so that the last digits may differ."""
    recorded = run.record.environment
    kernel, _ = run_kernel(run, config, device)
    before = (recorded.device, recorded.threads, recorded.processes, run.record.kernel)
    if (device, config.threads, world_size(), kernel) != before:
        logger.warning(
            "note: the run started on %s with %s thread(s), %s process(es) and the kernel %s: "
            "with others the last digits may differ",
            *before,
        )


def make_run_record(config: Config, corpus: Corpus, device: str) -> RunRecord:
    """Resolve the budget and `auto` kernel of a new run, and describe it.

    Raises:
        InsufficientMemoryError: The model does not fit.
    """
    vocabulary_size, ids = corpus.vocabulary.size, corpus.split("train")
    parameters, state_size = count_parameters_and_state(config, vocabulary_size)
    requested = config
    config = apply_recipe(requested, parameters, DEFAULT_CHARACTERS)  # for its batch size
    check_fits_memory(config, vocabulary_size, device)
    kernel, kernel_reason = select_kernel(config, device)
    max_steps = resolve_max_steps(config, ids)
    if config.minutes:
        seconds_per_step = measure_step_time(
            per_process_config(config),
            MAX_TIMED_STEPS,
            vocabulary_size,
            kernel,
            device,
            ids,
            budget=MINUTES_TIMING_SECONDS,
        )
        max_steps = max(1, round(config.minutes * 60 / seconds_per_step))
    characters = max_steps * config.batch_size * config.seq_len
    config = apply_recipe(requested, parameters, characters)
    return RunRecord(
        format=FORMAT_VERSION,
        config=config,
        text=corpus.record,
        max_steps=max_steps,
        kernel=kernel,
        kernel_reason=kernel_reason,
        cell_sha256=loader.loaded_cell_sha256(config.cell),
        parameters=parameters,
        state_size=state_size,
        environment=Environment(
            charlm=__version__,
            torch=str(torch.__version__),
            python=platform.python_version(),
            machine=platform.machine(),
            device=device,
            threads=config.threads,
            processes=world_size(),
        ),
    )


def summarize_run(
    path: Path,
    record: RunRecord,
    config: Config,
    corpus: Corpus,
    device: str,
    device_reason: DeviceReason,
    steps_done: int = 0,
) -> RunSummary:
    """Return the summary of a run before its first step, with a measured step time."""
    vocabulary = corpus.vocabulary
    kernel, kernel_reason = record.kernel, record.kernel_reason
    if config.kernel != record.config.kernel:
        kernel, kernel_reason = select_kernel(config, device)
    local_config = per_process_config(config)
    return RunSummary(
        path=os.fspath(path),
        record=record,
        config=config,
        vocabulary_size=vocabulary.size,
        vocabulary_kind=vocabulary.kind,
        seconds_per_step=measure_step_time(
            local_config, record.max_steps, vocabulary.size, kernel, device, corpus.split("train")
        ),
        memory_bytes=estimate_training_memory(local_config, vocabulary.size),
        kernel=kernel,
        kernel_reason=kernel_reason,
        device=device,
        device_reason=device_reason,
        steps_done=steps_done,
    )


def run_kernel(run: Run, config: Config, device: str) -> tuple[str, KernelReason]:
    """Return the kernel of a run and why it was chosen: recorded, or requested on resuming."""
    if config.kernel == run.record.config.kernel:
        return run.record.kernel, run.record.kernel_reason
    return select_kernel(config, device)


def restore_trainer(
    run: Run, device: str, config: Config, process_group: ProcessGroup = SINGLE_PROCESS
) -> tuple[Trainer[CharLM], int]:
    """Return a trainer at the newest intact checkpoint, or a new one.

    Args:
        run: Run.
        device: Resolved device.
        config: Settings as they are now.
        process_group: Processes that train together.

    Returns:
        The trainer, and the length of `metrics.jsonl` at its checkpoint.

    Raises:
        DataError: Every checkpoint is damaged, or lines of the metrics are missing.
    """
    kernel, _ = run_kernel(run, config, device)
    model = build_char_lm(config, run.vocabulary.size, kernel, device)
    trainer = Trainer(model, config, run.record.max_steps, process_group)
    if not run.checkpoints:
        return trainer, 0
    checkpoint = run.load_checkpoint("last")
    metrics = run.path / "metrics.jsonl"
    if not metrics.exists() or metrics.stat().st_size < checkpoint.progress.metrics_bytes:
        raise DataError(
            f"cannot resume {run.path}: {metrics} has lost lines. Restore that file, or train a "
            "new run"
        )
    trainer.load_state(checkpoint.tensors, checkpoint.progress)
    if process_group.is_main:
        run.remove_checkpoints_after(trainer.step)
    return trainer, checkpoint.progress.metrics_bytes


def score_and_report(
    run: Run,
    corpus: Corpus,
    trainer: Trainer[CharLM],
    device: str,
    progress: Progress = NoProgress(),
) -> RunReport:
    """Score the best weights exactly on the final split, and write the report of the run."""
    record, config, kernel = run.record, run.record.config, trainer.model.kernel
    last = run.load_checkpoint("last").progress
    best = run.load_checkpoint("best")
    score, score_start = None, time.process_time()
    if config.final_eval != "none":
        model = build_char_lm(config, run.vocabulary.size, kernel, device)
        load_weights(model, best.tensors)
        span = corpus.record.splits[config.final_eval]
        with progress.counter("scoring exactly") as count:
            score = score_text(model, corpus.vocabulary, corpus.encoding, span, count)
    characters = record.max_steps * config.batch_size * config.seq_len
    report = RunReport(
        format=FORMAT_VERSION,
        cell=config.cell,
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        parameters=record.parameters,
        state_size=record.state_size,
        seed=config.seed,
        kernel=kernel,
        steps=record.max_steps,
        characters_read=characters,
        seconds=last.seconds,
        cpu=msgspec.structs.replace(trainer.cpu_so_far(), score=time.process_time() - score_start),
        chars_per_second=characters / last.seconds,
        best_step=best.progress.step,
        best_valid_bits=best.progress.valid_bits,
        validation_protocol=SUBSAMPLED_PROTOCOL,
        weights_sha256=best.sha256,
        scored_split=config.final_eval,
        score=score,
    )
    run.write_report(report)
    return report
