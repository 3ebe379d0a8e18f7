"""Results as commands compute them, made up, with foreign text wherever somebody may write."""

import math
import statistics
from collections.abc import Sequence

import msgspec
import numpy as np

from charlm.config import FORMAT_VERSION, Config
from charlm.results.baselines import BaselineResult
from charlm.results.comparison import (
    Bracket,
    BracketPoint,
    Budget,
    BudgetPoint,
    ComparisonReport,
    ComparisonResult,
    EntryRow,
    RateFit,
    ScoredCorpus,
    Statistics,
    ValidationPoint,
)
from charlm.results.comparison_plan import Matching
from charlm.results.inspection import (
    ActivationTrace,
    FeatureUnit,
    GateSaturation,
    InspectedText,
    InspectionReport,
    LayerEquations,
    UnitSurvey,
    UnitTrace,
)
from charlm.results.probe_limits import ShareKept, TooFewClosers
from charlm.results.probes import (
    Curve,
    Measured,
    NotApplicable,
    Outcome,
    ProbeDocumentation,
    ProbedRun,
    ProbedText,
    ProbeResult,
    ProbesReport,
    ProbeSummary,
    ScalarResult,
)
from charlm.results.tasks import (
    LengthChance,
    LevelSummary,
    TaskComparisonResult,
    TaskDocumentation,
    TaskPair,
    TaskReport,
    TaskRow,
)
from charlm.results.timing import CellTiming, TimingReport
from charlm.results.tuning import (
    CellTuning,
    ChosenTrial,
    Rung,
    SearchPlan,
    SeedTuning,
    TrialRecord,
    TuningReport,
)
from charlm.results.verdicts import (
    Judged,
    JudgedQuantity,
    Label,
    Memory,
    MemoryCurve,
    PairVerdict,
    SeedSummary,
    Verdict,
)
from charlm.settings.values import Setting

MATCHING = Matching(
    measure="params",
    amount=20_000,
    parameters=20_000,
    tolerance=0.01,
    max_relative_error=0.01,
    characters=51_200,
    max_steps=100,
)
CONTEXTS = [2**power for power in range(13)]
LENGTHS = (10, 20, 50, 100)


def example_settings(foreign: str) -> dict[str, Setting]:
    """Return all settings of a run."""
    settings: dict[str, Setting] = msgspec.to_builtins(Config())
    return {**settings, "glob": foreign}


def wobbly_curve(number: int, end: float) -> list[float]:
    """Return something like a learning curve."""
    return [end + 3 / (1 + at) + 0.1 * np.sin(at * (number + 1)) / (1 + at) for at in range(20)]


def seed_summary(values: Sequence[float | None]) -> SeedSummary:
    """Return the summary over the seeds that did not diverge."""
    known = [value for value in values if value is not None]
    if not known:
        return SeedSummary(mean=None, median=None, min=None, max=None, per_seed=tuple(values))
    return SeedSummary(
        mean=sum(known) / len(known),
        median=statistics.median(known),
        min=min(known),
        max=max(known),
        per_seed=tuple(values),
    )


def example_verdict(label: Label, low: float, high: float, **fields: object) -> Verdict:
    """Return a verdict with this interval of the difference."""
    verdict = Verdict(
        label=label,
        difference=(low + high) / 2,
        ci_low=low,
        ci_high=high,
        p=0.01,
        p_holm=0.02,
        p_tost_holm=1.0,
        seed_std=0.01,
        text_se=0.01,
    )
    return msgspec.structs.replace(verdict, **fields)


def judged(values: Sequence[float | None], verdict: Verdict | None, error: float = 0.02) -> Judged:
    """Return a quantity with these values of each seed, and this half width of its interval."""
    value = seed_summary(values)
    if value.mean is None:
        return Judged(value=value, ci_low=None, ci_high=None, verdict=verdict)
    return Judged(
        value=value, ci_low=value.mean - error, ci_high=value.mean + error, verdict=verdict
    )


