"""Stability of a comparison: do its verdicts agree when everything random is drawn again?

    python scripts/stability.py [--repeats 4] [--budgets 1,4] [--out docs/explanation/stability.md]

Each repeat is a whole comparison with other seeds of its runs and another draw of the text: its
files are read from a directory with another name, and which split a file is in depends on a hash of
its path. So training, validation and test text, the places of the probes, and the excerpt that is
scored are all drawn again. What was finished is not done again.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from charlm import compare
from charlm.comparison.request import DEFAULT_CHARACTERS
from charlm.data.sources import resolve_sources
from charlm.results.comparison import ComparisonReport
from charlm.results.verdicts import JudgedQuantity, Label, PairVerdict

TEXT = "python-source"
CELLS = "gru,lstm,rnn"
SEEDS = 6
QUANTITIES: Mapping[JudgedQuantity, str] = {
    "bits_per_char": "bits per character",
    "beyond_64": "bits lost when all further back than 64 characters is other text",
    "word_again": "bits saved on a rare word read before",
    "order_reach": "how far back the order of characters matters, in octaves",
}
OPPOSITE: Mapping[Label, Label] = {"better": "worse", "worse": "better"}


class Repeat(NamedTuple):
    """Verdicts of one comparison."""

    budget: int  # times the default
    number: int
    pairs: tuple[PairVerdict, ...]


class Question(NamedTuple):
    """A quantity of a cell against another."""

    quantity: JudgedQuantity
    cell: str
    other: str


class Agreement(NamedTuple):
    """Agreement of repeats about a question.

    Attributes:
        same: Pairs of repeats with the same verdict.
        contradictions: Pairs of repeats, one of which says better and the other worse.
        pairs: Pairs of repeats.
    """

    same: int
    contradictions: int
    pairs: int


def main() -> None:
    """Make the comparisons and write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=4, help="comparisons at each budget")
    parser.add_argument("--budgets", default="1,4", help="multiples of the default budget")
    parser.add_argument("--out", type=Path, default=Path("docs/explanation/stability.md"))
    parser.add_argument("--work", type=Path, default=Path("stability"), help="directory of runs")
    arguments = parser.parse_args()
    budgets = [int(budget) for budget in arguments.budgets.split(",")]
    repeats: list[Repeat] = []
    for budget in budgets:
        for number in range(arguments.repeats):
            report = redrawn_comparison(budget, number, arguments.work)
            repeats.append(Repeat(budget, number, report.pairs))
            arguments.out.write_text(format_document(repeats))
            print(f"budget {budget}, repeat {number + 1}: written to {arguments.out}")


def redrawn_comparison(budget: int, number: int, work: Path) -> ComparisonReport:
    """Make a comparison, or read it again if it was made."""
    return compare(
        redrawn_text(number, work / "texts"),
        CELLS,
        seeds=SEEDS,
        first_seed=number * SEEDS,
        baselines="none",
        # Without branches, and so without a bracket: both leave the runs and their verdicts as
        # they are.
        config={"characters": budget * DEFAULT_CHARACTERS, "glob": "**/*", "branches": ""},
        out=work / f"budget-{budget}-repeat-{number + 1}",
        device="cpu",
    )


def redrawn_text(number: int, parent: Path) -> Path:
    """Write the files of the text below a directory whose name is part of their paths."""
    root = parent / str(number + 1)
    for source in resolve_sources([TEXT]).sources:
        path = root / f"draw-{number + 1}" / source.path
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(source.chunks()))
    return root


def questions(repeats: Sequence[Repeat]) -> list[Question]:
    """Return all questions, by quantity."""
    found = dict.fromkeys(
        Question(pair.quantity, pair.cell, pair.other)
        for repeat in repeats
        for pair in repeat.pairs
    )
    return sorted(found, key=lambda question: list(QUANTITIES).index(question.quantity))


def answers(repeats: Sequence[Repeat], question: Question) -> Iterator[PairVerdict | None]:
    """Yield what each repeat says about a question; None where it measured nothing."""
    for repeat in repeats:
        yield next(
            (
                pair
                for pair in repeat.pairs
                if Question(pair.quantity, pair.cell, pair.other) == question
            ),
            None,
        )


def agreement(repeats: Sequence[Repeat], question: Question) -> Agreement:
    """Count pairs of repeats that agree, and those that contradict each other."""
    labels = [answer.verdict.label for answer in answers(repeats, question) if answer]
    pairs = list(combinations(labels, 2))
    return Agreement(
        same=sum(first == second for first, second in pairs),
        contradictions=sum(OPPOSITE.get(first) == second for first, second in pairs),
        pairs=len(pairs),
    )


def format_document(repeats: Sequence[Repeat]) -> str:
    """Return docs/explanation/stability.md."""
    asked = questions(repeats)
    counts = [agreement(repeats, question) for question in asked]
    contradictions = sum(count.contradictions for count in counts)
    by_budget = Counter(repeat.budget for repeat in repeats)
    done = ", ".join(f"{count} at {budget} x" for budget, count in by_budget.items())
    lines = [
        "# Stability of a comparison",
        "",
        "Made by `make stability`. Each repeat is a comparison with everything random drawn again:",
        "seeds of the runs, which files are train, valid and test, the scored excerpt, and the",
        f"places of the probes. Text: {TEXT}. Cells: {CELLS}. {SEEDS} seeds. Characters of each",
        f"run: {DEFAULT_CHARACTERS:,} times the budget. Repeats: {done}.",
        "",
        f"**Contradictions** (better in one repeat, worse in another): {contradictions} of "
        f"{sum(count.pairs for count in counts)} pairs of verdicts.",
        "",
    ]
    for quantity, title in QUANTITIES.items():
        own = [question for question in asked if question.quantity == quantity]
        if own:
            lines += [f"## {title[0].upper()}{title[1:]}", "", *_table(repeats, own), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(repeats: Sequence[Repeat], asked: Sequence[Question]) -> Iterator[str]:
    heads = [f"{question.cell} against {question.other}" for question in asked]
    yield f"| budget | repeat | {' | '.join(heads)} |"
    yield "|---|---|" + "---|" * len(heads)
    for repeat in repeats:
        cells = [_cell(next(answers([repeat], question))) for question in asked]
        yield f"| {repeat.budget} x | {repeat.number + 1} | {' | '.join(cells)} |"
    for budget in (*dict.fromkeys(repeat.budget for repeat in repeats), None):
        own = [repeat for repeat in repeats if budget in (None, repeat.budget)]
        rates = [_rate(agreement(own, question)) for question in asked]
        name = "all" if budget is None else f"{budget} x"
        yield f"| {name} | agree | {' | '.join(rates)} |"


def _cell(answer: PairVerdict | None) -> str:
    """Return a verdict with its difference and interval."""
    if answer is None:
        return "not measured"
    verdict = answer.verdict
    numbers = (verdict.difference, verdict.ci_low, verdict.ci_high)
    if None in numbers:
        return verdict.label
    difference, low, high = numbers
    return f"{verdict.label} {difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def _rate(count: Agreement) -> str:
    if not count.pairs:
        return "one repeat"
    text = f"{count.same} of {count.pairs} pairs"
    return text + (f", {count.contradictions} contradict" if count.contradictions else "")


if __name__ == "__main__":
    main()
