"""Table of docs/guides/export.md: how exactly numpy and ONNX compute what each cell computes.

python scripts/export_parity.py
"""

import argparse
import hashlib

import torch
from safetensors import torch as safetensors

from charlm.cells.names import CELL_NAMES
from charlm.config import Config
from charlm.data.vocabulary import Vocabulary
from charlm.exporting.export_run import onnx_files, verify
from charlm.exporting.trace import trace_model
from charlm.models.build import build_char_lm
from charlm.storage.json_files import encode_json

VOCABULARY = Vocabulary("chars", tuple(range(32, 96)))


def parity_row(cell: str) -> str:
    """Return the row of a cell: two layers, random weights, a learned initial state."""
    config = Config(
        cell=cell, initial_state="learned", hidden_size=64, embedding_dim=32, num_layers=2
    )
    model = build_char_lm(config, VOCABULARY.size, "loop", "cpu").eval()
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    graph, weights = trace_model(model), safetensors.save(model.state_dict())
    contents = {
        "config.json": encode_json({"weights_sha256": hashlib.sha256(weights).hexdigest()}),
        "graph.json": encode_json(graph),
        "model.safetensors": weights,
        "vocabulary.json": encode_json(VOCABULARY),
    }
    checks = verify(model, contents | onnx_files(model, graph, weights))
    differences = " | ".join(f"{check.max_difference:.0e}" for check in checks)
    return f"| {cell} | {len(graph.step.operations)} | {differences} |"


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    torch.set_num_threads(1)
    print("| cell | operations | numpy float64 | numpy float32 | ONNX float32 |")
    print("|---|---|---|---|---|")
    for cell in CELL_NAMES:
        print(parity_row(cell), flush=True)


if __name__ == "__main__":
    main()