def memory_curve(values: Sequence[float], seeds: int, error: float = 0.004) -> MemoryCurve:
    """Return a curve over k with this mean, of which each seed differs a little."""
    k = tuple(16 * 4**number for number in range(len(values)))
    return MemoryCurve(
        k=k,
        mean=tuple(values),
        per_seed=tuple(
            tuple(value * (1 + (seed - (seeds - 1) / 2) / 20) for value in values)
            for seed in range(seeds)
        ),
        ci_low=tuple(value - error for value in values),
        ci_high=tuple(value + error for value in values),
    )


def entry_row(
    name: str,
    values: Sequence[float | None] = (2.0, 2.0),
    label: Label = "inconclusive",
    **fields: object,
) -> EntryRow:
    """Return a row with these bits of each seed and this verdict, and no memory."""
    row = EntryRow(
        name=name,
        cell=name,
        role="cell",
        hidden_size=100,
        num_layers=1,
        parameters=20_000,
        relative_error=0.0,
        state_size=100,
        flops_per_character=40_000,
        learning_rate=0.006,
        batch_size=8,
        bits_per_char=seed_summary(values),
        bits_per_byte=seed_summary(values),
        quality=judged(values, Verdict(label=label)),
        memory=None,
        seeds=tuple(range(len(values))),
        diverged=sum(value is None for value in values),
        runs=tuple(f"{name}-s{seed}" for seed in range(len(values))),
    )
    return msgspec.structs.replace(row, **fields)


def comparison_report(
    rows: Sequence[EntryRow], reference: str = "rnn", **fields: object
) -> ComparisonReport:
    """Return a report of these rows."""
    report = ComparisonReport(
        format=FORMAT_VERSION,
        kind="text",
        protocol="one-stream",
        corpus=ScoredCorpus(
            sources=("python-docs",),
            sha256="ab" * 32,
            characters=1000,
            splits={"train": (0, 900), "valid": (900, 950), "test": (950, 1000)},
            scored_split="test",
            scored_sha256="cd" * 32,
        ),
        matching=MATCHING,
        settings=example_settings("*"),
        differing_settings=None,
        tuning=None,
        environment={"charlm": "1"},
        unit="bits_per_char",
        statistics=Statistics(
            reference=reference,
            level=0.05,
            correction="Holm",
            units=20,
            unit_kind="file",
            margins={
                "bits_per_char": 0.01,
                "beyond_64": 0.005,
                "word_again": 0.1,
                "order_reach": 1.0,
            },
        ),
        rows=tuple(rows),
        pairs=(),
        budget=None,
        ngram_memory=(),
        baselines=(),
    )
    return msgspec.structs.replace(report, **fields)


def tuning_report(cells: Sequence[str], seeds: int = 2) -> TuningReport:
    """Return nine trials of each run.

    Of each cell the trials with the highest rates diverged, and of the last cell all did.
    """
    found = {
        cell: CellTuning(
            seeds=tuple(seed_tuning(seed, number, cell != cells[-1]) for seed in range(seeds))
        )
        for number, cell in enumerate(cells)
    }
    search = SearchPlan(
        trials=9,
        seed=1000,
        space={"learning_rate": (3e-4, 3e-2), "grad_clip": (0.25, 1.0, 5.0)},
        rungs=(Rung(1 / 4, 9), Rung(1.0, 3)),
        cost_in_runs=2.0,
    )
    return TuningReport(search=search, uniform_baseline_bits=6.0, cells=found)


def seed_tuning(seed: int, number: int, learns: bool) -> SeedTuning:
    """Return the trials of a run of the cell with this number."""
    rates = {trial: round(3e-4 * 100 ** (trial / 8), 5) for trial in range(9)}
    bits = {t: abs(math.log(rate / 0.01)) + number for t, rate in rates.items() if rate < 0.02}
    bits = bits if learns else {}
    ranked = sorted(bits, key=lambda trial: bits[trial])[:3]
    trials = [
        TrialRecord(
            number=trial,
            settings={"learning_rate": rate, "grad_clip": 1.0},
            steps=(300, 1200) if trial in ranked else (300,),
            bits=(bits.get(trial), bits[trial] - 0.1) if trial in ranked else (bits.get(trial),),
        )
        for trial, rate in rates.items()
    ]
    best = trials[ranked[0]] if ranked else trials[0]
    return SeedTuning(
        seed=seed,
        chosen=ChosenTrial(
            number=best.number, steps=best.steps[-1], bits=best.bits[-1], settings=best.settings
        ),
        at_boundary="high" if ranked else "",
        trials=tuple(trials),
        expected_best=tuple(sorted((bits.get(trial, 6.0) for trial in rates), reverse=True)),
    )


