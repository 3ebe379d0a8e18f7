"""charlm compare-cells, on a text."""

import sys
from typing import Any, NamedTuple

from charlm import console
from charlm.cells.names import cell_label
from charlm.comparison import search as tuning
from charlm.comparison.budget_matching import BudgetMatch
from charlm.comparison.plan import PlannedRun
from charlm.comparison.request import ComparisonOutcome, ComparisonRequest, validate_cells
from charlm.config import validate_config
from charlm.data.corpus import Corpus
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, run_jobs
from charlm.probes.batch import probe_comparison_runs
from charlm.testing.trusted_cells import load_and_check_custom_cells

KIND = "text"


def validate(asked: ComparisonRequest) -> None:
    """What times this machine, of others."""
    if asked.in_cluster and (asked.plan or asked.match == "seconds"):
        timed = "--dry-run" if asked.plan else "--match seconds"
        raise ConfigError(
            f"{timed} times the cells on this machine: leave --executor ray out of it"
        )
    validate_cells(asked)


def load_cells(asked: ComparisonRequest) -> None:
    """Loads the cells."""
    load_and_check_custom_cells(asked.cell_names, compared=True)


class ComparisonPlan(NamedTuple):
    """The text, what is equal on it, and what is done there."""

    texts: list[str]  # by name
    corpus: "Corpus"
    footing: "BudgetMatch"
    max_steps: int
    planned: "list[PlannedRun]"  # the run of every cell and seed, as it is without its trials
    transformer_runs: "list[PlannedRun]"  # the Transformer's
    runs_by_purpose: "dict[str, list[PlannedRun]]"  # all that will be done, by what it is for

    @property
    def tuning_targets(self) -> "dict[str, PlannedRun]":
        """What it is called -> one of its runs, whose settings are searched."""
        from charlm.comparison.transformer_reference import REFERENCE_NAME

        names = {cell_label(one.config.cell): one for one in self.planned}
        return (
            {**names, REFERENCE_NAME: self.transformer_runs[0]} if self.transformer_runs else names
        )


def plan_comparison(work: Execution, asked: ComparisonRequest) -> ComparisonPlan:
    """Reads the text and finds sizes that are equal; begins nothing."""
    from charlm.comparison import budget_matching, time_matching, transformer_reference
    from charlm.comparison.plan import plan_runs, save_stdin
    from charlm.comparison.verdicts import insufficient_data_reason
    from charlm.data.corpus import load_corpus
    from charlm.evaluation.blocks import block_edges
    from charlm.execution.jobs import LocalExecutor
    from charlm.models.build import select_kernel
    from charlm.reporting.terminal import progress
    from charlm.training.budget import resolve_max_steps

    texts = save_stdin(asked.corpus or ["python-docs"], work.directory)
    with progress.progress_counter("reading the text", work.log_every) as tick:
        text = load_corpus(texts, validate_config(asked.settings))
    read, symbols, ids = text.record, text.vocabulary.size, text.split("train")
    of = asked.settings, asked.cell_names, asked.parameters, symbols
    if asked.match == "seconds":
        with progress.progress_counter("timing each cell", work.log_every) as tick:
            footing = time_matching.match_step_time(
                *of, ids, work.engine.description, work.directory, tick
            )
    else:
        footing = budget_matching.match_budget(*of, asked.match)
    planned = plan_runs(asked.settings, asked.seeds, footing, read, symbols, work.directory)
    transformer_runs = []
    if asked.transformer:
        transformer_runs = transformer_reference.plan_transformer_runs(
            *(asked.settings, asked.seeds, asked.parameters, read, symbols, work.directory),
            console.print_message,
        )
    if why := insufficient_data_reason(asked.seeds, len(block_edges(len(text.split("test")))) - 1):
        console.print_message(f"note: there can be no verdict: {why}")
    if isinstance(work.engine, LocalExecutor) and planned[0].config.kernel != "auto":
        for one in planned[: len(asked.cell_names)]:  # of each cell: a kernel that cannot walk it
            select_kernel(one.config, work.engine.device)
    updates = resolve_max_steps(planned[0].config, ids)
    found = ComparisonPlan(texts, text, footing, updates, planned, transformer_runs, {})
    return found._replace(runs_by_purpose=runs_by_purpose(found, asked.search))


def runs_by_purpose(
    made: ComparisonPlan, search: tuning.SearchSettings | None
) -> "dict[str, list[PlannedRun]]":
    """All that will be done, by what it is for."""
    from charlm.comparison import transformer_reference
    from charlm.comparison import tuning as compare_tuning

    name, read = transformer_reference.REFERENCE_NAME, made.corpus.record
    if not search:
        return {
            "run": made.planned,
            name: transformer_reference.exclude_shared(made.transformer_runs, made.planned),
        }
    cells = {of: one for of, one in made.tuning_targets.items() if of != name}
    beside = {of: one for of, one in made.tuning_targets.items() if of == name}
    trials, chosen = compare_tuning.plan_trials(cells, search, made.max_steps, read)
    more, also = compare_tuning.plan_trials(beside, search, made.max_steps, read)
    planned, small = apply_chosen_settings(made, {**chosen, **also})
    apart = [
        *transformer_reference.exclude_shared(more, trials),
        *transformer_reference.exclude_shared(small, planned),
    ]
    return {"trial": trials, "run": planned, name: apart}


