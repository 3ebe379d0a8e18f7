"""Check of matched sizes: whether the vocabulary leaves parameters for the cells."""

from collections.abc import Mapping

from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import BudgetMatch, with_hidden_size
from charlm.config import validate_config
from charlm.errors import ConfigError
from charlm.models.cell_options import settings_for
from charlm.models.cost import count_parameters_and_state
from charlm.settings.values import Setting

MIN_HIDDEN_SIZE, USEFUL_HIDDEN_SIZE = 8, 64  # units: refused below the one, proposed: the other


def check_sizes(match: BudgetMatch, settings: Mapping[str, Setting], vocabulary_size: int) -> None:
    """Raise ConfigError if the vocabulary takes nearly all parameters."""
    smallest = min(match.hidden_sizes, key=lambda cell: match.hidden_sizes[cell])
    if match.hidden_sizes[smallest] >= MIN_HIDDEN_SIZE:
        return
    configs = [validate_config(settings_for(cell, settings)) for cell in match.hidden_sizes]
    needed = max(
        count_parameters_and_state(with_hidden_size(config, USEFUL_HIDDEN_SIZE), vocabulary_size)[0]
        for config in configs
    )
    step = 10 ** (len(str(needed)) - 2)
    raise ConfigError(
        f"cannot compare with {match.parameters:,} parameters: a vocabulary of "
        f"{vocabulary_size:,} symbols leaves room for {match.hidden_sizes[smallest]} "
        f"{cell_label(smallest)} units. Try --params {-(-needed // step) * step}, or a larger "
        "--min-char-frequency"
    )
