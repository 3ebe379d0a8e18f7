"""Report of a comparison on a task: how far each cell got, over seeds.

A curriculum ends at the first length that is not solved. So what is counted at a length is
survival: the seeds that solved it and every shorter one.
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, median_low

from scipy.stats import binomtest, fisher_exact

from charlm import __version__
from charlm.comparison.curricula import PlannedCurriculum
from charlm.comparison.entries import shared_settings
from charlm.comparison.environments import merge_environments
from charlm.comparison.task_plan import TaskComparisonPlan
from charlm.comparison.verdicts import holm_adjust
from charlm.config import FORMAT_VERSION, TEXT_ONLY_FIELDS
from charlm.results.tasks import (
    LengthChance,
    LevelResult,
    LevelSummary,
    PositionSummary,
    TaskPair,
    TaskReport,
    TaskRow,
)
from charlm.results.timing import CellTiming, TimingReport
from charlm.results.verdicts import MAX_PAIRED_CELLS
from charlm.tasks.base import TASKS, Task
from charlm.tasks.curriculum_files import load_level_results
from charlm.tasks.scoring import (
    SOLVED_ACCURACY,
    TEST_SEQUENCES,
    VALIDATION_SEQUENCES,
    score_oracle,
)

SECONDS_PER_MINUTE = 60


def build_task_report(plan: TaskComparisonPlan) -> TaskReport:
    """Return the report of finished curricula, best cell first.

    Cells are ordered by the lower median of the longest length that a seed solved, then by the
    number of solved lengths over all seeds.
    """
    task = plan.task
    configs = [curriculum.config for curriculum in plan.curricula]
    seeds = len(next(iter(plan.by_cell.values())))
    rows = [
        summarize_cell(name, curricula, plan.match.relative_errors[curricula[0].config.cell])
        for name, curricula in plan.by_cell.items()
    ]
    return TaskReport(
        format=FORMAT_VERSION,
        charlm=__version__,
        task=task.documentation,
        chance=tuple(length_chance(task, length) for length in plan.lengths),
        solved_accuracy=SOLVED_ACCURACY if task.is_deterministic else None,
        solved_relative_loss=None if task.has_auxiliary_targets else task.solved_relative_loss,
        validation_sequences=VALIDATION_SEQUENCES,
        test_sequences=TEST_SEQUENCES,
        lengths=plan.lengths,
        matching=plan.match.matching(None, configs[0].max_steps),
        settings=shared_settings(configs, without=(*TEXT_ONLY_FIELDS, "learning_rate")),
        rows=tuple(sorted(rows, key=ranking_key, reverse=True)),
        pairs=compare_survival(rows),
        smallest_p=fisher_p(0, seeds, seeds),
        measures=task.measures,
        environment=merge_environments(
            level.environment
            for curriculum in plan.curricula
            for level in load_level_results(curriculum.path, curriculum.lengths)
            if level.environment
        ),
    )


def compare_survival(rows: Sequence[TaskRow]) -> tuple[TaskPair, ...]:
    """Test at each length whether as many seeds of two cells survive to here.

    All pairs of at most four cells are tested, otherwise each cell against the first. Where all
    or none of the seeds of both survive, no result could be significant, and there is no test.

    Source: Fisher (1935), "The logic of inductive inference"; Holm (1979); Tarone (1990), "A
        modified Bonferroni method for discrete data", for leaving tests out.
    """
    paired = combinations(rows, 2)
    pairs = [pair for pair in paired if len(rows) <= MAX_PAIRED_CELLS or pair[0] is rows[0]]
    p = {
        (row.name, other.name, one.length): fisher_p(
            one.num_survived, two.num_survived, one.num_seeds
        )
        for other, row in pairs
        for one, two in zip(row.levels, other.levels, strict=True)
        if 0 < one.num_survived + two.num_survived < one.num_seeds + two.num_seeds
    }
    return tuple(
        TaskPair(length=length, cell=cell, other=other, p=p[cell, other, length], p_holm=corrected)
        for (cell, other, length), corrected in holm_adjust(p).items()
    )


def fisher_p(first: int, second: int, seeds: int) -> float:
    """Return Fisher's exact p value of two numbers out of as many seeds each."""
    table = [[first, seeds - first], [second, seeds - second]]
    return min(1.0, float(fisher_exact(table).pvalue))


