"""Papers of further gated and structured recurrent cells whose state is a vector."""

from charlm.cells.papers.paper import Paper

PAPERS: dict[str, tuple[Paper, ...]] = {}
