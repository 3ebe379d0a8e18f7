"""TODO docstring."""

from typing import Any

import msgspec

from charlm.config import Config
from charlm.results.text import CorpusRecord


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """run.json: what decides the run, and what was decided when it was made."""

    format: int
    config: Config
    text: CorpusRecord
    max_steps: int  # the budget, whatever it was given in
    kernel: str
    kernel_reason: str
    cell_sha256: str = ""  # of the file, where the cell is the person's own
    parameters: int
    state_size: int  # floats carried per stream
    environment: dict[str, str]

    def summary(self) -> dict[str, Any]:
        """What a report says of any run, however it ended."""
        config = self.config
        return {
            "cell": config.cell,
            "hidden_size": config.hidden_size,
            "num_layers": config.num_layers,
            "parameters": self.parameters,
            "state_size": self.state_size,
            "seed": config.seed,
        }
