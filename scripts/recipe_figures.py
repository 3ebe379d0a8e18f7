"""Fit the recipes to the runs of a search, and write tables.md and figures beside them.

python scripts/recipe_figures.py docs/explanation/recipes
"""

import argparse
import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from figures import standalone_svg
from recipe_settings import FIRST_CELLS, SOURCE, Outcome, Setting, adopted, start_setting
from recipes import read_runs

from charlm.recipes import BASE_CHARACTERS, BASE_PARAMETERS, get_recipe
from charlm.reporting.figures import FigureSpec, Series, draw_figure, make_legend
from charlm.storage import files

Runs = dict[Setting, Outcome]


class Optimum(NamedTuple):
    """Best rate of a curve: the vertex of the parabola through its lowest point and neighbors."""

    setting: Setting  # with the rate 0 and the seed of the curve
    characters: int
    rate: float
    bits: float  # lowest that was measured
    is_at_end: bool  # of the rates that were tried: there is no parabola

    @property
    def cell(self) -> tuple[str, str]:
        """Cell and block."""
        return self.setting.cell, self.setting.block

    @property
    def logs(self) -> tuple[float, float]:
        """Logarithms of size and budget, relative to those of the base rate."""
        size = math.log(self.setting.parameters / BASE_PARAMETERS)
        return size, math.log(self.characters / BASE_CHARACTERS)


def budgets(setting: Setting) -> tuple[int, int]:
    """Return the characters of the two losses of a run."""
    return setting.characters // 4, setting.characters


def curves(runs: Runs) -> dict[Setting, dict[float, Outcome]]:
    """Return rate -> outcome of all runs that differ in their rate alone."""
    result: dict[Setting, dict[float, Outcome]] = {}
    for setting, outcome in sorted(runs.items()):
        key = setting._replace(learning_rate=0.0)
        result.setdefault(key, {})[setting.learning_rate] = outcome
    return {key: curve for key, curve in result.items() if len(curve) > 2}


def optimum(setting: Setting, curve: dict[float, Outcome], budget: int) -> Optimum:
    """Return the best rate of a curve for one of the two budgets."""
    rates, bits = list(curve), [outcome[budget] for outcome in curve.values()]
    best = int(np.argmin(bits))
    is_at_end = best in (0, len(rates) - 1)
    rate = rates[best]
    if not is_at_end:
        left, middle, right = bits[best - 1 : best + 2]
        if math.isfinite(left + right):
            shift = (left - right) / (2 * (left - 2 * middle + right))
            rate *= 2**shift
    return Optimum(setting, budgets(setting)[budget], rate, bits[best], is_at_end)


def all_optima(runs: Runs) -> list[Optimum]:
    """Return the best rate of every curve and budget."""
    return [
        optimum(setting, curve, budget)
        for setting, curve in curves(runs).items()
        for budget in range(2)
    ]


def fit(optima: Sequence[Optimum]) -> tuple[dict[tuple[str, str], float], float, float]:
    """Return the base rate of each cell and block, and the exponents of size and budget.

    Least squares of log rate = log base + a log(parameters / 100k) + b log(characters / 1.25M).
    The exponents a and b are those of the first cells together, which have all sizes and texts.
    Curves without a parabola are left out, unless a cell has no other.
    """
    good = [one for one in optima if not one.is_at_end]
    names = {one.cell for one in good}
    good += [one for one in optima if one.cell not in names]
    first = [one for one in good if one.cell in {(cell, "none") for cell in FIRST_CELLS}]
    cells = sorted({one.cell for one in first})
    rows = [[*(float(cell == one.cell) for cell in cells), *one.logs] for one in first]
    rates = [math.log(one.rate) for one in first]
    solution, *_ = np.linalg.lstsq(np.array(rows), np.array(rates), rcond=None)
    size, budget = solution[-2:].tolist()
    bases: dict[tuple[str, str], list[float]] = {}
    for one in good:
        scale = size * one.logs[0] + budget * one.logs[1]
        bases.setdefault(one.cell, []).append(math.log(one.rate) - scale)
    return {cell: math.exp(fmean(logs)) for cell, logs in bases.items()}, size, budget


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def is_adopted(setting: Setting) -> bool:
    """Return whether everything but the rate is as in the recipes that were adopted."""
    base = (8, 0.25, 0.8, 0.95, 50)
    return base == (
        *(setting.batch_size, setting.grad_clip),
        *(setting.beta1, setting.beta2, setting.warmup_steps),
    )


def optima_table(optima: Sequence[Optimum]) -> str:
    """Return the best rates, one row for each curve."""
    rows = []
    for short, long in zip(optima[::2], optima[1::2], strict=True):
        setting = short.setting
        what = [setting.cell, setting.block, setting.text, f"{setting.parameters:,}"]
        what += [str(setting.seed), f"{setting.characters:,}"]
        numbers = [
            text
            for one in (short, long)
            for text in (f"{one.rate:.2g}{' (end)' if one.is_at_end else ''}", f"{one.bits:.3f}")
        ]
        rows.append([*what, *numbers])
    head = ["cell", "block", "text", "parameters", "seed"]
    return table([*head, "characters", "rate at 1/4", "bits", "rate", "bits"], rows)


