"""The rows of a table in words: the same on a terminal and in a page."""

from typing import Any

from charlm.config import label
from charlm.show import large


def compared(row: dict[str, Any], unit: str) -> dict[str, str]:
    """A cell of a comparison: what stands under which head."""
    mean, low, high = (row[unit][key] for key in ("mean", "low", "high"))
    return {
        "cell": label(row["cell"]),
        unit.replace("bits_per_", "bits/"): "-" if mean is None else f"{mean:.4f}",
        "spread": f"{row['diverged']} diverged" if mean is None else f"{low:.3f}–{high:.3f}",
        "to best": "-" if row["difference"] is None else f"{row['difference']:+.3f}",
        "verdict": row["verdict"],
        "params": f"{row['parameters']:,}",
        "hidden": f"{row['hidden']}",
        "state": f"{row['state_size']}",
        "chars/s": "-" if row["chars_per_second"] is None else large(row["chars_per_second"]),
        "min": "-" if row["minutes"] is None else f"{row['minutes']:.1f}",
    }
