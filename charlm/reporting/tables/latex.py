r"""LaTeX of text and tables, in ASCII: foreign text cannot become a command.

Tables need the package booktabs and no other.
"""

import re
import unicodedata
from collections.abc import Sequence

from charlm.console import escape_control_characters
from charlm.reporting.tables.table import Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    '"': r"{\char34}",
    "`": r"{\char96}",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "…": r"\ldots{}",
    "’": "'",
    "‘": "`",
    "“": "``",
    "”": "''",
    "ß": r"{\ss}",
    "ø": r"{\o}",
    "Ø": r"{\O}",
    "ł": r"{\l}",
    "Ł": r"{\L}",
    "æ": r"{\ae}",
    "Æ": r"{\AE}",
}
ACCENTS = {  # combining mark -> command
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
NEGATIVE = re.compile(r"(?<![\w.)])-(?=[\d.])")  # a sign, not a hyphen
LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')")  # TeX prints -- as a dash, '' as a quote


def escape_latex(text: str) -> str:
    """Return LaTeX that prints this text; a letter that TeX cannot print becomes U+0416."""
    text = unicodedata.normalize("NFC", escape_control_characters(text))
    parts = LIGATURE.split(NEGATIVE.sub("−", text))
    return "{}".join("".join(map(_escape_character, part)) for part in parts)


def _escape_character(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if character.isascii():
        return character
    letter, *marks = list(unicodedata.normalize("NFD", character))
    if len(marks) == 1 and marks[0] in ACCENTS and letter.isascii() and letter.isalpha():
        command = ACCENTS[marks[0]]
        space = " " if command.isalpha() else ""
        return f"{{\\{command}{space}{letter}}}"
    return f"U+{ord(character):04X}"


def escape_prose(text: str) -> str:
    """Return LaTeX of a sentence, with a thin space before a percent sign."""
    return escape_latex(text).replace(r" \%", r"\,\%")


def render_latex(tables: Sequence[Table], version: str) -> str:
    """Return all tables as LaTeX.

    Args:
        tables: Tables, each of which becomes a float with a label.
        version: Version of charlm, for the comment at the top.
    """
    start = f"% Tables by charlm {escape_latex(version)}. They need \\usepackage{{booktabs}}.\n"
    return "\n".join([start, *map(_render_table, tables)])


def _render_table(table: Table) -> str:
    columns = "".join(
        "l" if number in table.text_columns else "r" for number in range(len(table.heads))
    )
    lines = [
        r"\begin{table}",
        r"  \centering",
        f"  \\caption{{{escape_prose(table.caption)}}}",
        f"  \\label{{tab:charlm-{table.name}}}",
        f"  \\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
        r"    \toprule",
        _row(table.heads),
        r"    \midrule",
    ]
    for number, group in enumerate(table.groups):
        if number:
            lines.append(r"    \addlinespace")
        if group.title:
            title = escape_prose(group.title)
            lines.append(f"    \\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\\emph{{{title}}}}} \\\\")
        lines += map(_row, group.rows)
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    r"""Return a row; \\ of the row before would read * or [ at its beginning as its argument."""
    first, *rest = map(escape_prose, cells)
    return f"    {'{}' if first.startswith(('[', '*')) else ''}{' & '.join([first, *rest])} \\\\"