MEMORY_VALUES = (  # of one cell after another: what it loses beyond k, word again, order reach
    ((0.116, 0.027, 0.003, 0.0), 0.31, 96.0),
    ((0.032, 0.012, 0.0004, 0.0002), 0.22, 64.0),
    ((0.008, 0.001, 0.003, 0.001), 0.02, 24.0),
)
MEMORY_ERRORS = {"beyond_64": 0.006, "word_again": 0.05, "order_reach": 0.3}


def example_memory(number: int, seeds: int) -> Memory:
    """Return the memory of a cell; the first remembers most, and is the reference."""
    curve, again, reach = MEMORY_VALUES[number % len(MEMORY_VALUES)]
    first_curve, *first = MEMORY_VALUES[0]
    values = {"beyond_64": curve[1], "word_again": again, "order_reach": reach}
    references = dict(zip(values, (first_curve[1], *first), strict=True))
    found: dict[str, Judged] = {}
    for name, value in values.items():
        error, difference = MEMORY_ERRORS[name], value - references[name]
        width = error
        if name == "order_reach":  # in characters, and differences in octaves
            difference, width = math.log2(value / references[name]), value / 5
        label: Label = "worse" if difference < -error else "inconclusive"
        verdict = example_verdict(label, difference - error, difference + error)
        verdict = verdict if number else Verdict(label="reference")
        found[name] = judged([value] * seeds, verdict, width)
    return Memory(**found, curve=memory_curve(curve, seeds))


def example_budget(names: Sequence[str]) -> Budget:
    """Return a budget in which the order changes, and a rate at which the first cell is better."""
    points = tuple(
        BudgetPoint(
            fraction=fraction,
            characters=round(1_250_000 * fraction),
            bits={name: 2 + number / 10 + 0.3 / fraction for number, name in enumerate(names)},
            ranking=tuple(reversed(names)) if fraction < 0.2 else tuple(names),
        )
        for fraction in (1 / 8, 1 / 3, 1.0)
    )
    bracket = tuple(
        Bracket(
            cell=name,
            characters=625_000,
            points=tuple(
                BracketPoint(
                    factor=factor,
                    learning_rate=0.01 * factor,
                    bits=2.4 if factor == 1 else 2.2 if factor == 2 and number == 0 else 2.6,
                    seeds=6 if factor == 1 else 1,
                )
                for factor in (0.5, 1.0, 2.0)
            ),
            seed_std=0.03,
            recipe_rate=0.0147,
            fit=RateFit(
                best=1.36 if number == 0 else 0.68,
                ci_low=1.1 if number == 0 else 0.5,
                ci_high=1.36,
                loss=0.1 if number == 0 else 0.02,
                recipe_fits=number > 0,
            ),
        )
        for number, name in enumerate(names)
    )
    return Budget(
        points=points,
        order_is_stable=False,
        bits_per_doubling=dict.fromkeys(names, 0.2),
        bracket=bracket,
        gradient_reach=64,
    )


def example_pairs(rows: Sequence[EntryRow]) -> tuple[PairVerdict, ...]:
    """Return a verdict on each pair of these rows, on bits and on memory beyond 64."""
    pairs: list[PairVerdict] = []
    for number, row in enumerate(rows):
        for other in rows[:number]:
            means: list[tuple[JudgedQuantity, float | None, float | None, float]] = [
                ("bits_per_char", row.quality.value.mean, other.quality.value.mean, 0.03)
            ]
            if row.memory and other.memory and row.memory.beyond_64 and other.memory.beyond_64:
                mine, its = row.memory.beyond_64.value.mean, other.memory.beyond_64.value.mean
                means.append(("beyond_64", mine, its, 0.006))
            for quantity, mine, its, error in means:
                if mine is not None and its is not None:
                    label: Label = "worse" if abs(mine - its) > error else "inconclusive"
                    verdict = example_verdict(label, mine - its - error, mine - its + error)
                    pairs.append(
                        PairVerdict(
                            quantity=quantity, cell=row.name, other=other.name, verdict=verdict
                        )
                    )
    return tuple(pairs)


