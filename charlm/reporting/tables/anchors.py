"""Published numbers beside ours, as a table for a terminal and as a page of Markdown."""

import msgspec

from charlm.reporting.formatting import pluralize
from charlm.reporting.tables.markdown import escape_markdown, paragraph, render_markdown
from charlm.reporting.tables.table import Group, Table
from charlm.reporting.wording.machine import describe_machine
from charlm.results.reproduction import AnchorResult, ClaimResult, ReproductionReport

HEADS = ("number", "published", "ours", "wanted", "met")
TEXT_COLUMNS = frozenset({0, 2, 3, 4})
INTRODUCTION = """\
Numbers that others have published, measured again. Ours is the median of the seeds, and the range
of all of them in brackets: of n seeds it contains the median of all possible seeds with a
probability of 1 - 2^(1-n), so 75 % of three. A number that is not met stays in the table.
"""


def format_number(value: float | None) -> str:
    """Return a number with as many digits as a table of losses and shares needs."""
    if value is None:
        return "diverged"
    if value != 0 and abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}".rstrip("0").rstrip(".") if value else "0"


def our_number(claim: ClaimResult) -> str:
    """Return the median of our numbers with their range, or why there is none."""
    if not claim.values:
        return "-"
    if any(value is None for value in claim.values):
        return ", ".join(map(format_number, claim.values))
    values = sorted(value for value in claim.values if value is not None)
    middle = len(values) // 2
    median = values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
    if len(values) == 1:
        return format_number(median)
    return f"{format_number(median)} ({format_number(values[0])} to {format_number(values[-1])})"


def wanted(claim: ClaimResult) -> str:
    """Return what ours must be."""
    if claim.criterion == "near":
        return f"± {format_number(claim.bound)}"
    return f"{claim.criterion} {format_number(claim.bound)}"


def claim_rows(anchor: AnchorResult) -> list[tuple[str, ...]]:
    """Return a row per number."""
    verdicts = {True: "yes", False: "no", None: "-"}
    return [
        (
            claim.name,
            "-" if claim.published is None else format_number(claim.published),
            our_number(claim),
            wanted(claim),
            verdicts[claim.met],
        )
        for claim in anchor.claims
    ]


def describe_seeds(anchor: AnchorResult) -> str:
    """Return how many seeds ours has, and whether that makes an interval."""
    seeds = max(len(claim.values) for claim in anchor.claims)
    if not anchor.is_random:
        return "No seed has an influence"
    return "One seed, so no interval" if seeds == 1 else pluralize(seeds, "seed")


def anchors_table(report: ReproductionReport) -> Table:
    """Return the table of all anchors, one group for each."""
    groups = [
        Group(f"{anchor.name}: {anchor.title}", claim_rows(anchor)) for anchor in report.anchors
    ]
    return Table("anchors", summary(report), HEADS, groups, TEXT_COLUMNS)


def summary(report: ReproductionReport) -> str:
    """Return how many numbers are met."""
    claims = [claim for anchor in report.anchors for claim in anchor.claims]
    measured = [claim for claim in claims if claim.met is not None]
    met = sum(bool(claim.met) for claim in measured)
    machines = sorted(used_machines(report))
    if len(machines) > 1:
        machines = [f"{len(machines)} machines or versions: each anchor states its own"]
    return (
        f"{met} of {pluralize(len(measured), 'number')} that were measured are met; "
        f"{len(claims) - len(measured)} were not measured."
        + "".join(f" {machine}." for machine in machines)
    )


def used_machines(report: ReproductionReport) -> set[str]:
    """Return the machines of all anchors that were measured, in words."""
    return {machine for anchor in report.anchors if (machine := anchor_machine(anchor))}


def anchor_machine(anchor: AnchorResult) -> str:
    """Return the machine of an anchor in words; empty if it was not measured."""
    if anchor.environment is None:
        return ""
    environment = msgspec.to_builtins(anchor.environment)
    return describe_machine({name: str(value) for name, value in environment.items()})


def own_machine(anchor: AnchorResult, report: ReproductionReport) -> str:
    """Return a sentence on the machine of an anchor, if not all anchors have the same."""
    machine = anchor_machine(anchor)
    return f"Measured on: {machine}." if machine and len(used_machines(report)) > 1 else ""


def render_anchors(report: ReproductionReport) -> str:
    """Return docs/anchors.md."""
    parts = ["# Published numbers, measured again", INTRODUCTION, paragraph(summary(report))]
    for anchor in report.anchors:
        table = Table(anchor.name, "", HEADS, [Group("", claim_rows(anchor))], TEXT_COLUMNS)
        minutes = sum(claim.seconds for claim in anchor.claims) / 60
        facts = [
            f"{anchor.source}. In {anchor.unit}.",
            f"Published: {anchor.published_setting}.",
            f"Ours: {anchor.our_setting}.",
        ]
        if anchor.known and any(claim.met is False for claim in anchor.claims):
            facts.append(f"Of what is not met: {anchor.known}.")
        if anchor.text:
            facts.append(
                f"Text: {anchor.text}, {anchor.text_source}, SHA-256 {anchor.text_sha256}."
            )
        if anchor.not_measured:
            facts.append(f"Not measured: {anchor.not_measured}.")
        else:
            facts.append(f"{describe_seeds(anchor)}, {minutes:.1f} minutes of training.")
        if machine := own_machine(anchor, report):
            facts.append(machine)
        parts.append(f"## {escape_markdown(anchor.title)}")
        parts.append(f"    charlm reproduce {anchor.name}")
        parts.append(render_markdown(" ".join(facts), [table]).strip())
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"
