"""Fine-tuned runs beside runs from scratch: bits by characters read, for two texts and three seeds.

The source is Python's reference documentation. The texts are the news of IDLE, which is prose, and
the sources of asyncio, which is code. All are part of Python.

python scripts/train_on.py runs/train-on docs/guides/train-on
"""

import argparse
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import msgspec
from figures import standalone_svg

import charlm
from charlm.config import Config
from charlm.reporting.figures import FigureSpec, Series, draw_figure, make_legend
from charlm.runs.metrics import load_validation_curve
from charlm.storage import files

LIBRARY = Path(sysconfig.get_path("stdlib"))
TEXTS = {
    "prose": sorted((LIBRARY / "idlelib").glob("[NHC]*.txt")),
    "code": sorted((LIBRARY / "asyncio").glob("*.py")),
}
MODEL = Config(cell="gru", hidden_size=96, embedding_dim=32, save_every=1e6, keep="weights")
SOURCE_CHARACTERS, CHARACTERS, LOOKS = 1_000_000, 200_000, 20
SCRATCH, TUNED, GENTLE = "from scratch", "init-from", "init-from, a third of the rate"


class Outcome(NamedTuple):
    """A run, its validations, and its score of the test split."""

    text: str
    start: str
    seed: int
    curve: tuple[tuple[int, float], ...]  # characters read, bits per character
    test_bits: float
    unknown: int  # characters of the test split outside of the vocabulary


def replace(**settings: object) -> Config:
    """Return the settings of the model with others of the run."""
    return msgspec.structs.replace(MODEL, **settings)


def train(
    corpus: charlm.Corpus | str, config: Config, path: Path, init_from: Path | None = None
) -> charlm.Run:
    """Train a run, or return it if an earlier call has finished it."""
    return charlm.train(corpus, config, path, resume=True, init_from=init_from)


def outcomes(directory: Path, seeds: int) -> Iterator[Outcome]:
    """Train all runs, and yield what they reached."""
    steps = CHARACTERS // (8 * MODEL.seq_len)
    for seed in range(seeds):
        config = replace(seed=seed, characters=SOURCE_CHARACTERS)
        source = train("python-docs", config, directory / f"source-{seed}")
        for text, paths in TEXTS.items():
            corpus = charlm.load_corpus(list(map(str, paths)))
            own = replace(seed=seed, characters=CHARACTERS, eval_every=steps // LOOKS)
            name = f"{text}-{seed}"
            scratch = train(corpus, own, directory / f"{name}-scratch")
            rate = scratch.record.config.learning_rate / 3
            gentle = msgspec.structs.replace(own, learning_rate=rate)
            tuned = train(corpus, own, directory / f"{name}-tuned", init_from=source.path)
            slow = train(corpus, gentle, directory / f"{name}-gentle", init_from=source.path)
            for start, run in ((SCRATCH, scratch), (TUNED, tuned), (GENTLE, slow)):
                curve = load_validation_curve(run.path)
                assert run.report and run.report.score
                score = run.report.score
                assert score.bits_per_char is not None, "the test split has characters"
                yield Outcome(
                    text,
                    start,
                    seed,
                    tuple((point.characters, point.bits) for point in curve),
                    score.bits_per_char,
                    score.unknown_tokens,
                )


def characters_to_match(tuned: Outcome, scratch: Outcome) -> int | None:
    """Return when a run first has the last validation of a run from scratch; None: never."""
    target = scratch.curve[-1][1]
    return next((characters for characters, bits in tuned.curve if bits <= target), None)


def table(found: Sequence[Outcome]) -> str:
    """Return mean and standard deviation over seeds as Markdown."""
    lines = [
        "| text | start | first validation | last | test bits/char | unknown | as good as from "
        "scratch after |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for text in TEXTS:
        scratch = [run for run in found if (run.text, run.start) == (text, SCRATCH)]
        for start in (SCRATCH, TUNED, GENTLE):
            runs = [run for run in found if (run.text, run.start) == (text, start)]
            test = [run.test_bits for run in runs]
            reached = [characters_to_match(*pair) for pair in zip(runs, scratch, strict=True)]
            known = [characters for characters in reached if characters is not None]
            when = f"{max(known):,}" if len(known) == len(reached) else "never"
            spread = f" ± {stdev(test):.3f}" if len(test) > 1 else ""
            cells = [
                *(text, start),
                *(f"{fmean(run.curve[point][1] for run in runs):.3f}" for point in (0, -1)),
                f"{fmean(test):.3f}{spread}",
                f"{fmean(run.unknown for run in runs):.0f}",
                "" if start == SCRATCH else when,
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_figures(found: Sequence[Outcome], directory: Path) -> None:
    """Write one figure per text."""
    for text in TEXTS:
        lines = [
            Series(f"{run.start} {run.seed}", run.start, *zip(*run.curve, strict=True))
            for run in found
            if run.text == text
        ]
        legend = make_legend([SCRATCH, TUNED, GENTLE])
        spec = FigureSpec(text, "characters read", "bits/char (validation)")
        figure = draw_figure(f"train-on-{text}", spec, lines, legend)
        files.write_atomic(directory / f"{text}.svg", standalone_svg(figure, legend).encode())


def main() -> None:
    """Train, and write table.md, bits.csv and the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    found = list(outcomes(arguments.runs, arguments.seeds))
    files.make_directory(arguments.out)
    rows = ["text,start,seed,characters,valid_bits"]
    rows += [
        f"{run.text},{run.start.replace(',', ' at')},{run.seed},{characters},{bits}"
        for run in found
        for characters, bits in run.curve
    ]
    files.write_atomic(arguments.out / "bits.csv", ("\n".join(rows) + "\n").encode())
    files.write_atomic(arguments.out / "table.md", table(found).encode())
    write_figures(found, arguments.out)


if __name__ == "__main__":
    main()