def build_task_timing(plan: TaskComparisonPlan, command: str) -> TimingReport:
    """Return the wall-clock times of finished curricula.

    Args:
        plan: The comparison.
        command: Command line to record.
    """
    cells = {
        name: CellTiming(seconds_per_million=None, minutes=mean_minutes(curricula))
        for name, curricula in plan.by_cell.items()
    }
    return TimingReport(format=FORMAT_VERSION, command=command, cells=cells)


def summarize_cell(
    name: str, curricula: Sequence[PlannedCurriculum], relative_error: float
) -> TaskRow:
    """Return a row of the report.

    Args:
        name: Label of the cell.
        curricula: Curricula of the cell, one per seed.
        relative_error: Relative error of the matched budget.
    """
    first = curricula[0]
    results = [load_level_results(planned.path, planned.lengths) for planned in curricula]
    longest = tuple(
        max((level.length for level in levels if level.is_solved), default=0) for levels in results
    )
    return TaskRow(
        name=name,
        hidden_size=first.config.hidden_size,
        num_layers=first.config.num_layers,
        parameters=first.parameters,
        relative_error=relative_error,
        state_size=first.state_size,
        flops_per_character=first.flops_per_character,
        learning_rate=first.config.learning_rate,
        seeds=tuple(planned.config.seed for planned in curricula),
        # The lower median is a length of the curriculum for an even number of seeds, too.
        max_solved_length=median_low(longest),
        max_solved_length_per_seed=longest,
        levels=tuple(
            summarize_level(length, results, TASKS[first.task]) for length in first.lengths
        ),
    )


def summarize_level(
    length: int, results: Sequence[Sequence[LevelResult]], task: Task
) -> LevelSummary:
    """Return the results of all seeds of a cell at one length.

    A seed that stopped at a shorter length has not survived to this one.

    Args:
        length: The length.
        results: Levels of each seed.
        task: The task.
    """
    levels = [
        next((level for level in seed_levels if level.length == length), None)
        for seed_levels in results
    ]
    attempted = [level for level in levels if level is not None]
    num_survived = sum(level.is_solved for level in attempted)
    interval = binomtest(num_survived, len(levels)).proportion_ci(method="wilson")
    return LevelSummary(
        length=length,
        num_survived=num_survived,
        num_seeds=len(levels),
        ci_low=float(interval.low),
        ci_high=float(interval.high),
        num_attempted=len(attempted),
        num_diverged=sum(level.test is None for level in attempted),
        steps=tuple(level.steps if level and level.is_solved else None for level in levels),
        accuracy=tuple(level.test.accuracy if level and level.test else None for level in levels),
        loss=tuple(level.test.loss if level and level.test else None for level in levels),
        extrapolation={
            str(factor): tuple(
                level.extrapolation.get(str(factor)) if level else None for level in levels
            )
            for factor in task.test_multiples
        },
        measures={
            measure.name: tuple(
                level.measures.get(measure.name) if level else None for level in levels
            )
            for measure in task.measures
        },
        by_position=summarize_positions(levels),
    )


def summarize_positions(levels: Sequence[LevelResult | None]) -> tuple[PositionSummary, ...]:
    """Return the results by position of all seeds of a cell at one length; None: not attempted."""
    by_seed = [
        {score.position: score for score in level.by_position} if level else {} for level in levels
    ]
    return tuple(
        PositionSummary(
            position=position,
            accuracy=tuple(
                scores[position].accuracy if position in scores else None for scores in by_seed
            ),
            excess_loss=tuple(
                scores[position].loss - scores[position].oracle_loss if position in scores else None
                for scores in by_seed
            ),
        )
        for position in sorted({position for scores in by_seed for position in scores})
    )


def length_chance(task: Task, length: int) -> LengthChance:
    """Return the best scores without memory and with perfect memory at this length."""
    score = task.chance_score(length)
    return LengthChance(
        length=length,
        loss=score.loss,
        accuracy=score.accuracy,
        unbound_accuracy=task.unbound_accuracy(length),
        oracle=score_oracle(task, length, "test", TEST_SEQUENCES),
    )


def ranking_key(row: TaskRow) -> tuple[int, int]:
    """Return the key that rows are ordered by, largest first."""
    return row.max_solved_length, sum(level.num_survived for level in row.levels)


def mean_minutes(curricula: Sequence[PlannedCurriculum]) -> float:
    """Return the mean time that a curriculum spent in optimizer steps, in minutes."""
    seconds = [
        sum(level.seconds for level in load_level_results(planned.path, planned.lengths))
        for planned in curricula
    ]
    return fmean(seconds) / SECONDS_PER_MINUTE