def variants_table(runs: Runs, bases: Sequence[Setting]) -> str:
    """Return by how much a change of one setting changes the loss of the best of a curve."""
    rows = []
    for base in bases:
        curve = {run: runs[run] for run in runs if run._replace(learning_rate=0.0) == base}
        best = min(curve, key=lambda run: curve[run].long_bits)
        for setting, outcome in runs.items():
            same = setting._replace(learning_rate=best.learning_rate)
            changed = [
                f"{name} {new}"
                for name, old, new in zip(Setting._fields, best, same, strict=True)
                if old != new
            ]
            other = ("cell", "block", "text", "parameters", "characters", "seed")
            if len(changed) != 1 or changed[0].startswith(other):
                continue
            deltas = [f"{outcome[n] - runs[best][n]:+.3f}" for n in range(2)]
            what = [base.cell, base.text, f"{base.parameters:,}", changed[0]]
            rows.append([*what, f"{best.learning_rate:g}", f"{setting.learning_rate:g}", *deltas])
    head = ["cell", "text", "parameters", "change", "best rate", "rate", "0.3M", "1.2M"]
    return table(head, rows)


def write_curves(runs: Runs, directory: Path) -> None:
    """Draw the loss against the rate, for each of the first cells."""
    for cell in FIRST_CELLS:
        lines = []
        for setting, curve in curves(runs).items():
            if setting.cell != cell or setting.block != "none" or not is_adopted(setting):
                continue
            for budget, characters in enumerate(budgets(setting)):
                name = f"{setting.text}, {setting.parameters // 1000}k, {characters / 1e6:g}M"
                bits = [outcome[budget] for outcome in curve.values()]
                finite = [value if math.isfinite(value) else None for value in bits]
                lines.append(Series(f"{name}, seed {setting.seed}", name, list(curve), finite))
        spec = FigureSpec(cell, "learning rate", "bits/char (validation)", log_x=True)
        legend = make_legend([line.group for line in lines])
        figure = draw_figure(f"recipe-{cell}", spec, lines, legend)
        path = directory / f"{cell}.svg"
        files.write_atomic(path, standalone_svg(figure, legend).encode())


def rates_table(rates: dict[tuple[str, str], float]) -> str:
    """Return the fitted base rate of each cell beside that of its recipe."""
    rows = [
        [*cell, f"{rate:.2g}", f"{get_recipe(cell[0]).learning_rate:g}"]
        for cell, rate in sorted(rates.items())
    ]
    return table(["cell", "block", "fitted base rate", "recipe"], rows)


def targets_table(path: Path) -> str:
    """Return the test bits of each seed."""
    bits: dict[tuple[str, str, str], list[float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["text"], row["cell"], row["learning_rate"]
            bits.setdefault(key, []).append(float(row["test_bits"]))
    rows = [
        [*key, ", ".join(f"{value:.3f}" for value in values), f"{fmean(values):.3f}"]
        for key, values in sorted(bits.items())
    ]
    return table(["text", "cell", "rate", "test bits of the seeds", "mean"], rows)


def decay_table(path: Path) -> str:
    """Return the validation bits after each decay, one row for each run."""
    bits: dict[tuple[str, ...], dict[str, str]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row["text"], row["cell"], row["learning_rate"], row["seed"]
            bits.setdefault(key, {})[f"{row['form']} {row['decay']}"] = f"{float(row['bits']):.3f}"
    decays = sorted({decay for values in bits.values() for decay in values}, reverse=True)
    rows = [[*key, *(bits[key].get(decay, "") for decay in decays)] for key in sorted(bits)]
    return table(["text", "cell", "rate", "seed", *decays], rows)


def main() -> None:
    """Write the tables and the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", type=Path, help="has runs.csv, targets.csv, decay.csv")
    directory: Path = parser.parse_args().directory
    runs = read_runs(directory / "runs.csv")
    starts = [
        start_setting(cell, SOURCE, 25_000)._replace(learning_rate=0.0) for cell in FIRST_CELLS
    ]
    adopted_settings = [adopted(start) for start in starts]
    adopted_settings += [
        start._replace(text="shakespeare", parameters=100_000)
        for start in adopted_settings
        if start.cell != "rnn"
    ]
    optima = all_optima({run: outcome for run, outcome in runs.items() if is_adopted(run)})
    rates, size, budget = fit(optima)
    parts = [
        "# Tables of the search of recipes",
        f"Written by `scripts/recipe_figures.py` from {len(runs)} runs. [Method](../recipes.md).",
        "## Base rates",
        f"rate = base · (parameters / 100,000)^{size:.2f} · (characters / 1,250,000)^{budget:.2f}",
        rates_table(rates),
        "## Test bits by recipe, with seeds that the search did not see",
        targets_table(directory / "targets.csv"),
        "## Form and length of the decay",
        "Validation bits per character at 100,000 parameters and 1.2 million characters.",
        decay_table(directory / "decay.csv"),
        "## Best rate of each curve",
        "Validation bits per character at the best rate that was tried. (end): the best rate is "
        "the lowest or highest that was tried.",
        optima_table(optima),
        "## One setting changed",
        "Difference of validation bits to the settings of the start: batch 8, clip 1, betas 0.9 "
        "and 0.99, warmup 50; python-source, 25,000 parameters, seed 0.",
        variants_table(runs, starts),
        "The same for the settings that were adopted: clip 0.25, betas 0.8 and 0.95.",
        variants_table(runs, adopted_settings),
    ]
    files.write_atomic(directory / "tables.md", "\n\n".join([*parts, ""]).encode())
    write_curves(runs, directory)


if __name__ == "__main__":
    main()
