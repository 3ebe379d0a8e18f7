"""TODO docstring."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from charlm import __version__
from charlm.cells.loader import loaded_cell_sha256
from charlm.config import DEFAULT_MAX_STEPS, FORMAT_VERSION, Config
from charlm.data.corpus import Corpus
from charlm.errors import DataError
from charlm.evaluation.scoring import SUBSAMPLED_PROTOCOL, score_text
from charlm.progress import ProgressCallback
from charlm.execution.torchrun import world_size
from charlm.models.build import build_char_lm, load_weights, select_kernel
from charlm.models.char_lm import CharLM
from charlm.models.cost import count_parameters_and_state
from charlm.results.run import RunRecord
from charlm.runs.run import Run
from charlm.training.budget import check_fits_memory, measure_step_time, resolve_max_steps
from charlm.training.distributed import SINGLE_PROCESS, ProcessGroup, per_process_config
from charlm.training.trainer import Trainer


def create_run(path: Path, config: Config, corpus: Corpus, device: str) -> Run:
    """A run directory for these settings: here `auto` and the budget become concrete, once."""
    check_fits_memory(config, corpus, device)
    symbols, ids = corpus.vocabulary.size, corpus.split("train")
    kernel, why = select_kernel(config, device)
    updates = resolve_max_steps(config, ids)
    if config.minutes:
        each = measure_step_time(
            per_process_config(config), DEFAULT_MAX_STEPS, symbols, kernel, device, ids, budget=3.0
        )
        updates = max(1, round(config.minutes * 60 / each))
    parameters, state_size = count_parameters_and_state(config, symbols)
    made_by = {
        "charlm": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": device,
        "threads": str(config.threads),
        "processes": str(world_size()),
    }
    record = RunRecord(
        format=FORMAT_VERSION,
        config=config,
        text=corpus.record,
        max_steps=updates,
        kernel=kernel,
        kernel_reason=why,
        cell_sha256=loaded_cell_sha256(config.cell),
        parameters=parameters,
        state_size=state_size,
        environment=made_by,
    )
    return Run.create(path, record, corpus.vocabulary)


def run_kernel(run: Run, config: Config, device: str) -> tuple[str, str]:
    """The run's kernel and why it is that: as recorded, or as told when it is resumed."""
    if config.kernel == run.record.config.kernel:
        return run.record.kernel, run.record.kernel_reason
    return select_kernel(config, device)


def restore_trainer(
    run: Run,
    device: str,
    config: Config,
    say: Callable[[str], None],
    ranks: ProcessGroup = SINGLE_PROCESS,
) -> tuple[Trainer[CharLM], int]:
    """The learner where the run's newest sound checkpoint left it, or new; and how many bytes of
    the metrics belong to it."""
    kernel, _ = run_kernel(run, config, device)
    model = build_char_lm(config, run.vocabulary.size, kernel, device)
    learner = Trainer(model, config, run.record.max_steps, ranks)
    if not run.checkpoints:
        return learner, 0
    checkpoint = run.load_checkpoint("last", say)
    there = run.path / "metrics.jsonl"
    if not there.exists() or there.stat().st_size < checkpoint.progress.metrics_bytes:
        raise DataError(
            f"{there} has lost lines that the run had: put it back, or begin another run"
        )
    learner.load_state(checkpoint.tensors, checkpoint.progress)
    if ranks.is_main:
        run.remove_checkpoints_after(learner.step)
    return learner, checkpoint.progress.metrics_bytes


def score_and_report(
    run: Run,
    corpus: Corpus,
    kernel: str,
    device: str,
    say: Callable[[str], None],
    tick: ProgressCallback = lambda _: None,
) -> dict[str, Any]:
    """Scores the best weights exactly on the final split; the report of the run, now finished."""
    record, config = run.record, run.record.config
    last = run.load_checkpoint("last", say).progress
    best = run.load_checkpoint("best", say)
    model = build_char_lm(config, run.vocabulary.size, kernel, device)
    load_weights(model, best.tensors)
    characters = record.max_steps * config.batch_size * config.seq_len
    report = {
        "format": FORMAT_VERSION,
        **record.summary(),
        "kernel": kernel,
        "max_steps": record.max_steps,
        "characters_read": characters,
        "seconds": last.seconds,
        "chars_per_second": characters / last.seconds,
        "best_step": best.progress.step,
        "best_valid_bits": best.progress.valid_bits,
        "valid_protocol": SUBSAMPLED_PROTOCOL,
        "weights_sha256": best.sha256,
        "scored_split": config.final_eval,
        "score": None,
    }
    if config.final_eval != "none":
        span = corpus.record.splits[config.final_eval]
        report["score"] = score_text(model, corpus.vocabulary, corpus.encoding, span, tick)
    run.write_report(report)
    return report
