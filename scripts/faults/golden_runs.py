"""Golden runs: runs of each released format, which open, score and resume as they always did."""

import shutil
from pathlib import Path

import msgspec
import torch

from charlm.data.corpus import Corpus, reload_corpus
from charlm.errors import CharlmError
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.scoring import score_split
from charlm.results.training import StepMetrics
from charlm.runs.metrics import iter_metrics
from charlm.runs.restore import load_model
from charlm.runs.run import Run
from charlm.runs.verification import verify
from charlm.training.session import resume_training
from faults.hazard import Hazard
from faults.places import memory_directory
from faults.processes import cpu_seconds

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "runs"
TEXT = "text.txt"
# Sums of float64 differ by less between processors; float32 ones by less than a digit shown.
EXACT_DIGITS, SHOWN_DIGITS = 10, 4


class GoldenScore(msgspec.Struct, frozen=True):
    """Recorded scores of a golden run, in bits per character of its test split."""

    exact: str  # kernel loop in float64, to EXACT_DIGITS
    shown: str  # as `charlm eval` shows it, to SHOWN_DIGITS


def run(scale: float) -> Hazard:  # noqa: ARG001
    """Read every golden run in every way, and go on with those that were stopped."""
    before = cpu_seconds()
    torch.set_num_threads(1)
    failures: list[str] = []
    trials = 0
    for folder in sorted(GOLDEN.glob("format-*")):
        recorded = read_scores(folder)
        for name, score in recorded.items():
            with memory_directory() as directory:
                path = shutil.copytree(folder / name, directory / name)
                try:
                    failures += [f"{folder.name}/{name}: {p}" for p in check(path, folder, score)]
                except CharlmError as error:
                    failures.append(f"{folder.name}/{name}: {error}")
            trials += 1
    return Hazard(
        "golden runs",
        "a run of each released format opens, verifies, scores the same to the last digit, and "
        "is resumed",
        trials,
        tuple(failures),
        cpu_seconds() - before,
    )


def read_scores(folder: Path) -> dict[str, GoldenScore]:
    """Return the recorded scores of the runs in a folder, by their names."""
    return msgspec.json.decode((folder / "scores.json").read_bytes(), type=dict[str, GoldenScore])


def check(path: Path, folder: Path, recorded: GoldenScore) -> list[str]:
    """Return what is wrong with a copy of a golden run."""
    problems = []
    verification = verify(path)
    if not verification.intact:
        problems.append(f"verify: {verification.runs[0].problems}")
    if (found := measure_score(path, folder / TEXT)) != recorded:
        problems.append(f"it scores {found}, not {recorded}")
    run_ = Run(path)
    if run_.report is None:
        resumed = resume_training(path, str(folder / TEXT))
        steps = [m.step for m in iter_metrics(path) if isinstance(m, StepMetrics)]
        if steps != list(range(1, resumed.record.max_steps + 1)) or not verify(path).intact:
            problems.append(f"resumed, it has steps {steps}")
    return problems


def measure_score(path: Path, text: Path) -> GoldenScore:
    """Return the scores of a run on the test split of its text."""
    run_ = Run(path)
    corpus = reload_corpus(run_.record.config, run_.record.text, str(text))
    shown = evaluate(path, sources=str(text), kernel="loop").bits_per_char
    return GoldenScore(
        exact=f"{exact_bits(run_, corpus):.{EXACT_DIGITS}f}", shown=f"{shown:.{SHOWN_DIGITS}f}"
    )


def exact_bits(run_: Run, corpus: Corpus) -> float:
    """Return bits per character of the best weights, computed in float64 by the loop."""
    _, model = load_model(run_, "best", "loop")
    bits = score_split(model.double().eval(), corpus, "test").bits_per_char
    assert bits is not None
    return bits