def comparison_result(
    foreign: str = "", cells: Sequence[str] = ("gru", "lstm", "rnn")
) -> ComparisonResult:
    """Return a comparison with six seeds, a Transformer, and a cell of which a seed diverged."""
    names = [*cells, f"{foreign.replace('/', '')}cell.py:MyCell"]
    rows = []
    for number, name in enumerate(names):
        values: list[float | None] = [
            2 + number / 10 + seed / 30 + number * seed / 300 for seed in range(6)
        ]
        if number == len(names) - 1:
            values[0] = None
        gap = number / 10
        verdict = Verdict(label="reference")
        if number:
            verdict = example_verdict("worse", gap - 0.02, gap + 0.03)
        rows.append(
            entry_row(
                name,
                values,
                flops_per_character=40_000 + 5_000 * number,
                quality=judged(values, verdict),
                memory=example_memory(number, 6),
            )
        )
    transformer = entry_row(
        "transformer",
        [2.5] * 6,
        cell="attention",
        role="transformer",
        num_layers=4,
        quality=judged([2.5] * 6, None),
    )
    curves = {
        name: tuple(
            tuple(
                ValidationPoint(1000 * (at + 1), (at + 1) * (1 + number / 9), bits)
                for at, bits in enumerate(wobbly_curve(number + seed, 2 + number / 10))
            )
            for seed in range(6)
        )
        for number, name in enumerate(names)
    }
    curves[names[-1]] = ((), *curves[names[-1]][1:])
    report = comparison_report(
        [*rows, transformer],
        names[0],
        settings=example_settings(foreign),
        environment={"charlm": "1", foreign: foreign},
        tuning=tuning_report(names),
        pairs=example_pairs(rows),
        budget=example_budget(names),
        ngram_memory=((16, 0.0), (64, 0.0), (256, 0.0), (1024, 0.0)),
        baselines=(
            BaselineResult(
                name=f"n-gram {foreign}",
                kind="static",
                bits_per_char=2.2,
                bits_per_byte=2.2,
                order=6,
                max_order=8,
                training_tokens=900,
                selection_tokens=50,
            ),
            BaselineResult(
                name="n-gram-read",
                kind="static",
                bits_per_char=2.3,
                bits_per_byte=2.3,
                order=5,
                max_order=8,
                training_tokens=1_250_000,
                training_is_partial=True,
                selection_tokens=50,
            ),
            BaselineResult(name="xz", kind="adaptive", bits_per_char=1.7, bits_per_byte=1.7),
            BaselineResult(
                name="zstd",
                kind="adaptive",
                bits_per_char=None,
                bits_per_byte=None,
                missing_package="zstd",
            ),
        ),
    )
    corpus = msgspec.structs.replace(report.corpus, sources=("python-docs", foreign))
    return ComparisonResult(
        report=msgspec.structs.replace(report, corpus=corpus),
        timing=TimingReport(
            format=FORMAT_VERSION,
            command=f"charlm compare-cells {foreign}",
            cells={name: CellTiming(seconds_per_million=5.0, minutes=1.0) for name in names},
        ),
        curves=curves,
        samples=dict.fromkeys(names[:-1], f"{foreign}\n\twords") | {names[-1]: None},
    )


