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

from charlm import durable
from charlm import tasks as tasks
from charlm.checkpoint import decoded, read, readable
from charlm.config import FORMAT, OF_TEXT, Config, arguments, label
from charlm.corpus import Batch
from charlm.encoder import Tick
from charlm.errors import BadConfig, NonFinite, OutOfMemory
from charlm.learner import Learner
from charlm.machine import memory_available
from charlm.model import Recurrence, made, memory, resolve_kernel
from charlm.task import NONE, TASKS, Level, Task, source
from charlm.zoo import sha256

EVERY = 50  # updates between checks, unless --valid-every says otherwise
STREAMS = 64  # sequences side by side in a check or test
CHECKED, TESTED = 256, 1024  # sequences: the same for every cell and seed
FARTHER = (2, 4)  # times the distance of training
ACCURACY, LOSS = 0.99, 0.01
SOLVED = (
    f"at least {ACCURACY:.0%} of the answers are right; or, in a task where chance loses nowhere "
    f"else, the loss is at most {LOSS:.0%} of chance's (the oracle's is 0)"
)


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """climb.json: what decides a climb, and who made it."""

    format: int
    task: str
    config: Config
    cell_sha256: str  # of the file, where the cell is the person's own


class Check(msgspec.Struct, frozen=True):
    """A look at validation sequences."""

    update: int
    seconds: float  # of updates
    loss: float
    accuracy: float


