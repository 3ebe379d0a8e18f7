"""CSV whose cells no spreadsheet reads as a formula."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

from charlm.console import escape_control_characters

# Start of a formula, which some spreadsheets read also in wide characters, and where they are set
# to another separator, after that.
FORMULA = re.compile("(^|;)(?=\\s*[=+@\\-\uff1d\uff0b\uff20\uff0d])")
CsvValue = str | float | int | None


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[CsvValue]]) -> str:
    """Return a line of heads and the rows; None is an empty cell, numbers have all digits."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([_format_cell(value) for value in row])
    return text.getvalue()


def _format_cell(value: CsvValue) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        return repr(value)
    return FORMULA.sub(r"\1'", escape_control_characters(value))
