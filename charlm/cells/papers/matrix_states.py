"""Papers of state spaces, and of cells whose state is a matrix."""

from charlm.cells.papers.paper import Paper

PAPERS: dict[str, tuple[Paper, ...]] = {}
