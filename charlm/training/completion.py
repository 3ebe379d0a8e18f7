"""Both ends of a process that trains: the restored trainer, and score and report of the run."""

import time

import msgspec

from charlm.config import FORMAT_VERSION, Config
from charlm.data.corpus import Corpus
from charlm.evaluation.scoring import SUBSAMPLED_PROTOCOL, score_split
from charlm.models.build import build_char_lm, load_weights
from charlm.models.char_lm import CharLM
from charlm.progress import NoProgress, Progress
from charlm.results.run import RunReport
from charlm.runs.metrics import check_metrics_before
from charlm.runs.run import Run
from charlm.training.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.training.planning import run_kernel
from charlm.training.trainer import Trainer


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
    checkpoint = run.load_checkpoint("last") if run.checkpoints else None
    if checkpoint:
        check_metrics_before(run.path, checkpoint.progress)
    kernel, _ = run_kernel(run, config, device)
    model = build_char_lm(config, run.vocabulary.size, kernel, device)
    trainer = Trainer(model, config, run.record.max_steps, process_group)
    if checkpoint is None:
        return trainer, 0
    trainer.load_state(checkpoint.tensors, checkpoint.progress)
    if process_group.is_main:
        run.set_later_checkpoints_aside(trainer.step)
    return trainer, checkpoint.progress.metrics_bytes


def score_and_report(
    run: Run,
    corpus: Corpus,
    trainer: Trainer[CharLM],
    device: str,
    progress: Progress = NoProgress(),
) -> RunReport:
    """Score the best weights exactly on the final split, and write the report of the run.

    Args:
        run: Run whose training has ended.
        corpus: Its text.
        trainer: Its trainer after the last step.
        device: Resolved device.
        progress: Receiver of progress.
    """
    record, config, kernel = run.record, run.record.config, trainer.model.kernel
    last = run.load_checkpoint("last").progress
    best = run.load_checkpoint("best")
    score, score_start = None, time.process_time()
    if config.final_eval != "none":
        model = build_char_lm(config, run.vocabulary.size, kernel, device)
        load_weights(model, best.tensors)
        with progress.counter("scoring exactly") as count:
            score = score_split(model, corpus, config.final_eval, count)
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
        chars_per_second=characters / last.seconds if last.seconds else 0.0,
        best_step=best.progress.step,
        best_valid_bits=best.progress.valid_bits,
        validation_protocol=SUBSAMPLED_PROTOCOL,
        weights_sha256=best.sha256,
        scored_split=config.final_eval,
        score=score,
    )
    run.write_report(report)
    if trainer.config.keep != "all":
        run.keep_best_weights_alone(keeps_state=trainer.config.keep == "state")
    return report