def probe_result(run: int, foreign: str) -> ProbeResult:
    """Return a result with figures of every kind."""
    return ProbeResult(
        x=f"characters read before {foreign}",
        y=f"bits per character {foreign}",
        chance=4.5,
        curves=[
            Curve(
                x=CONTEXTS,
                y=[2 + 2 / k + run / 10 for k in CONTEXTS],
                error=[0.05] * 13,
                count=[300] * 13,
            )
        ],
        panels=[
            ProbeResult(
                title=f"after training {foreign}",
                x="lag",
                y="norm",
                log_y=True,
                curves=[
                    Curve(
                        name=f"layer {layer} {foreign}",
                        x=CONTEXTS,
                        y=[layer / k**2 for k in CONTEXTS],
                    )
                    for layer in (1, 2)
                ],
            ),
            ProbeResult(
                title="accuracy",
                x="distance",
                y="share",
                log_x=False,
                curves=[Curve(x=[1, 2, 3], y=[0.5, None, -0.2])],
            ),
        ],
        numbers=[
            ScalarResult(
                name="lost beyond 64",
                value=0.02253 + run / 100,
                unit="bits per character",
                low=-0.0047,
                high=0.0487,
            ),
            ScalarResult(name="half", value=None, unit="steps", lower_bound=4096, base_rate=0.5),
        ],
        notes=[ShareKept(1, f"f {foreign}")],
    )


