"""Time matching: hidden sizes with which all models take the same time per character.

Sizes are found by timing. The result is cached in time_matching.json, so a comparison is timed
once, and its runs follow from its arguments and this file.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from charlm.cells.loader import get_cell, loaded_cell_sha256
from charlm.comparison.budget_matching import (
    BUDGET_CELL,
    BUDGET_MEASURES,
    BUDGET_TOLERANCE,
    BudgetMatch,
    SizeSearch,
    budget_config,
    with_hidden_size,
)
from charlm.comparison.directory import TIMED_SIZES_FILE
from charlm.config import DEFAULT_CHARACTERS, Config, validate_config
from charlm.data.stored_ids import StoredIds
from charlm.execution.device import available_memory
from charlm.models.build import select_kernel
from charlm.models.cell_options import check_shared_options, settings_for
from charlm.models.char_lm import CharLM
from charlm.models.cost import check_memory, estimate_training_memory
from charlm.progress import ProgressCallback, ignore
from charlm.recipes import apply_recipe
from charlm.results.comparison_plan import TimedSize, TimedSizes, TimingConditions
from charlm.settings.model import CELL_OPTIONS
from charlm.settings.values import Setting
from charlm.storage import files
from charlm.storage.json_files import read_sealed_json, seal_json
from charlm.training.budget import iter_step_times


class SearchStage(NamedTuple):
    """A stage of the search: first roughly, then around what that found."""

    max_sizes: int  # hidden sizes that are timed at most
    pairs: int  # steps of each, beside as many of the LSTM
    tolerance: float  # relative error that ends the stage


COARSE_SEARCH = SearchStage(6, 9, 0.02)
FINE_SEARCH = SearchStage(4, 36, BUDGET_TOLERANCE)
TIMING_FIELDS = (  # settings that the step time depends on
    "cell",
    "num_layers",
    "embedding_dim",
    "dropout",
    "weight_dropout",
    "tie_weights",
    "initial_state",
    "block",
    "conv",
    *CELL_OPTIONS,
    "kernel",
    "batch_size",
    "seq_len",
    "recompute",
    "documents",
    "reset_prob",
)


def match_step_time(
    settings: Mapping[str, Setting],
    cells: Sequence[str],
    parameters: int,
    vocabulary_size: int,
    ids: StoredIds,
    device: str,
    directory: Path,
    count: ProgressCallback = ignore,
    *,
    writes: bool = True,
) -> BudgetMatch:
    """Choose hidden sizes with which every cell takes as long per character as an LSTM.

    Args:
        settings: Settings that all models share.
        cells: Names of the cells.
        parameters: Parameters of that LSTM.
        vocabulary_size: Tokens.
        ids: Training split, (length,).
        device: Device that is timed.
        directory: Directory of the comparison, where measured sizes are cached.
        count: Is called after each size that was timed.
        writes: Whether measured sizes may be written there.

    Raises:
        ConfigError: No cell has an option that is given.
    """
    check_shared_options(settings, cells)
    path = directory / TIMED_SIZES_FILE
    cached = list(read_sealed_json(path, TimedSizes).sizes) if path.exists() else []
    lstm = _with_recipe(budget_config(settings, vocabulary_size)(parameters), parameters)

    def measure(config: Config, pairs: int) -> float:
        count(1)
        return relative_step_time(config, lstm, vocabulary_size, ids, device, pairs)

    timed: dict[str, TimedSize] = {}
    for cell in cells:
        config = _with_recipe(validate_config(settings_for(cell, settings)), parameters)
        conditions = _timing_conditions(config, device, vocabulary_size, parameters)
        size = next((size for size in cached if size.conditions == conditions), None)
        if cell == BUDGET_CELL:
            size = TimedSize(conditions, lstm.hidden_size, 0.0)
        elif size is None:
            size = TimedSize(
                conditions, *find_matching_size(measure, config, lstm, vocabulary_size)
            )
            cached.append(size)
            if writes:
                files.write_atomic(path, seal_json(TimedSizes(tuple(cached))))
        timed[cell] = size
    return BudgetMatch(
        measure="time",
        parameters=parameters,
        amount=1,
        hidden_sizes={cell: size.hidden_size for cell, size in timed.items()},
        relative_errors={cell: size.relative_error for cell, size in timed.items()},
    )


def _with_recipe(config: Config, parameters: int) -> Config:
    """Return a config with the batch size of its cell's recipe."""
    return apply_recipe(config, parameters, DEFAULT_CHARACTERS)


