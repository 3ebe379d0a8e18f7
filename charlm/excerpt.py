"""What a run writes by itself, kept: a report is quick to make again."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from charlm import durable
from charlm.config import Config
from charlm.model import load_weights, make, resolve_kernel
from charlm.run import Run
from charlm.sample import write

LENGTH, TEMPERATURE = 300, 0.8


def excerpt(run: Run, config: Config, place: Path, say: Callable[[str], None]) -> str:
    """LENGTH symbols from nothing by the best weights of a finished run, kept in `place` by them;
    config: the run's, its cell known here."""
    assert run.report
    kept = place / f"{run.report['weights_sha256'][:16]}.txt"
    if not kept.exists():
        kernel, _ = resolve_kernel(msgspec.structs.replace(config, kernel="auto"))
        model = make(config, run.alphabet.size, kernel, "cpu")
        load_weights(model, run.load("best", say).tensors)
        written = write(model, run.alphabet, "", LENGTH, temperature=TEMPERATURE)
        durable.make_directory(place)
        durable.write_file(kept, b"".join(written))
    return kept.read_bytes().decode(errors="replace")
