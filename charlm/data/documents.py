"""Documents of a text: places at which the state of a model is reset to the initial one.

A document is a file, or ends with a separator. In the second case the tokens alone tell where one
begins, wherever reading starts: after each occurrence of the separator, also overlapping ones.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from charlm.data.vocabulary import TokenIds, Vocabulary
from charlm.errors import DataError
from charlm.settings.values import document_separator

Starts = NDArray[np.bool_]
CHECKED_AT_ONCE = 1 << 20  # tokens


class Ids(Protocol):
    """Ids of a text that can be sliced; what is sliced is read."""

    def __getitem__(self, index: slice, /) -> TokenIds:
        """Return the ids of a slice."""
        ...


class Documents(Protocol):
    """Rule that tells where documents begin."""

    def mark(self, ids: Ids, start: int, end: int) -> Starts:
        """Return which of ids[start:end] are the first of a document, (end - start,).

        Where the text itself begins is not marked, unless the rule tells so.
        """
        ...

    def span(self, ids: Ids, start: int) -> "Documents":
        """Return the rule for the ids from `start` on; ids: those that the rule is for now."""
        ...


class FileStarts(NamedTuple):
    """Documents that are files.

    Attributes:
        edges: Index of the first token of each file, sorted.
    """

    edges: NDArray[np.int64]

    def mark(self, ids: Ids, start: int, end: int) -> Starts:  # noqa: ARG002
        """Return which of ids[start:end] are the first of a file, (end - start,)."""
        marks = np.zeros(end - start, bool)
        first, last = np.searchsorted(self.edges, (start, end))
        marks[self.edges[first:last] - start] = True
        return marks

    def span(self, ids: Ids, start: int) -> "FileStarts":  # noqa: ARG002
        """Return the files of the ids from `start` on."""
        return FileStarts(self.edges - start)


class SeparatorStarts(NamedTuple):
    """Documents that end with a separator.

    Attributes:
        separator: Its token ids.
        parts: Index of the first token of each part of the text. No separator lies in two of them.
        early: Indices at which a document begins after a separator that begins before the ids.
    """

    separator: tuple[int, ...]
    parts: tuple[int, ...] = (0,)
    early: tuple[int, ...] = ()

    def mark(self, ids: Ids, start: int, end: int) -> Starts:
        """Return which of ids[start:end] follow a separator, (end - start,)."""
        length = len(self.separator)
        before = max(0, start - length)
        read = np.asarray(ids[before : max(before, end - 1)]).reshape(-1)
        marks = np.zeros(end - before, bool)
        places = len(read) - length + 1
        if places > 0:
            is_found = np.ones(places, bool)
            for offset, token in enumerate(self.separator):
                is_found &= read[offset : offset + places] == token
            marks[length : length + places] = is_found
        marks[[index - before for index in self.early if before <= index < end]] = True
        return marks[start - before :]

    def span(self, ids: Ids, start: int) -> "SeparatorStarts":
        """Return the rule for the ids from `start` on, with a separator in which they begin."""
        parts = tuple(first - start for first in self.parts if first > start)
        if start in self.parts:
            return SeparatorStarts(self.separator, (0, *parts))
        marks = self.mark(ids, start, start + len(self.separator))
        early = tuple(index for index in np.flatnonzero(marks).tolist() if index > 0)
        return SeparatorStarts(self.separator, parts, early)


def make_documents(
    setting: str, vocabulary: Vocabulary, sources: Sequence[Sequence[int]]
) -> Documents | None:
    """Return the rule of `--documents` for a text; None without documents.

    Args:
        setting: "none", "file", "line" or the separator.
        vocabulary: Vocabulary of the text.
        sources: Number of ids of each file of each part of the text.

    Raises:
        DataError: The vocabulary lacks a character of the separator.
    """
    if setting == "none":
        return None
    if setting == "file":
        lengths = (length for part in sources for length in part if length)
        return FileStarts(np.array(list(accumulate(lengths, initial=0))[:-1], np.int64))
    firsts = accumulate(map(sum, sources[:-1]), initial=0)
    return SeparatorStarts(separator_ids(setting, vocabulary), tuple(firsts))


def separator_ids(setting: str, vocabulary: Vocabulary) -> tuple[int, ...]:
    """Return the ids after which a document begins; () if no token tells that.

    Raises:
        DataError: The vocabulary lacks a character of the separator.
    """
    separator = document_separator(setting)
    if not separator:
        return ()
    ids = tuple(vocabulary.encode(separator))
    if vocabulary.unk_id in ids:
        raise DataError(
            f"cannot use --documents {separator!r}: the training split lacks a character of it, or "
            f"has it too rarely. Try {_other_separator(separator)}, or a smaller "
            "--min-char-frequency"
        )
    return ids


def check_documents(setting: str, documents: Documents | None, ids: Ids, length: int) -> None:
    """Check that a training split has at least two documents.

    Args:
        setting: Value of `Config.documents`.
        documents: The rule; None: there are none to check.
        ids: Ids of the split.
        length: Their number.

    Raises:
        DataError: It is a single one.
    """
    if documents is None:
        return
    for start in range(1, length, CHECKED_AT_ONCE):  # the first token begins one anyway
        if documents.mark(ids, start, min(start + CHECKED_AT_ONCE, length)).any():
            return
    separator = document_separator(setting)
    problem = f"does not have the separator {separator!r}" if separator else "is a single file"
    raise DataError(
        f"cannot reset the state at documents: the training split {problem}. Try "
        f"--documents none, a folder with --documents file, or {_other_separator(separator)}"
    )


def _other_separator(separator: str) -> str:
    """Return what to try in place of a separator that a text does not have."""
    if "\\" in separator:  # of a shell, which does not replace it by a line end
        return f"--documents $'{separator}', which bash reads as special characters"
    return "a separator that the text has"
