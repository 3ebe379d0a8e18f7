"""Bibliography of cells and of charlm, as BibTeX."""

import re
from collections.abc import Iterable, Sequence

from charlm import __version__
from charlm.cells.papers.catalog import PAPERS
from charlm.cells.papers.paper import Paper
from charlm.reporting.tables.latex import escape_latex

FIELDS = ("journal", "booktitle", "volume", "number", "pages", "doi")
INNER_CAPITAL = re.compile(r"\w+[A-Z]|[A-Z]+[A-Z]")  # a style would make it small
CHARLM = f"""@misc{{charlm,
  author = {{{{the charlm authors}}}},
  title = {{charlm: how well, and how far back, recurrent cells remember, at equal cost}},
  note = {{Software, version {__version__}}}
}}"""


def render_bibtex(cells: Sequence[str]) -> str:
    """Return an entry of charlm, and one of each paper of these cells; notes on other cells."""
    papers = cited_papers(cells)
    own = [cell for cell in cells if cell not in PAPERS]
    notes = [f"% {_comment(cell)}: charlm knows no paper of this cell." for cell in own]
    return "\n\n".join([CHARLM, *map(render_entry, papers), *notes]) + "\n"


def _comment(text: str) -> str:
    """Return text between entries, where BibTeX reads an entry after each @, % or not."""
    return escape_latex(text).replace("@", r"{\char64}")


def cited_papers(cells: Iterable[str]) -> list[Paper]:
    """Return the papers of cells, each once, in the order of the cells."""
    papers = {}
    for cell in cells:
        for paper in PAPERS.get(cell, ()):
            papers[paper.key] = paper
    return list(papers.values())


def render_entry(paper: Paper) -> str:
    """Return the entry of a paper."""
    kind = "article" if paper.journal else "inproceedings" if paper.booktitle else "misc"
    fields = {
        "author": escape_latex(paper.authors),
        "title": " ".join(map(_protect_capitals, escape_latex(paper.title).split(" "))),
        "year": str(paper.year),
    }
    for name in FIELDS:
        if value := getattr(paper, name):
            fields[name] = value.replace("-", "--") if name == "pages" else value
    if paper.arxiv:
        fields |= {"eprint": paper.arxiv, "archiveprefix": "arXiv"}
    lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{kind}{{{paper.key},\n{lines}\n}}"


def _protect_capitals(word: str) -> str:
    """Return a word of a title in braces, if a bibliography style would change it."""
    return f"{{{word}}}" if INNER_CAPITAL.search(word) else word
