"""One paper, as a bibliography needs it."""

from typing import NamedTuple


class Paper(NamedTuple):
    """A paper; a field is empty if the paper has no such thing."""

    key: str  # in a bibliography
    authors: str  # each as "Last, First", with " and " between them
    title: str
    year: int
    journal: str = ""
    booktitle: str = ""  # of a conference; a preprint has neither
    volume: str = ""
    number: str = ""
    pages: str = ""
    doi: str = ""
    arxiv: str = ""  # identifier of the preprint
