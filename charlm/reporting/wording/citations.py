"""Papers of cells in a sentence."""

from charlm.cells.papers.catalog import PAPERS
from charlm.cells.papers.paper import Paper


def short_citation(paper: Paper) -> str:
    """Return authors and year: "Cho et al. 2014"."""
    names = [author.partition(",")[0] for author in paper.authors.split(" and ")]
    if len(names) > 2:
        return f"{names[0]} et al. {paper.year}"
    return f"{' & '.join(names)} {paper.year}"


def cite_cell(name: str, cell: str) -> str:
    """Return an entry with its cell, if that is not its name, and with the papers of the cell.

    So "gru (Cho et al. 2014)", "own (gru; Cho et al. 2014)", or a name alone.

    Args:
        name: Name of the entry.
        cell: Its cell, which alone decides the papers.
    """
    papers = map(short_citation, PAPERS.get(cell, ()))
    notes = [*([cell] if cell != name else []), *papers]
    return f"{name} ({'; '.join(notes)})" if notes else name
