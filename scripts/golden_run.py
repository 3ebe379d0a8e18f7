"""Make the golden runs of the present format: tests/golden/runs/format-N, which must be new.

They are made once for each released format and never again: tests hold later versions to them.
"""

import argparse
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import msgspec
from faults.golden_runs import GOLDEN, TEXT, measure_score
from faults.processes import write_prose
from faults.resume_to_the_bit import Watcher, stop_after

from charlm.config import FORMAT_VERSION, validate_config
from charlm.errors import Interrupted
from charlm.storage.lock import LOCK_FILE
from charlm.training.session import train

SETTINGS = {
    "embedding_dim": 4,
    "batch_size": 2,
    "seq_len": 16,
    "learning_rate": 0.02,
    "warmup_steps": 2,
    "grad_clip": 1.0,
    "recurrent_init": "default",
    "dropout": 0.1,
    "initial_state": "learned",
    "max_steps": 40,
    "kernel": "loop",
    "save_every": 1e9,
}
STOPPED_AFTER = 30  # steps, of the second run


def main() -> None:
    """Train a run to its end and stop another one, and record what both score."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    folder = GOLDEN / f"format-{FORMAT_VERSION}"
    if folder.exists():
        sys.exit(f"{folder} exists: golden runs of a format are made once")
    folder.mkdir(parents=True)
    scores = {}
    with tempfile.TemporaryDirectory() as directory:
        text = write_prose(Path(directory) / TEXT)
        finished = validate_config({**SETTINGS, "cell": "lstm", "hidden_size": 6})
        train(str(text), finished, folder / "lstm")
        stopped = validate_config({**SETTINGS, "cell": "mingru", "hidden_size": 8, "num_layers": 2})
        stop = Watcher(stop_after(STOPPED_AFTER, signal.SIGTERM))
        with suppress(Interrupted):
            train(str(text), stopped, folder / "mingru-stopped", progress=stop)
        (folder / TEXT).write_bytes(text.read_bytes())
    for name in ("lstm", "mingru-stopped"):
        (folder / name / LOCK_FILE).unlink()  # it names this machine
        scores[name] = measure_score(folder / name, folder / TEXT)
    data = msgspec.json.format(msgspec.json.encode(scores), indent=2) + b"\n"
    (folder / "scores.json").write_bytes(data)


if __name__ == "__main__":
    main()
