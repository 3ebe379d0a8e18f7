"""Equal seconds: hidden sizes found by timing, once; from then on what is kept decides.

seconds.json of a comparison holds what was found. The same cells on the same kind of device find it
there again, so that the comparison's runs follow from its arguments and this file.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch

from charlm.cells.loader import get_cell, loaded_cell_sha256
from charlm.comparison.budget_matching import (
    BUDGET_MEASURES,
    REFERENCE_CELL,
    TOLERANCE,
    BudgetMatch,
    SizeSearch,
    reference_config,
    with_hidden_size,
)
from charlm.config import Config, validate_config
from charlm.data.vocabulary import TokenIds
from charlm.execution.device import available_memory
from charlm.progress import ProgressCallback
from charlm.models.build import select_kernel
from charlm.models.char_lm import CharLM
from charlm.models.cost import check_memory, estimate_training_memory
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes
from charlm.training.budget import iter_step_times

# Sizes that are tried at most; updates of each, beside as many of the LSTM's; and a share so near
# to 1 ends the search: first roughly, then around what was found.
COARSE_SEARCH, FINE_SEARCH = (6, 9, 0.02), (4, 36, TOLERANCE)
# The settings on which the seconds of an update depend.
TIMING_FIELDS = (
    *(
        "cell",
        "num_layers",
        "embedding_dim",
        "dropout",
        "weight_dropout",
        "tie_weights",
        "initial_state",
        "block",
    ),
    *("kernel", "batch_size", "seq_len"),
)


class TimedSize(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What timing came to: for all that decides it, the hidden size, and by what share of the
    LSTM's its seconds then differ."""

    of: dict[str, Any]
    hidden: int
    residual: float


def match_step_time(
    settings: Mapping[str, Any],
    cells: Sequence[str],
    parameters: int,
    symbols: int,
    ids: TokenIds,
    device: str,
    place: Path,
    tick: ProgressCallback = lambda _: None,
) -> BudgetMatch:
    """Cells whose updates take as long as those of an LSTM of so many parameters."""
    path = place / "seconds.json"
    kept = decode_json(read_bytes(path), list[TimedSize], path) if path.exists() else []
    like = reference_config(settings, symbols)(parameters)
    chosen = {}
    for cell in cells:
        config = validate_config({**settings, "cell": cell})
        decides = {name: getattr(config, name) for name in TIMING_FIELDS}
        decides |= {"file": loaded_cell_sha256(cell), "device": device, "symbols": symbols}
        of = {**decides, "parameters": parameters}
        found = next((one for one in kept if one.of == of), None)
        if cell == REFERENCE_CELL:
            found = TimedSize(of, like.hidden_size, 0.0)
        elif found is None:

            def share(config: Config, pairs: int) -> float:
                tick(1)
                return relative_step_time(config, like, symbols, ids, device, pairs)

            found = TimedSize(of, *find_matching_size(share, config, like, symbols))
            kept.append(found)
            files.write_atomic(path, encode_json(kept))
        chosen[cell] = found
    hidden = {cell: one.hidden for cell, one in chosen.items()}
    residual = {cell: one.residual for cell, one in chosen.items()}
    return BudgetMatch("seconds", parameters, 1, hidden, residual)


def find_matching_size(
    share: Callable[[Config, int], float], config: Config, like: Config, symbols: int
) -> tuple[int, float]:
    """The hidden size whose share of the seconds of `like` is nearest to 1; how far it is off."""
    flops = BUDGET_MEASURES["flops"](like, symbols, CharLM)
    hidden = SizeSearch(config, symbols, "flops", CharLM).nearest(flops)
    for looks, pairs, near in (COARSE_SEARCH, FINE_SEARCH):

        def at(units: int, pairs: int = pairs) -> float:
            return share(with_hidden_size(config, units), pairs)

        hidden, found = secant_search(
            at, hidden, get_cell(config.cell).hidden_size_multiple, looks, near
        )
    return hidden, found - 1


def secant_search(
    share: Callable[[int], float], first: int, multiple: int, looks: int, near: float
) -> tuple[int, float]:
    """Of so many hidden sizes, that whose share is nearest to 1, and its share.

    The next is where the line through the logarithms of the last two is 1: seconds grow like some
    power of the size, between its root and its square.
    """
    seen = {first: share(first)}
    hidden, power = first, 1.0
    while len(seen) < looks and abs(seen[hidden] - 1) > near:
        wanted = hidden * min(4.0, max(0.25, seen[hidden] ** (-1 / power)))
        following = max(1, round(wanted / multiple)) * multiple
        if following in seen:
            break
        seen[following] = share(following)
        grown = math.log(seen[following] / seen[hidden]) / math.log(following / hidden)
        hidden, power = following, min(2.0, max(0.5, grown))
    best = min(seen, key=lambda units: abs(math.log(seen[units])))
    return best, seen[best]


def relative_step_time(
    config: Config, like: Config, symbols: int, ids: TokenIds, device: str, pairs: int
) -> float:
    """Seconds of an update, by those of another model's: the median of pairs, one after another, so
    that what else the machine does strikes both."""
    both = []
    for one in (config, msgspec.structs.replace(like, kernel="auto")):
        check_memory(available_memory(device), estimate_training_memory(one, symbols))
        slow = msgspec.structs.replace(one, learning_rate=1e-6)  # nothing diverges
        kernel, _ = select_kernel(slow, device)
        both.append(iter_step_times(slow, pairs + 1, symbols, kernel, device, ids))
    with torch.random.fork_rng(devices=[]):
        ratios = [mine / other for mine, other in zip(*both, strict=True)]
    return statistics.median(islice(ratios, 1, None))  # the first pays for what is made once