def probes_report(foreign: str = "", runs: int = 4) -> ProbesReport:
    """Return three probes of runs, two of a cell."""
    names = [f"run-{number}{foreign}" for number in range(runs)]
    documentation = ProbeDocumentation(
        question=f"Question it is. {foreign}",
        protocol=f"Protocol it is. {foreign}",
        unit=f"Unit it is. {foreign}",
        chance=f"Chance it is. {foreign}",
        source=f"Source it is. {foreign}",
    )
    text = ProbedText(
        corpus_sha256="ab" * 32,
        text_sha256="cd" * 32,
        split="test",
        characters=12_000,
        vocabulary_kind="chars",
    )

    def summary(outcomes: dict[str, Outcome]) -> ProbeSummary:
        return ProbeSummary(
            documentation=documentation,
            seconds=dict.fromkeys(outcomes, 1.5),
            outcomes=outcomes,
        )

    reach = ProbeResult(
        x="k",
        y="lost",
        curves=[Curve(x=CONTEXTS, y=CONTEXTS)],
        numbers=[
            ScalarResult(
                name="order matters up to", value=96.0, unit="characters", low=64.2, high=128.4
            )
        ],
    )
    return ProbesReport(
        format=FORMAT_VERSION,
        charlm="1",
        command=f"charlm probe {foreign}",
        text=text,
        runs=tuple(
            ProbedRun(
                name=name,
                path=name,
                cell=("gru", f"cell{foreign}")[number // 2 % 2],
                seed=number,
                num_layers=1,
                hidden_size=100,
                parameters=20_000,
                state_size=100,
                bits_per_char=2.0 if number else None,
                weights_sha256="ef" * 32,
                step=100,
                text=text,
            )
            for number, name in enumerate(names)
        ),
        probes={
            "context-replacement": summary(
                {name: Measured(probe_result(at, foreign)) for at, name in enumerate(names)}
            ),
            "context-shuffle": summary({name: Measured(reach) for name in names}),
            "closing-delimiters": summary(
                {name: NotApplicable(TooFewClosers(12, 200)) for name in names}
            ),
        },
    )


def task_result(foreign: str = "") -> TaskComparisonResult:
    """Return three cells on a task: one solves all lengths, one some, one none."""
    cells = ["gru", "lstm", f"{foreign.replace('/', '')}cell.py:MyCell"]

    def level(solved: int, number: int, length: int) -> LevelSummary:
        tried = [seed < solved + 1 for seed in range(3)]
        return LevelSummary(
            length=length,
            num_survived=solved,
            num_seeds=3,
            ci_low=solved / 5,
            ci_high=1 - (3 - solved) / 5,
            num_attempted=sum(tried),
            num_diverged=0,
            steps=tuple(500 + 10 * length if seed < solved else None for seed in range(3)),
            accuracy=tuple(
                0.5 + solved / 6 + seed / 100 if tried[seed] else None for seed in range(3)
            ),
            loss=tuple(0.1 if is_tried else None for is_tried in tried),
            extrapolation={
                factor: tuple(0.3 + number / 10 if is_tried else None for is_tried in tried)
                for factor in "24"
            },
        )

    solved = ((3, 3, 3, 2), (3, 2, 0, 0), (0, 0, 0, 0))
    rows = tuple(
        TaskRow(
            name=cell,
            hidden_size=100,
            num_layers=1,
            parameters=20_000,
            relative_error=0.01,
            state_size=100,
            flops_per_character=40_000,
            learning_rate=0.005,
            seeds=(0, 1, 2),
            max_solved_length=longest,
            max_solved_length_per_seed=(longest,) * 3,
            levels=tuple(
                level(seeds, number, length)
                for seeds, length in zip(solved[number], LENGTHS, strict=True)
            ),
        )
        for number, (cell, longest) in enumerate(zip(cells, (100, 20, 0), strict=True))
    )
    text = f"so {foreign}"
    report = TaskReport(
        format=FORMAT_VERSION,
        charlm="1",
        task=TaskDocumentation(
            name=text,
            summary=text,
            source=text,
            question=text,
            protocol=text,
            length=text,
            oracle=text,
            chance=text,
        ),
        chance=tuple(
            LengthChance(length=length, loss=1 / length, accuracy=0.125, unbound_accuracy=0.344)
            for length in LENGTHS
        ),
        solved_accuracy=0.99,
        solved_relative_loss=None,
        validation_sequences=256,
        test_sequences=1024,
        lengths=LENGTHS,
        matching=MATCHING,
        settings=example_settings(foreign),
        rows=rows,
        pairs=(TaskPair(length=100, cell=cells[2], other="gru", p=0.4, p_holm=0.8),),
        smallest_p=0.1,
    )
    timing = TimingReport(
        format=FORMAT_VERSION,
        command=f"charlm tasks compare copy {foreign}",
        cells=dict.fromkeys(cells, CellTiming(seconds_per_million=None, minutes=1.5)),
    )
    return TaskComparisonResult(report=report, timing=timing)


def inspection_report(foreign: str = "", survey: bool = True) -> InspectionReport:
    """Return an inspected GRU of two layers, on a text with an unknown and a control character."""
    tokens = [*"The cat\tsees", "\n", "é", "\x1b", "\u202e"]
    count = len(tokens)
    waves = [math.sin(number) for number in range(count)]
    traces = [
        ActivationTrace(variable="h", description=f"state {foreign}", kind="signed", values=waves),
        ActivationTrace(
            variable="z",
            description="update gate",
            kind="gate",
            values=[abs(value) for value in waves],
        ),
    ]
    features = [
        FeatureUnit(
            feature="bracket depth",
            layer=2,
            unit=3,
            variable="h",
            selection_correlation=0.9,
            heldout_correlation=-0.8,
        )
    ]
    saturation = [
        GateSaturation(
            layer=layer,
            variable="z",
            description="update gate",
            closed=[0.1, 0.6, 0.9],
            open=[0.0, 0.3, 0.05],
        )
        for layer in (1, 2)
    ]
    return InspectionReport(
        run=f"run {foreign}",
        cell=f"gru {foreign}",
        citation=f"Chung et al. (2014) {foreign}",
        equations=[
            LayerEquations(
                layers=[1, 2],
                docstring="h = (1 - z) h + z g    state\n\nProse about the cell " + foreign,
            )
        ],
        weights_sha256="ab" * 32,
        text=InspectedText(source="file", path=f"book.txt {foreign}", is_truncated=True),
        vocabulary_kind="chars",
        protocol="one-stream",
        tokens=tokens,
        is_unknown=[token == "é" for token in tokens],
        bits=[8.0 * number / count for number in range(count)],
        survey=UnitSurvey(
            tokens={"valid": 1000, "test": 2000},
            feature_units=features,
            missing_features=["inside a quote", "indentation"],
            unfollowed_features=["end of a word"],
            saturation=saturation,
        )
        if survey
        else None,
        units=[
            UnitTrace(layer=2, unit=3, retention=None, traces=traces),
            UnitTrace(layer=1, unit=1, retention=math.exp(-1 / 64), traces=traces[:1]),
        ],
    )