def apply_chosen_settings(
    made: ComparisonPlan, chosen: dict[str, dict[str, Any] | None]
) -> "tuple[list[PlannedRun], list[PlannedRun]]":
    """The cells' runs and the Transformer's with what was chosen for each."""
    from charlm.comparison import transformer_reference
    from charlm.comparison import tuning as compare_tuning

    read = made.corpus.record
    planned = [
        run
        for one in made.planned
        for run in compare_tuning.apply_chosen_settings(
            [one], chosen[cell_label(one.config.cell)], read
        )
    ]
    return planned, compare_tuning.apply_chosen_settings(
        made.transformer_runs, chosen.get(transformer_reference.REFERENCE_NAME), read
    )


def compare_on_text(work: Execution, asked: ComparisonRequest) -> ComparisonOutcome:
    """The runs, or only the plan of them."""
    from charlm.comparison.plan import initialize_comparison_dir

    of = plan_comparison(work, asked)
    initialize_comparison_dir(work.directory, KIND)
    return estimate_cost(work, of) if asked.plan else run_comparison(work, asked, of)


def estimate_cost(work: Execution, made: ComparisonPlan) -> ComparisonOutcome:
    """What the runs will take."""
    from charlm.comparison.cost_estimate import estimate_cost
    from charlm.execution.jobs import LocalExecutor
    from charlm.reporting.terminal import cost_estimate as plans
    from charlm.reporting.terminal import progress

    assert isinstance(work.engine, LocalExecutor)  # a plan for a cluster was refused
    with progress.progress_counter("timing each cell", work.log_every) as tick:
        plan = estimate_cost(
            made.runs_by_purpose, made.footing, made.corpus, work.directory, work.engine, tick
        )
    return ComparisonOutcome(plan, lambda: plans.print_cost_estimate(plan), "")


def run_comparison(
    work: Execution, asked: ComparisonRequest, made: ComparisonPlan
) -> ComparisonOutcome:
    """Does the runs, tuned and probed if so told."""
    from charlm.comparison import report as conclusion
    from charlm.comparison import transformer_reference
    from charlm.comparison import tuning as compare_tuning
    from charlm.comparison.plan import finished_runs, group_by_cell
    from charlm.comparison.verdicts import EQUIVALENCE_MARGIN
    from charlm.evaluation import baselines
    from charlm.reporting.terminal import comparison
    from charlm.reporting.terminal import tuning as tunings

    text, planned, small = made.corpus, made.planned, made.transformer_runs
    work, where = fit_to_machine(work, made)
    comparison.print_plan(
        planned, text, made.footing, where, work.directory, tuned=bool(asked.search)
    )
    comparison.print_transformer(small)
    beside = baselines.load_or_measure_baselines(
        text, work.directory, lambda name: console.print_message(f"measuring {name}")
    )
    tried = None
    if asked.search:
        tunings.print_search(tuning.describe_search(asked.search, made.max_steps))
        tried = compare_tuning.run_tuning(
            *(made.tuning_targets, asked.search, made.max_steps, text.record, text.vocabulary.size),
            lambda one: one.job(made.texts),
            lambda jobs: run_jobs(jobs, work),
        )
        planned, small = apply_chosen_settings(
            made, {name: one["chosen"]["settings"] for name, one in tried["cells"].items()}
        )
    jobs = [one.job(made.texts) for one in planned]
    run_jobs([*jobs, *transformer_reference.transformer_jobs(small, planned, made.texts)], work)
    if asked.transformer:
        beside.append(transformer_reference.summarize_transformer(small, tuned=bool(asked.search)))
    runs = finished_runs(planned)
    answers = probe_comparison_runs(runs, work) if asked.probe and runs else None
    footing = made.footing
    of = conclusion.ComparedRuns(
        group_by_cell(planned),
        {**footing.facts, "max_steps": made.max_steps},
        {cell_label(cell): residual for cell, residual in footing.relative_errors.items()},
    )
    judge = conclusion.VerdictSettings(
        cell_label(asked.baseline or asked.cell_names[0]), asked.margin or EQUIVALENCE_MARGIN
    )
    report = conclusion.build_report(of, judge, beside, tried)
    times = conclusion.build_timing_report(of.runs, ["charlm", *sys.argv[1:]])
    conclusion.write_reports(work.directory, of.runs, report, times, answers, console.print_message)

    def draw() -> None:
        comparison.print_report(report, times)
        if tried:
            tunings.print_chosen(tried)

    return ComparisonOutcome(report, draw, "report.html, report.json and every run")


def fit_to_machine(work: Execution, made: ComparisonPlan) -> tuple[Execution, str]:
    """So many side by side as fit into memory, and that in words; a disk that is too small ends
    here."""
    from charlm.comparison import cost_estimate
    from charlm.execution.jobs import LocalExecutor, describe_executor

    every = [one for some in made.runs_by_purpose.values() for one in some]
    whole = [one for one in every if not one.progress().status] or every
    cost_estimate.check_disk_space(
        work.directory, sum(cost_estimate.estimate_disk(one, made.corpus) for one in whole)
    )
    if not isinstance(work.engine, LocalExecutor):  # in a cluster each machine has what it has
        return work, describe_executor(work.engine)
    symbols = made.corpus.vocabulary.size
    needs = [
        cost_estimate.estimate_memory(one.config, symbols, work.engine.device) for one in whole
    ]
    engine, where = cost_estimate.fit_to_memory(work.engine, needs)
    return work._replace(engine=engine), where
