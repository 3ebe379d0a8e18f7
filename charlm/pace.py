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

from charlm import durable
from charlm.alphabet import Ids
from charlm.checkpoint import decoded, read, readable
from charlm.config import Config, checked
from charlm.encoder import Tick
from charlm.machine import memory_available
from charlm.match import COUNTED, REFERENCE, TOLERANCE, Footing, Sizes, reference, with_units
from charlm.model import CharLM, memory, refuse_more_than, resolve_kernel
from charlm.train import timed
from charlm.zoo import find, sha256

# Sizes that are tried at most; updates of each, beside as many of the LSTM's; and a share so near
# to 1 ends the search: first roughly, then around what was found.
ROUGH, FINE = (6, 9, 0.02), (4, 36, TOLERANCE)
# The settings on which the seconds of an update depend.
DECIDES = (
    *("cell", "layers", "embedding", "dropout", "weight_dropout", "tie", "start", "block"),
    *("kernel", "batch", "time"),
)


class Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What timing came to: for all that decides it, the hidden size, and by what share of the
    LSTM's its seconds then differ."""

    of: dict[str, Any]
    hidden: int
    residual: float


def equal(
    settings: Mapping[str, Any],
    cells: Sequence[str],
    parameters: int,
    symbols: int,
    ids: Ids,
    device: str,
    place: Path,
    tick: Tick = lambda _: None,
) -> Footing:
    """Cells whose updates take as long as those of an LSTM of so many parameters."""
    path = place / "seconds.json"
    kept = decoded(read(path), list[Found], path) if path.exists() else []
    like = reference(settings, symbols)(parameters)
    chosen = {}
    for cell in cells:
        config = checked({**settings, "cell": cell})
        decides = {name: getattr(config, name) for name in DECIDES}
        decides |= {"file": sha256(cell), "device": device, "symbols": symbols}
        of = {**decides, "parameters": parameters}
        found = next((one for one in kept if one.of == of), None)
        if cell == REFERENCE:
            found = Found(of, like.hidden, 0.0)
        elif found is None:

            def share(config: Config, pairs: int) -> float:
                tick(1)
                return share_of(config, like, symbols, ids, device, pairs)

            found = Found(of, *solved(share, config, like, symbols))
            kept.append(found)
            durable.write_file(path, readable(kept))
        chosen[cell] = found
    hidden = {cell: one.hidden for cell, one in chosen.items()}
    residual = {cell: one.residual for cell, one in chosen.items()}
    return Footing("seconds", parameters, 1, hidden, residual)


def solved(
    share: Callable[[Config, int], float], config: Config, like: Config, symbols: int
) -> tuple[int, float]:
    """The hidden size whose share of the seconds of `like` is nearest to 1; how far it is off."""
    flops = COUNTED["flops"](like, symbols, CharLM)
    hidden = Sizes(config, symbols, "flops", CharLM).nearest(flops)
    for looks, pairs, near in (ROUGH, FINE):

        def at(units: int, pairs: int = pairs) -> float:
            return share(with_units(config, units), pairs)

        hidden, found = searched(at, hidden, find(config.cell).multiple, looks, near)
    return hidden, found - 1


def searched(
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


def share_of(
    config: Config, like: Config, symbols: int, ids: Ids, device: str, pairs: int
) -> float:
    """Seconds of an update, by those of another model's: the median of pairs, one after another, so
    that what else the machine does strikes both."""
    both = []
    for one in (config, msgspec.structs.replace(like, kernel="auto")):
        refuse_more_than(memory_available(device), memory(one, symbols))
        slow = msgspec.structs.replace(one, learning_rate=1e-6)  # nothing diverges
        kernel, _ = resolve_kernel(slow, device)
        both.append(timed(slow, pairs + 1, symbols, kernel, device, ids))
    with torch.random.fork_rng(devices=[]):
        ratios = [mine / other for mine, other in zip(*both, strict=True)]
    return statistics.median(islice(ratios, 1, None))  # the first pays for what is made once
