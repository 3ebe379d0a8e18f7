"""The rows of a table in words: the same on a terminal and in a page."""

from collections.abc import Sequence
from typing import Any

from charlm.config import describe_block, option_name
from charlm.reporting.formatting import format_count


def format_row(row: dict[str, Any], unit: str) -> dict[str, str]:
    """A cell of a comparison: what stands under which head."""
    mean, verdict = row[unit]["mean"], row["verdict"]
    apart, low, high = (verdict[key] for key in ("difference", "ci_low", "ci_high"))
    return {
        "cell": row["cell"],
        _per(unit): "-" if mean is None else f"{mean:.4f}",
        "to base": "-" if apart is None else f"{apart:+.3f}",
        "95 % interval": "-" if low is None else f"{low:+.3f}…{high:+.3f}",
        "verdict": verdict["verdict"],
        "params": format_count(row["parameters"]),
        "hidden_size": f"{row['hidden_size']}",
        "state": f"{row['state_size']}",
        "FLOPs": format_count(row["flops_per_character"]),
    }


def format_timing(times: dict[str, Any]) -> str:
    """The seconds of each cell, quickest first."""
    found = {cell: one["seconds_per_million"] for cell, one in times["cells"].items()}
    known = sorted((one, cell) for cell, one in found.items() if one is not None)
    told = ", ".join(f"{cell} {seconds:.3g}" for seconds, cell in known)
    return f"Seconds of updates for a million characters, where they were made: {told or '-'}."


def describe_comparison(report: dict[str, Any]) -> str:
    """What the runs had that were compared, and how they were scored."""
    settings, equal = report["settings"], report["equal"]
    scored = f"{report['protocol']} on {report['corpus']['scored']}"
    if report["differ"] is not None:
        return f"{scored}. {equal['told']}{describe_differences(report)}"
    off = ", ".join(f"{row['cell']} {row['residual']:+.2%}" for row in report["rows"])
    how = f"{describe_block(settings['block'])}, {scored}, {equal['max_steps']:,} updates, {describe_tuning(report)}"
    return f"{equal['told']}: {off}. {how[0].upper()}{how[1:]}"


def describe_differences(report: dict[str, Any]) -> str:
    """The settings that runs have not alike, which were there before."""
    said = [
        f"{option_name(name)} {', '.join(f'{format_setting(value)} ({cell})' for cell, value in of.items())}"
        for name, of in report["differ"].items()
    ]
    return f". They differ in {'; '.join(said)}" if said else ""


def describe_tuning(report: dict[str, Any]) -> str:
    """How the cells came by their settings."""
    rate = report["settings"].get("learning_rate")  # of none, where it is searched for each cell
    one = "" if rate is None else f"one learning rate {rate:g}, "
    if report["tuning"]:
        return one + ("the rest tuned for each cell" if one else "tuned for each cell")
    return one + "not tuned for each cell"


def describe_trials(tuning: dict[str, Any]) -> str:
    """How many there are, and what they cost."""
    number, cost = tuning["trials"], tuning["cost"]
    return (
        f"{number} trial{'s' if number > 1 else ''} of each cell, which cost {cost:.2g} times as "
        "much as one of its runs"
    )


def format_tuning_row(cell: str, found: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    """What was chosen for a cell of these settings: what stands under which head."""
    chosen = found["chosen"]
    lost = sum(None in one["bits"] for one in found["trials"])
    return {
        "cell": cell,
        **{name.replace("_", " "): format_setting(chosen["settings"].get(name)) for name in names},
        "trial": f"{chosen['number']}",
        "quick bits": "-" if chosen["bits"] is None else f"{chosen['bits']:.3f}",
        "diverged": f"{lost}",
    }


def format_setting(value: float | str | None) -> str:
    """None: the cell has no such setting."""
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else f"{value}"


def boundary_warnings(tuning: dict[str, Any]) -> list[str]:
    """A sentence for each cell whose best learning rate may lie beyond the space, or that no trial
    has tuned."""
    said = []
    for cell, found in tuning["cells"].items():
        bits = found["chosen"]["bits"]
        if bits is None or bits > tuning["uniform_bits"]:
            said.append(
                f"{cell}: not tuned, as no trial has learnt anything. Try lower learning "
                f"rates, with {'--lr-range' if 'learning_rate' in tuning['space'] else '--lr'}."
            )
        elif end := found["edge"]:
            low, high = tuning["space"]["learning_rate"]
            low, high = (low / 10, high) if end == "low" else (low, high * 10)
            said.append(
                f"{cell}: chosen at the edge of the space, a {end}er learning rate may be "
                f"better. Widen it with --lr-range {low:g}..{high:g}, or try more --trials."
            )
    return said


def describe_statistics(report: dict[str, Any]) -> str:
    """By what the words were found."""
    by, seeds = report["judged"], len(report["rows"][0]["seeds"])
    return (
        f"Base: {by['baseline']}. Differences are in pairs, of {_many(seeds, 'seed')} and "
        f"{_many(by['blocks'], 'block')} of text. Margin {by['margin']:g} bits, level "
        f"{100 * by['level']:g} % among all cells ({by['correction']})."
    )


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def power_notes(report: dict[str, Any]) -> list[str]:
    """What a conclusion would take, once for all cells that lack the same."""
    lacking: dict[str, list[str]] = {}
    for row in report["rows"]:
        if row["verdict"]["note"]:
            lacking.setdefault(row["verdict"]["note"], []).append(row["cell"])
    return [f"{', '.join(cells)}: {note}" for note, cells in lacking.items()]


def baseline_rows(report: dict[str, Any]) -> list[list[str]]:
    """What else was measured on the same text, below its heads."""
    unit = report["unit"]
    rows = [["baseline", _per(unit), "what it is"]]
    for one in report["baselines"]:
        bits = one[unit]
        rows.append([one["name"], "-" if bits is None else f"{bits:.4f}", one["protocol"]])
    return rows


def _per(unit: str) -> str:
    return unit.replace("bits_per_", "bits/")
