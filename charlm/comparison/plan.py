"""Comparison plan: everything that a comparison will do, determined before the first run."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import msgspec

from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import (
    BudgetMatch,
    cell_configs,
    match_budget,
)
from charlm.comparison.cell_properties import choose_reference, linear_beside_others
from charlm.comparison.directory import save_stdin
from charlm.comparison.entries import Entry, PlannedRun, plan_runs, steps_of
from charlm.comparison.request import (
    BRACKET_BRANCH,
    DEFAULT_CHARACTERS,
    TRANSFORMER,
    ComparisonRequest,
)
from charlm.comparison.sample_size import check_sample_size
from charlm.comparison.search import SearchSettings
from charlm.comparison.size_check import check_sizes
from charlm.comparison.time_budget import characters_in_minutes
from charlm.comparison.time_matching import match_step_time
from charlm.comparison.transformer_baseline import transformer_config
from charlm.config import Config, option_name, validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.errors import ConfigError
from charlm.execution.executor import Execution, LocalExecutor
from charlm.models.build import select_kernel
from charlm.models.cost import count_parameters_and_state
from charlm.recipes import apply_recipe
from charlm.results.comparison_plan import Matching
from charlm.results.text import CorpusRecord
from charlm.results.verdicts import InsufficientData
from charlm.settings.values import Setting, parse_branches
from charlm.testing.trusted_cells import load_and_check_custom_cells

log = logging.getLogger("charlm")

LOOKS = 5  # validations of each run
MIN_BRANCHED_STEPS = 40  # shorter runs have no branches, unless these are given
STEP_BUDGETS = ("max_steps", "epochs")  # resolved into characters, which all runs share


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan:
    """Everything that a comparison will do, as far as it is known before the first run.

    Attributes:
        request: What is compared.
        corpus: The text.
        texts: Its sources, as jobs get them.
        entries: Cells in the order of the request, then the Transformer.
        reference: Label of the cell that the others are compared with.
        matching: What all cells have in common.
        characters: Characters that each run reads.
        search: The search of every run; None without tuning.
        insufficient: Why there can be no verdict; None if there can be one.
        linear_cells: Cells linear in their state because of which all are in residual blocks.
        bare_linear_cells: Cells linear in their state that are bare beside others, as requested.
    """

    request: ComparisonRequest
    corpus: Corpus
    texts: tuple[str, ...]
    entries: tuple[Entry, ...]
    reference: str
    matching: Matching
    characters: int
    search: SearchSettings | None = None
    insufficient: InsufficientData | None = None
    linear_cells: tuple[str, ...] = ()
    bare_linear_cells: tuple[str, ...] = ()


def plan_comparison(
    request: ComparisonRequest, execution: Execution, *, writes: bool = True
) -> ComparisonPlan:
    """Read the text, choose the size of every entry, and plan its runs; train nothing.

    Custom cells are loaded and checked: their files are executed.

    Args:
        request: What is compared.
        execution: Where jobs will run.
        writes: Whether measured sizes and standard input may be written to its directory.

    Raises:
        CellCheckError: A custom cell fails a required check.
        ConfigError: Sizes cannot be matched, or a cell does not have the kernel.
    """
    load_and_check_custom_cells(request.cells, compared=True)
    texts = save_stdin(request.texts, execution.directory) if writes else request.texts
    linear = linear_beside_others(request.cells)
    settings = request.base_settings
    if linear and "block" not in settings:
        settings["block"] = "residual"
    corpus = load_corpus(texts, validate_config(settings), execution.progress)
    match = _match_cells(request, settings, corpus, execution, writes=writes)

    def entries_with(characters: int) -> tuple[Entry, ...]:
        return plan_entries(
            request,
            settings,
            match,
            corpus.record,
            corpus.vocabulary.size,
            characters,
            execution.directory,
        )

    if request.minutes:
        characters = characters_in_minutes(
            request, entries_with(DEFAULT_CHARACTERS), corpus, execution, writes=writes
        )
    else:
        characters = budget_in_characters(
            settings, request.cells, len(corpus.stored_split("train"))
        )
    entries = entries_with(characters)
    if isinstance(execution.executor, LocalExecutor):
        for entry in entries:
            _check_kernel(entry.runs[0].config, execution.executor.device)
    steps = {run.max_steps for entry in entries for run in entry.runs}
    return ComparisonPlan(
        request=request,
        corpus=corpus,
        texts=texts,
        entries=entries,
        reference=cell_label(request.reference or choose_reference(request.cells)),
        matching=match.matching(characters, steps.pop() if len(steps) == 1 else None),
        characters=characters,
        search=request.search,
        insufficient=check_sample_size(
            request.seeds, len(corpus.unit_edges("test")) - 1, corpus.unit_kind("test")
        ),
        linear_cells=linear if "block" not in request.settings else (),
        bare_linear_cells=linear if settings.get("block", "none") == "none" else (),
    )


def _match_cells(
    request: ComparisonRequest,
    settings: Mapping[str, Setting],
    corpus: Corpus,
    execution: Execution,
    *,
    writes: bool,
) -> BudgetMatch:
    vocabulary_size = corpus.vocabulary.size
    if request.match != "time":
        match = match_budget(
            settings, request.cells, request.params, vocabulary_size, request.match
        )
        if request.match == "params":
            check_sizes(match, settings, vocabulary_size)
        return match
    with execution.progress.counter("timing each cell") as count:
        return match_step_time(
            settings,
            request.cells,
            request.params,
            vocabulary_size,
            corpus.stored_split("train"),
            execution.executor.description,
            execution.directory,
            count,
            writes=writes,
        )


def budget_in_characters(
    settings: Mapping[str, Setting], cells: Sequence[str], train_length: int
) -> int:
    """Return the characters that each run reads, of whichever budget is given.

    Raises:
        ConfigError: Steps are given, and steps of two cells read different amounts.
    """
    config = validate_config(dict(settings))
    if config.characters:
        return config.characters
    if config.epochs:
        return max(1, round(config.epochs * train_length))
    if not config.max_steps:
        return DEFAULT_CHARACTERS
    sizes = {
        cell: apply_recipe(msgspec.structs.replace(config, cell=cell), 1, 1).batch_size
        for cell in cells
    }
    if len(set(sizes.values())) > 1:
        smallest, largest = (choose(sizes, key=lambda cell: sizes[cell]) for choose in (min, max))
        raise ConfigError(
            f"cannot compare by --max-steps: a step of {cell_label(smallest)} has "
            f"{sizes[smallest]} streams, one of {cell_label(largest)} {sizes[largest]}, so equal "
            "steps read different amounts. Try --characters, or --batch-size"
        )
    return config.max_steps * max(sizes.values()) * config.seq_len


def plan_entries(
    request: ComparisonRequest,
    settings: Mapping[str, Setting],
    match: BudgetMatch,
    corpus: CorpusRecord,
    vocabulary_size: int,
    characters: int,
    directory: Path,
) -> tuple[Entry, ...]:
    """Return the entries of a comparison: a pure function of its arguments.

    The Transformer is left out, with a warning, if no size has as many parameters.

    Args:
        request: What is compared.
        settings: Settings of all runs, before each cell has its recipe.
        match: Sizes.
        corpus: The text.
        vocabulary_size: Tokens.
        characters: That each run reads.
        directory: Directory of the comparison.
    """

    def runs_of(configs: Sequence[Config]) -> tuple[PlannedRun, ...]:
        resolved = [resolve_recipe(config, vocabulary_size, characters) for config in configs]
        if "branches" not in request.settings and steps_of(resolved[0]) < MIN_BRANCHED_STEPS:
            resolved = [msgspec.structs.replace(config, branches="") for config in resolved]
        if request.has_bracket:
            resolved = [_with_branch(config, BRACKET_BRANCH) for config in resolved]
        return plan_runs(resolved, corpus, vocabulary_size, directory)

    entries = []
    for cell in request.cells:
        configs = cell_configs(
            settings, cell, match.hidden_sizes[cell], request.seeds, request.first_seed
        )
        error = match.relative_errors[cell]
        entries.append(Entry(cell_label(cell), "cell", error, runs_of(configs)))
    if request.has_transformer:
        try:
            config, relative_error = transformer_config(
                settings, request.first_seed, match.parameters, vocabulary_size
            )
        except ConfigError as error:
            log.warning("no Transformer is trained as a baseline: %s", error)
        else:
            matched_error = relative_error if match.measure == "params" else None
            entries.append(Entry(TRANSFORMER, "transformer", matched_error, runs_of([config])))
    return tuple(entries)


def resolve_recipe(config: Config, vocabulary_size: int, characters: int) -> Config:
    """Return the config of a run that reads so many characters, with its cell's recipe.

    Raises:
        ConfigError: They are fewer than a step reads.
    """
    parameters, _ = count_parameters_and_state(config, vocabulary_size)
    config = apply_recipe(config, parameters, characters)
    config = msgspec.structs.replace(
        config, characters=characters, **dict.fromkeys(STEP_BUDGETS, 0)
    )
    steps = steps_of(config)
    if not steps:
        needed = config.batch_size * config.seq_len
        raise ConfigError(
            f"cannot train {cell_label(config.cell)} on {characters:,} characters: a step reads "
            f"{needed:,}. Try {option_name('characters')} {50 * needed} or more"
        )
    eval_every = config.eval_every or math.ceil(steps / LOOKS)
    return msgspec.structs.replace(config, eval_every=eval_every)


def _with_branch(config: Config, branch: str) -> Config:
    """Return a config with one more branch, if it has branches at all."""
    if not config.branches:
        return config
    branches = parse_branches(config.branches)
    merged = sorted({*branches, Fraction(branch)})
    return msgspec.structs.replace(config, branches=",".join(map(str, merged)))


def _check_kernel(config: Config, device: str) -> None:
    """Raise ConfigError if the cell does not have the kernel that was requested."""
    if config.kernel != "auto":
        select_kernel(config, device)