class Outcome(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What came of training at one distance."""

    distance: int
    solved: bool
    updates: int  # done
    seconds: float  # of updates
    kernel: str
    chance: Level
    test: Level | None  # of the last weights; None if it diverged before or here
    farther: dict[str, float]  # how often the distance -> accuracy there; 0 if it diverges there
    diverged: str = ""  # why


def solved(task: Task, level: Level, chance: Level) -> bool:
    well = level.accuracy >= ACCURACY
    return well or (not task.practises and level.loss <= LOSS * chance.loss)


@torch.inference_mode()
def measured(model: Recurrence, task: Task, distance: int, purpose: str, sequences: int) -> Level:
    """How good the model is at sequences of this distance, without dropout; finite, or an error."""
    loss = targets = right = answers = 0.0
    device = model.bias.device
    model.eval()
    for number in range(sequences // STREAMS):
        drawn = task.batch(distance, STREAMS, source(task.name, distance, purpose, 0, number))
        x, y, asked = (part.to(device) for part in drawn)
        predictions, _ = model(x, model.start(STREAMS))
        count = int((y != NONE).sum())
        loss += model.cost(predictions, y).item() * count
        targets += count
        hit = task.right(predictions, y)
        hits, all_asked = ((hit | ~asked).all(0), asked.any(0)) if task.whole else (hit, asked)
        right += int((hits & all_asked).sum())
        answers += int(all_asked.sum())
    model.train()
    if not math.isfinite(loss):
        raise NonFinite(f"at distance {distance} the loss is {loss}")
    return Level(loss / targets, right / answers)


def training(task: Task, learner: Learner[Any], distance: int, tick: Tick) -> Iterator[Check]:
    """To the end of the budget, or until two checks in a row are solved."""
    config, chance = learner.config, task.chance(distance)
    device = learner.model.bias.device
    every = config.valid_every or EVERY
    in_a_row = 0
    while learner.update < learner.updates and in_a_row < 2:
        generator = source(task.name, distance, "train", config.seed, learner.update)
        x, y, _ = task.batch(distance, config.batch, generator)
        learner.learn(Batch(x.to(device), y.to(device), fresh=True))
        tick(1)
        if learner.update % every == 0:
            level = measured(learner.model, task, distance, "valid", CHECKED)
            in_a_row = in_a_row + 1 if solved(task, level, chance) else 0
            yield Check(learner.update, round(learner.seconds, 3), level.loss, level.accuracy)


def refuse_too_far(
    configs: Sequence[Config], task: Task, distance: int, device: str, side_by_side: int = 1
) -> None:
    """A distance at which so many of these need more memory than there is ends here."""
    lengths = [msgspec.structs.replace(config, time=task.length(distance)) for config in configs]
    need = sum(sorted(memory(config, task.symbols) for config in lengths)[-side_by_side:])
    available = memory_available(device)
    if need > available:
        raise OutOfMemory(
            f"--distance {distance} needs about {need / 1e9:,.1f} GB and {available / 1e9:,.1f} GB "
            "are there: climb less far, fewer side by side, or with a smaller --batch or model "
            "(--hidden, --parameters)"
        )


def attempt(
    path: Path, task: Task, config: Config, distance: int, device: str, tick: Tick
) -> Outcome:
    """Trains a new model at one distance and tests it; each check is on record in `path`."""
    refuse_too_far([config], task, distance, device)
    config = msgspec.structs.replace(config, time=task.length(distance))
    kernel, _ = resolve_kernel(config, device)
    model = made(task.model, config, task.symbols, kernel, device)
    learner = Learner(model, config, config.updates)
    chance = task.chance(distance)
    test, why = None, ""
    farther: dict[str, float] = {}
    with closing(durable.Log(path / f"distance-{distance}.jsonl")) as log:
        log.cut(0)
        try:
            for check in training(task, learner, distance, tick):
                log.append(msgspec.json.encode(check))
            test = measured(model, task, distance, "test", TESTED)
        except NonFinite as error:
            why = str(error)
        log.sync()
    for times in FARTHER if test else ():
        try:
            farther[str(times)] = measured(model, task, times * distance, "test", TESTED).accuracy
        except NonFinite as error:
            farther[str(times)], why = 0.0, str(error)
    return Outcome(
        distance=distance,
        solved=test is not None and solved(task, test, chance),
        updates=learner.update,
        seconds=round(learner.seconds, 3),
        kernel=kernel,
        chance=chance,
        test=test,
        farther=farther,
        diverged=why,
    )


def begin(path: Path, task: str, config: Config) -> None:
    """A climb in this directory, which the caller has locked; one that is there is the same."""
    record = Record(format=FORMAT, task=task, config=config, cell_sha256=sha256(config.cell))
    if (path / "climb.json").exists():
        there = decoded(read(path / "climb.json"), Record, path / "climb.json")
        if decides(there) != decides(record):
            raise BadConfig(f"{path} is a climb with other settings: name another place")
    else:
        durable.write_file(path / "climb.json", readable(record))


def decides(record: Record) -> tuple[Any, ...]:
    """All that decides what comes of a climb."""
    settings = arguments(record.config, free=False, without=(*OF_TEXT, "cell"))
    cell = label(record.config.cell), record.cell_sha256
    return record.format, record.task, settings, cell


def outcomes(path: Path, distances: Sequence[int]) -> list[Outcome]:
    """What is done: up to the first distance that was not solved, or not tried."""
    found: list[Outcome] = []
    for distance in distances:
        place = path / f"distance-{distance}.json"
        if not place.exists() or (found and not found[-1].solved):
            break
        found.append(decoded(read(place), Outcome, place))
    return found


def ended(found: Sequence[Outcome], distances: Sequence[int]) -> bool:
    """Whether nothing is left to be tried."""
    return len(found) == len(distances) or bool(found and not found[-1].solved)


def climb(
    path: Path, task: str, config: Config, distances: Sequence[int], device: str, tick: Tick
) -> Iterator[Outcome]:
    """Goes on where the directory was left; yields what comes of each distance that is tried."""
    found = outcomes(path, distances)
    while not ended(found, distances):
        outcome = attempt(path, TASKS[task], config, distances[len(found)], device, tick)
        durable.write_file(path / f"distance-{outcome.distance}.json", readable(outcome))
        found.append(outcome)
        yield outcome
