"""Fit the recipes to the runs of a search, and draw them: tables in Markdown and SVG files.

python scripts/recipe_figures.py docs/recipes/runs.csv docs/recipes
"""

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from figures import standalone_svg
from recipes import FIRST_CELLS, SOURCE, Outcome, Setting, read_runs, start_setting

from charlm.recipes import BASE_CHARACTERS, BASE_PARAMETERS
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

    Least squares of log rate = log base + a log(parameters / 100k) + b log(characters / 1.25M),
    with a and b common to all cells. Curves without a parabola are left out, unless a cell has no
    other.
    """
    good = [one for one in optima if not one.is_at_end]
    names = {(one.setting.cell, one.setting.block) for one in good}
    good += [one for one in optima if (one.setting.cell, one.setting.block) not in names]
    cells = sorted({(one.setting.cell, one.setting.block) for one in good})
    rows, values = [], []
    for one in good:
        row = [float(cell == (one.setting.cell, one.setting.block)) for cell in cells]
        row.append(math.log(one.setting.parameters / BASE_PARAMETERS))
        row.append(math.log(one.characters / BASE_CHARACTERS))
        rows.append(row)
        values.append(math.log(one.rate))
    solution, *_ = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)
    *bases, size, budget = solution.tolist()
    rates = {cell: math.exp(base) for cell, base in zip(cells, bases, strict=True)}
    return rates, size, budget


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
        numbers = [
            text
            for one in (short, long)
            for text in (f"{one.rate:.2g}{' (end)' if one.is_at_end else ''}", f"{one.bits:.3f}")
        ]
        rows.append([*what, str(setting.seed), *numbers])
    head = ["cell", "block", "text", "parameters", "seed"]
    return table([*head, "rate, 0.3M", "bits", "rate, 1.2M", "bits"], rows)


def variants_table(runs: Runs) -> str:
    """Return by how much each change of one setting changes the loss, at the first recipe."""
    rows = []
    for cell in FIRST_CELLS:
        base = start_setting(cell, SOURCE, 25_000)._replace(learning_rate=0.0)
        candidates = {run: runs[run] for run in runs if run._replace(learning_rate=0.0) == base}
        best = min(candidates, key=lambda run: candidates[run].long_bits)
        for setting, outcome in runs.items():
            same = setting._replace(learning_rate=best.learning_rate)
            changed = [
                f"{name} {new}"
                for name, old, new in zip(Setting._fields, best, same, strict=True)
                if old != new
            ]
            if len(changed) != 1 or changed[0].startswith(("text", "parameters", "block", "seed")):
                continue
            if setting.cell != cell or setting.parameters != base.parameters:
                continue
            deltas = [f"{outcome[n] - runs[best][n]:+.3f}" for n in range(2)]
            rows.append([cell, changed[0], f"{setting.learning_rate:g}", *deltas])
    return table(["cell", "change", "rate", "0.3M", "1.2M"], rows)


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
        print(path)


def main() -> None:
    """Print the tables and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, help="CSV of scripts/recipes.py")
    parser.add_argument("directory", type=Path, help="where the SVG files are written")
    arguments = parser.parse_args()
    runs = read_runs(arguments.runs)
    optima = all_optima({run: outcome for run, outcome in runs.items() if is_adopted(run)})
    rates, size, budget = fit(optima)
    print(f"rate = base * (parameters / 100k)^{size:.2f} * (characters / 1.25M)^{budget:.2f}\n")
    print(table(["cell", "block", "base rate"], [[*cell, f"{rates[cell]:.3g}"] for cell in rates]))
    print(f"\n{optima_table(optima)}\n\n{variants_table(runs)}\n")
    write_curves(runs, arguments.directory)


if __name__ == "__main__":
    main()
