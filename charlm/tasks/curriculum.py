"""Training on a task from scratch, at one distance after another, until one is not solved.

climb.json         the task and the settings; never changes
distance-50.jsonl  how training at this distance goes, a line a check
distance-50.json   what came of it; without this file the distance is begun again
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import torch

from charlm.cells.loader import loaded_cell_sha256
from charlm.cells.names import cell_label
from charlm.config import FORMAT_VERSION, TEXT_ONLY_FIELDS, Config, to_argv
from charlm.data.batches import Batch
from charlm.errors import ConfigError, DivergedError, InsufficientMemoryError
from charlm.execution.device import available_memory
from charlm.progress import ProgressCallback
from charlm.models.build import build_model, select_kernel
from charlm.models.cost import estimate_training_memory
from charlm.models.recurrent import RecurrentModel
from charlm.results.tasks import CurriculumRecord, LevelResult, TaskScore, TaskValidation
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes
from charlm.tasks.base import IGNORE_INDEX, TASKS, Task, batch_generator
from charlm.training.trainer import Trainer

VALIDATION_INTERVAL = 50  # updates between checks, unless --eval-every says otherwise
EVAL_BATCH_SIZE = 64  # sequences side by side in a check or test
VALIDATION_SEQUENCES, TEST_SEQUENCES = 256, 1024  # sequences: the same for every cell and seed
EXTRAPOLATION_FACTORS = (2, 4)  # times the distance of training
SOLVED_ACCURACY, SOLVED_RELATIVE_LOSS = 0.99, 0.01
SOLVED_CRITERION = (
    f"at least {SOLVED_ACCURACY:.0%} of the answers are right; or, in a task where chance loses nowhere "
    f"else, the loss is at most {SOLVED_RELATIVE_LOSS:.0%} of chance's (the oracle's is 0)"
)


def is_solved(task: Task, level: TaskScore, chance: TaskScore) -> bool:
    well = level.accuracy >= SOLVED_ACCURACY
    return well or (
        not task.has_auxiliary_targets and level.loss <= SOLVED_RELATIVE_LOSS * chance.loss
    )


@torch.inference_mode()
def evaluate_task(
    model: RecurrentModel, task: Task, distance: int, purpose: str, sequences: int
) -> TaskScore:
    """How good the model is at sequences of this distance, without dropout; finite, or an error."""
    loss = targets = right = answers = 0.0
    device = model.bias.device
    model.eval()
    for number in range(sequences // EVAL_BATCH_SIZE):
        drawn = task.sample_batch(
            distance, EVAL_BATCH_SIZE, batch_generator(task.name, distance, purpose, 0, number)
        )
        x, y, asked = (part.to(device) for part in drawn)
        predictions, _ = model(x, model.initial_state(EVAL_BATCH_SIZE))
        count = int((y != IGNORE_INDEX).sum())
        loss += model.loss_fn(predictions, y).item() * count
        targets += count
        hit = task.is_correct(predictions, y)
        hits, all_asked = (
            ((hit | ~asked).all(0), asked.any(0)) if task.score_whole_sequence else (hit, asked)
        )
        right += int((hits & all_asked).sum())
        answers += int(all_asked.sum())
    model.train()
    if not math.isfinite(loss):
        raise DivergedError(f"at distance {distance} the loss is {loss}")
    return TaskScore(loss / targets, right / answers)


def train_on_task(
    task: Task, learner: Trainer[Any], distance: int, tick: ProgressCallback
) -> Iterator[TaskValidation]:
    """To the end of the budget, or until two checks in a row are solved."""
    config, chance = learner.config, task.chance_score(distance)
    device = learner.model.bias.device
    every = config.eval_every or VALIDATION_INTERVAL
    in_a_row = 0
    while learner.step < learner.max_steps and in_a_row < 2:
        generator = batch_generator(task.name, distance, "train", config.seed, learner.step)
        x, y, _ = task.sample_batch(distance, config.batch_size, generator)
        learner.train_step(Batch(x.to(device), y.to(device), is_epoch_start=True))
        tick(1)
        if learner.step % every == 0:
            level = evaluate_task(learner.model, task, distance, "valid", VALIDATION_SEQUENCES)
            in_a_row = in_a_row + 1 if is_solved(task, level, chance) else 0
            yield TaskValidation(
                learner.step, round(learner.seconds, 3), level.loss, level.accuracy
            )


def check_length_fits_memory(
    configs: Sequence[Config], task: Task, distance: int, device: str, side_by_side: int = 1
) -> None:
    """A distance at which so many of these need more memory than there is ends here."""
    lengths = [
        msgspec.structs.replace(config, seq_len=task.sequence_length(distance))
        for config in configs
    ]
    need = sum(
        sorted(estimate_training_memory(config, task.symbols) for config in lengths)[-side_by_side:]
    )
    available = available_memory(device)
    if need > available:
        raise InsufficientMemoryError(
            f"--distance {distance} needs about {need / 1e9:,.1f} GB and {available / 1e9:,.1f} GB "
            "are there: climb less far, fewer side by side, or with a smaller --batch-size or model "
            "(--hidden-size, --params)"
        )


def train_level(
    path: Path, task: Task, config: Config, distance: int, device: str, tick: ProgressCallback
) -> LevelResult:
    """Trains a new model at one distance and tests it; each check is on record in `path`."""
    check_length_fits_memory([config], task, distance, device)
    config = msgspec.structs.replace(config, seq_len=task.sequence_length(distance))
    kernel, _ = select_kernel(config, device)
    model = build_model(task.model, config, task.symbols, kernel, device)
    learner = Trainer(model, config, config.max_steps)
    chance = task.chance_score(distance)
    test, why = None, ""
    farther: dict[str, float] = {}
    with closing(files.AppendOnlyLog(path / f"distance-{distance}.jsonl")) as log:
        log.truncate(0)
        try:
            for check in train_on_task(task, learner, distance, tick):
                log.append(msgspec.json.encode(check))
            test = evaluate_task(model, task, distance, "test", TEST_SEQUENCES)
        except DivergedError as error:
            why = str(error)
        log.sync()
    for times in EXTRAPOLATION_FACTORS if test else ():
        try:
            farther[str(times)] = evaluate_task(
                model, task, times * distance, "test", TEST_SEQUENCES
            ).accuracy
        except DivergedError as error:
            farther[str(times)], why = 0.0, str(error)
    return LevelResult(
        length=distance,
        solved=test is not None and is_solved(task, test, chance),
        steps=learner.step,
        seconds=round(learner.seconds, 3),
        kernel=kernel,
        chance=chance,
        test=test,
        extrapolation=farther,
        diverged=why,
    )


def initialize_curriculum_dir(path: Path, task: str, config: Config) -> None:
    """A climb in this directory, which the caller has locked; one that is there is the same."""
    record = CurriculumRecord(
        format=FORMAT_VERSION, task=task, config=config, cell_sha256=loaded_cell_sha256(config.cell)
    )
    if (path / "climb.json").exists():
        there = decode_json(read_bytes(path / "climb.json"), CurriculumRecord, path / "climb.json")
        if fingerprint_fields(there) != fingerprint_fields(record):
            raise ConfigError(f"{path} is a climb with other settings: name another place")
    else:
        files.write_atomic(path / "climb.json", encode_json(record))


def fingerprint_fields(record: CurriculumRecord) -> tuple[Any, ...]:
    """All that decides what comes of a climb."""
    settings = to_argv(record.config, with_changeable=False, exclude=(*TEXT_ONLY_FIELDS, "cell"))
    cell = cell_label(record.config.cell), record.cell_sha256
    return record.format, record.task, settings, cell


def load_level_results(path: Path, distances: Sequence[int]) -> list[LevelResult]:
    """What is done: up to the first distance that was not solved, or not tried."""
    found: list[LevelResult] = []
    for distance in distances:
        place = path / f"distance-{distance}.json"
        if not place.exists() or (found and not found[-1].solved):
            break
        found.append(decode_json(read_bytes(place), LevelResult, place))
    return found


def is_finished(found: Sequence[LevelResult], distances: Sequence[int]) -> bool:
    """Whether nothing is left to be tried."""
    return len(found) == len(distances) or bool(found and not found[-1].solved)


def run_curriculum(
    path: Path,
    task: str,
    config: Config,
    distances: Sequence[int],
    device: str,
    tick: ProgressCallback,
) -> Iterator[LevelResult]:
    """Goes on where the directory was left; yields what comes of each distance that is tried."""
    found = load_level_results(path, distances)
    while not is_finished(found, distances):
        outcome = train_level(path, TASKS[task], config, distances[len(found)], device, tick)
        files.write_atomic(path / f"distance-{outcome.length}.json", encode_json(outcome))
        found.append(outcome)
        yield outcome
