"""Memory profiles on a terminal: a row per run or cell, or its numbers below each other."""

from collections.abc import Sequence

from charlm.console import fold, print_result
from charlm.reporting.formatting import format_number
from charlm.reporting.terminal.answer_table import align, short_name
from charlm.reporting.terminal.tables import line_width, print_paragraphs, text_width
from charlm.reporting.wording.memory_profile import (
    Profile,
    describe_aspects,
    entries_by_aspect,
    explain_profile,
    format_share,
    format_value,
    profile_table,
)


def print_memory_profile(
    profile: Profile, head: str, noun: str, remarks: Sequence[str] = ()
) -> None:
    """Print the place of each run between chance and ceiling in each part that was measured.

    Args:
        profile: What runs, or cells, remember; nothing is printed if it is empty.
        head: Head of their names.
        noun: Name of a token.
        remarks: Sentences after the explanation.
    """
    if not profile:
        return
    print_result("")
    print_paragraphs([" ".join([f"memory profile: {explain_profile(profile)}", *remarks])])
    print_result("")
    print_result("\n".join(profile_lines(profile, head, line_width())))
    print_result("")
    for aspect, text in describe_aspects(profile, noun):
        print_result("\n".join(fold(f"{aspect:<9} {text}", text_width(), " " * 10)))


def profile_lines(profile: Profile, head: str, width: int) -> list[str]:
    """Return a row per run if the width allows it, else the rows of each part below its name."""
    heads, rows = profile_table(profile, head)
    names = [short_name(row[0]) for row in rows]
    table = align(
        [heads, *([name, *row[1:]] for name, row in zip(names, rows, strict=True))], left={0}
    )
    if max(map(len, table)) <= width:
        return [table[0], "─" * max(map(len, table)), *table[1:]]
    stacked: list[Sequence[str]] = [("", "share, %", "value", "chance", "ceiling")]
    titles: dict[int, str] = {}  # by the number of the row that follows
    for aspect, own in entries_by_aspect(profile).items():
        titles[len(stacked)] = f"{aspect}: {next(iter(own.values())).unit}"
        stacked += [
            (
                f"  {short_name(name)}",
                format_share(entry, has_interval=False),
                format_value(entry),
                format_number(entry.chance),
                format_number(entry.ceiling),
            )
            for name, entry in own.items()
        ]
    lines = []
    for number, line in enumerate(align(stacked, left={0})):
        lines += [titles[number]] if number in titles else []
        lines.append(line)
    return lines