def _timing_conditions(
    config: Config, device: str, vocabulary_size: int, parameters: int
) -> TimingConditions:
    """Return everything that determines a measured size."""
    return TimingConditions(
        settings={name: getattr(config, name) for name in TIMING_FIELDS},
        cell_sha256=loaded_cell_sha256(config.cell),
        device=device,
        vocabulary_size=vocabulary_size,
        parameters=parameters,
    )


def find_matching_size(
    measure: Callable[[Config, int], float], config: Config, lstm: Config, vocabulary_size: int
) -> tuple[int, float]:
    """Return the hidden size whose step time is nearest to that of the LSTM, and its error.

    The search starts at the size with as many FLOPs.

    Args:
        measure: (config, pairs) -> step time relative to the LSTM.
        config: Config of the cell; its hidden size does not matter.
        lstm: Config of the LSTM.
        vocabulary_size: Tokens.
    """
    flops = BUDGET_MEASURES["flops"](lstm, vocabulary_size, CharLM)
    hidden_size = SizeSearch(config, vocabulary_size, "flops", CharLM).nearest(flops)
    multiple = get_cell(config.cell).size_multiple(config.num_heads)
    for stage in (COARSE_SEARCH, FINE_SEARCH):

        def measure_size(size: int, pairs: int = stage.pairs) -> float:
            return measure(with_hidden_size(config, size), pairs)

        hidden_size, ratio = secant_search(
            measure_size, hidden_size, multiple, stage.max_sizes, stage.tolerance
        )
    return hidden_size, ratio - 1


def secant_search(
    measure: Callable[[int], float], first: int, multiple: int, max_sizes: int, tolerance: float
) -> tuple[int, float]:
    """Return the measured hidden size whose ratio is nearest to 1, and its ratio.

    The next size is where the line through the logarithms of the last two reaches 1. Step time
    grows like some power of the size, between its square root and its square.

    Args:
        measure: Hidden size -> step time relative to the LSTM.
        first: Size to begin with.
        multiple: Sizes are multiples of this.
        max_sizes: Sizes that are measured at most.
        tolerance: A ratio so near to 1 ends the search.
    """
    ratios = {first: measure(first)}
    size, power = first, 1.0
    while len(ratios) < max_sizes and abs(ratios[size] - 1) > tolerance:
        wanted = size * min(4.0, max(0.25, ratios[size] ** (-1 / power)))
        next_size = max(1, round(wanted / multiple)) * multiple
        if next_size in ratios:
            break
        ratios[next_size] = measure(next_size)
        slope = math.log(ratios[next_size] / ratios[size]) / math.log(next_size / size)
        size, power = next_size, min(2.0, max(0.5, slope))
    best = min(ratios, key=lambda size: abs(math.log(ratios[size])))
    return best, ratios[best]


def relative_step_time(
    config: Config, lstm: Config, vocabulary_size: int, ids: StoredIds, device: str, pairs: int
) -> float:
    """Return the time that a model takes per character, relative to the LSTM.

    Steps of both alternate, so that other load on the machine affects both. The result is the
    median of the ratios.

    Raises:
        InsufficientMemoryError: A model does not fit.
    """
    step_times = []
    for model_config in (config, msgspec.structs.replace(lstm, kernel="auto")):
        check_memory(
            available_memory(device),
            estimate_training_memory(model_config, vocabulary_size, device),
        )
        harmless = msgspec.structs.replace(model_config, learning_rate=1e-6)  # never diverges
        kernel, _ = select_kernel(harmless, device)
        step_times.append(
            iter_step_times(harmless, pairs + 1, vocabulary_size, kernel, device, ids)
        )
    with torch.random.fork_rng(devices=[]):
        streams = lstm.batch_size / config.batch_size
        ratios = [streams * own / other for own, other in zip(*step_times, strict=True)]
    return statistics.median(islice(ratios, 1, None))  # the first step includes setup
