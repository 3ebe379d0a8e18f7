"""Numbers that probes measured, in words."""

from charlm.results.probes import ScalarResult


def describe_remark(number: ScalarResult) -> str:
    """Return the remark on a number: that it is beyond the measured range, and its note."""
    beyond = ""
    if number.lower_bound is not None:
        beyond = f"more than {number.lower_bound:,.0f}"
        if number.value is not None:
            beyond = f"interval up to {beyond}"
    return "; ".join(part for part in (beyond, number.note) if part)
