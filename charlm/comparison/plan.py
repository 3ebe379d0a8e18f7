"""Comparison plan: everything that a comparison will do, determined before the first run."""

import logging
from dataclasses import dataclass
from pathlib import Path

from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import BudgetMatch, cell_configs, match_budget
from charlm.comparison.directory import save_stdin
from charlm.comparison.entries import Entry, plan_runs
from charlm.comparison.request import TRANSFORMER, ComparisonRequest
from charlm.comparison.search import SearchSettings
from charlm.comparison.time_matching import match_step_time
from charlm.comparison.transformer_baseline import transformer_configs
from charlm.comparison.verdicts import check_sample_size
from charlm.config import Config, validate_config
from charlm.data.corpus import Corpus, load_corpus
from charlm.errors import ConfigError
from charlm.evaluation.blocks import block_edges
from charlm.execution.executor import Execution, LocalExecutor
from charlm.models.build import select_kernel
from charlm.results.comparison import InsufficientData, Matching
from charlm.results.text import CorpusRecord
from charlm.testing.trusted_cells import load_and_check_custom_cells
from charlm.training.budget import resolve_max_steps

log = logging.getLogger("charlm")


@dataclass(frozen=True)
class ComparisonPlan:
    """Everything that a comparison will do, as far as it is known before the first run.

    Attributes:
        corpus: The text.
        texts: Its sources, as jobs get them.
        entries: Cells in the order of the request, then the Transformer.
        matching: What all cells have in common.
        max_steps: Optimizer steps of each run.
        search: The search that every entry gets; None without tuning.
        insufficient: Why there can be no verdict; None if there can be one.
    """

    corpus: Corpus
    texts: tuple[str, ...]
    entries: tuple[Entry, ...]
    matching: Matching
    max_steps: int
    search: SearchSettings | None
    insufficient: InsufficientData | None


def plan_comparison(request: ComparisonRequest, execution: Execution) -> ComparisonPlan:
    """Read the text, choose the size of every entry, and plan its runs; train nothing.

    Custom cells are loaded and checked: their files are executed.

    Raises:
        CellCheckError: A custom cell fails a required check.
        ConfigError: Sizes cannot be matched, or a cell does not have the kernel.
    """
    load_and_check_custom_cells(request.cells, compared=True)
    texts = save_stdin(request.texts, execution.directory)
    settings = request.base_settings
    corpus = load_corpus(texts, validate_config(settings), execution.progress)
    match = _match_cells(request, corpus, execution)
    entries = plan_entries(
        request, match, corpus.record, corpus.vocabulary.size, execution.directory
    )
    if isinstance(execution.executor, LocalExecutor):
        for entry in entries:
            _check_kernel(entry.runs[0].config, execution.executor.device)
    max_steps = resolve_max_steps(entries[0].runs[0].config, corpus.split("train"))
    return ComparisonPlan(
        corpus=corpus,
        texts=texts,
        entries=entries,
        matching=match.matching(max_steps),
        max_steps=max_steps,
        search=request.search,
        insufficient=check_sample_size(
            request.seeds, len(block_edges(len(corpus.split("test")))) - 1
        ),
    )


def _match_cells(request: ComparisonRequest, corpus: Corpus, execution: Execution) -> BudgetMatch:
    settings, vocabulary_size = request.base_settings, corpus.vocabulary.size
    if request.match != "time":
        return match_budget(settings, request.cells, request.params, vocabulary_size, request.match)
    with execution.progress.counter("timing each cell") as count:
        return match_step_time(
            settings,
            request.cells,
            request.params,
            vocabulary_size,
            corpus.split("train"),
            execution.executor.description,
            execution.directory,
            count,
        )


def plan_entries(
    request: ComparisonRequest,
    match: BudgetMatch,
    corpus: CorpusRecord,
    vocabulary_size: int,
    directory: Path,
) -> tuple[Entry, ...]:
    """Return the entries of a comparison: a pure function of its arguments.

    The Transformer is left out, with a warning, if no size has as many parameters.
    """
    settings, seeds = request.base_settings, request.seeds
    entries = []
    for cell in request.cells:
        configs = cell_configs(settings, cell, match.hidden_sizes[cell], seeds)
        runs = plan_runs(configs, corpus, vocabulary_size, directory)
        entries.append(Entry(cell_label(cell), "cell", match.relative_errors[cell], runs))
    if request.has_transformer:
        try:
            configs, relative_error = transformer_configs(
                settings, seeds, match.parameters, vocabulary_size
            )
        except ConfigError as error:
            log.warning("no Transformer is trained as a baseline: %s", error)
        else:
            runs = plan_runs(configs, corpus, vocabulary_size, directory)
            matched_error = relative_error if match.measure == "params" else None
            entries.append(Entry(TRANSFORMER, "transformer", matched_error, runs))
    return tuple(entries)


def _check_kernel(config: Config, device: str) -> None:
    """Raise ConfigError if the cell does not have the kernel that was requested."""
    if config.kernel != "auto":
        select_kernel(config, device)
