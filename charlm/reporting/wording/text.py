"""Names of tokens, texts and jobs in words."""

import math

from charlm.results.inspection import InspectedText
from charlm.results.jobs import JobProgress
from charlm.results.text import LeftOut, TextNote, TextOddity

ODDITIES: dict[TextOddity, str] = {
    "bom": "begins with a byte order mark: kept as a character",
    "crlf": "ends lines with CRLF: kept as two characters each",
    "cr": "ends lines with CR alone: kept, so it has no newline",
    "glued": "has no line end before the next file: its last line goes on there",
    "not_utf8": "is not UTF-8: the splits are cut in bytes",
    "no_text": "begins like an archive, a binary file or UTF-16: its bytes are read as they are",
}
COMPARED: dict[str, str] = {  # oddities of one of two texts
    "bom": "begin with a byte order mark",
    "crlf": "end lines with CRLF",
    "cr": "end lines with CR alone",
}
LEFT_OUT: dict[LeftOut, tuple[str, str]] = {  # one file, several files
    "archive": ("an archive", "archives"),
    "compressed": ("a compressed file", "compressed files"),
    "binary": ("a binary file", "binary files"),
    "encoding": ("a text that is not UTF-8", "texts that are not UTF-8"),
    "empty": ("an empty file", "empty files"),
    "hidden": ("a hidden file or folder", "hidden files or folders"),
}


def token_noun(vocabulary_kind: str) -> str:
    """Return what a token is called: character or byte."""
    return "byte" if vocabulary_kind == "bytes" else "character"


def describe_text_note(note: TextNote) -> str:
    """Return an oddity of a text in a sentence."""
    if note.kind == "verbatim":
        return (
            f"{note.value:.1%} of the test split stands verbatim in the training split "
            "(matches of 32 characters or more): this rewards memory of the training text"
        )
    if note.kind == "verbatim_unmeasured":
        return "the text is too long to look for verbatim copies of test text in the training text"
    if note.kind == "unlike_train":
        return (
            f"the test split is unlike the training split: {note.value:.2f} bits/char by its "
            f"frequencies of characters, {note.reference:.2f} by those of the test split itself"
        )
    if note.kind == "independent_lines":
        return (
            "the lines seem to be independent items: --split-by line shuffles them among the "
            "splits, and keeps identical ones in the same split"
        )
    if note.kind == "left_out" and note.reason:
        one, several = LEFT_OUT[note.reason]
        what = f"{note.files:,} {several}, such as" if note.files > 1 else f"{one},"
        return f"left out: {what} {note.source}"
    if note.kind == "unseen":
        names = ", ".join(map(ascii, note.characters))
        return (
            f"{note.value:,.0f} characters of {note.source} ({note.value / note.reference:.2%}) "
            "are not in the vocabulary of the run, "
            f"most of them {names}: each costs 20 bits more than the unknown token"
        )
    if note.compared == "lacking":
        return f"{note.source} does not {COMPARED[note.kind]}, as the text of the run does"
    others = f" (and {note.files - 1:,} other files)" if note.files > 1 else ""
    unlike = ", unlike the text of the run" if note.compared == "added" else ""
    return f"{note.source}{others} {ODDITIES[note.kind]}{unlike}"


def describe_text_origin(text: InspectedText) -> str:
    """Return where an inspected text is from."""
    if text.source == "test":
        return "the beginning of the test split"
    if text.source == "file":
        return f"the beginning of {text.path}" if text.is_truncated else text.path
    return "the given text" + (", its beginning" if text.is_truncated else "")


def describe_retention(retention: float | None) -> str:
    """Return the time constant of a constant retention; "" if the retention is a gate."""
    if retention is None:
        return ""
    if retention >= 1:
        return "It does not forget."
    time_constant = -1 / math.log(max(retention, 1e-9))
    return f"It forgets in about {time_constant:.3g} characters, always at the same rate."


def describe_job(progress: JobProgress) -> str:
    """Return the latest validation of a job; "" before the first."""
    if progress.length is not None:
        accuracy = "" if progress.accuracy is None else f", {progress.accuracy:.0%} correct"
        return f"length {progress.length}{accuracy}"
    if progress.bits is None:
        return ""
    return f"{progress.bits:.3f} bits" if progress.bits < 1000 else f"{progress.bits:.0e} bits"
