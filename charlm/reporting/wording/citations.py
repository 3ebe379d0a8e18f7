"""Papers of cells in a sentence."""

from charlm.cells.papers import PAPERS, Paper


def short_citation(paper: Paper) -> str:
    """Return authors and year: "Cho et al. 2014"."""
    names = [author.partition(",")[0] for author in paper.authors.split(" and ")]
    if len(names) > 2:
        return f"{names[0]} et al. {paper.year}"
    return f"{' & '.join(names)} {paper.year}"


def cite_cell(cell: str) -> str:
    """Return a cell with its papers: "gru (Cho et al. 2014)"; its name alone if it has none."""
    papers = PAPERS.get(cell, ())
    return f"{cell} ({'; '.join(map(short_citation, papers))})" if papers else cell
