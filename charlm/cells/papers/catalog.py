"""Papers of each built-in cell."""

from charlm.cells.papers import gated, matrix_states, until_2024
from charlm.cells.papers.paper import Paper

# cell -> its papers, that of its docstring first
PAPERS: dict[str, tuple[Paper, ...]] = dict(
    sorted((until_2024.PAPERS | gated.PAPERS | matrix_states.PAPERS).items())
)
