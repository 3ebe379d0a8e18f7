"""What a run writes by itself, kept: a report is quick to make again."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from charlm.config import Config
from charlm.evaluation.generation import generate
from charlm.models.build import build_char_lm, load_weights, select_kernel
from charlm.runs.run import Run
from charlm.storage import files

SAMPLE_LENGTH, SAMPLE_TEMPERATURE = 300, 0.8


def cached_sample(run: Run, config: Config, place: Path, say: Callable[[str], None]) -> str:
    """LENGTH symbols from nothing by the best weights of a finished run, kept in `place` by them;
    config: the run's, its cell known here."""
    assert run.report
    kept = place / f"{run.report['weights_sha256'][:16]}.txt"
    if not kept.exists():
        kernel, _ = select_kernel(msgspec.structs.replace(config, kernel="auto"))
        model = build_char_lm(config, run.vocabulary.size, kernel, "cpu")
        load_weights(model, run.load_checkpoint("best", say).tensors)
        written = generate(model, run.vocabulary, "", SAMPLE_LENGTH, temperature=SAMPLE_TEMPERATURE)
        files.make_directory(place)
        files.write_atomic(kept, b"".join(written))
    return kept.read_bytes().decode(errors="replace")
