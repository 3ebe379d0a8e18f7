"""Calls of compiled kernels in odd shapes, for a process whose kernels are built with sanitizers.

python scripts/faults/sanitizer_trials.py LOG SIZES FAULT CELL ...
"""

import re
import sys
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import torch

from charlm.cells.base import Cell
from charlm.cells.loader import get_cell
from charlm.kernels.compiled import c_file, codegen, pointers, runtime
from charlm.kernels.compiled.single_token import CompiledTokenReader, single_token_problem
from charlm.kernels.registry import get_kernel, supported_kernels

# Wider than the panels of a matrix product, and not a multiple of any vector; inputs, units.
SIZES = ((3, 5), (34, 51))
SHAPES = ((1, 1), (1, 5), (9, 1), (7, 6), (33, 13))  # time, batch
VOCABULARY = 11
Log = Callable[[str], object]


def run_cell(name: str, inputs: int, units: int, dtype: torch.dtype, log: Log) -> None:
    """Call everything that is compiled for a cell."""
    cell_type = get_cell(name)
    multiple = cell_type.size_multiple()
    cell = cell_type(inputs, -(-units // multiple) * multiple).to(dtype)
    if "compiled" not in supported_kernels(cell, "cpu", build=False):
        return
    for (time, batch), indexed in product(SHAPES, (False, True)):
        log(f"{name}-{units}-{time}x{batch}{'-indexed' * indexed}")
        run_unroll(cell, time, batch, indexed, dtype)
    if not single_token_problem(cell):
        log(f"{name}-{units}-tokens")
        run_tokens(cell, dtype)


def run_unroll(cell: Cell, time: int, batch: int, indexed: bool, dtype: torch.dtype) -> None:
    """Unroll a cell twice, forwards and backwards, and once without gradients."""
    unroll = get_kernel("compiled", cell, "cpu")
    ids = torch.randint(VOCABULARY, (time, batch)) if indexed else None
    shape = (VOCABULARY,) if indexed else (time, batch)
    x = torch.randn(*shape, cell.input_size, dtype=dtype, requires_grad=True)
    learned = tuple(part.clone().requires_grad_() for part in cell.initial_state(1))
    learned = tuple(part.to(dtype) for part in learned)
    state = tuple(part.expand(batch, *part.shape[1:]) for part in learned)
    outputs, state = unroll(cell, x, state, ids)
    kept = torch.arange(batch) % 2  # every other stream begins anew
    state = tuple(part * kept.to(dtype).view(-1, *[1] * (part.dim() - 1)) for part in state)
    more, last = unroll(cell, x, state, ids)
    loss = outputs.sum() + more[..., ::2].square().sum() + sum(part.sum() for part in last)
    loss.backward()
    with torch.inference_mode():
        unroll(cell, x, tuple(part.detach() for part in state), ids)


def run_tokens(cell: Cell, dtype: torch.dtype) -> None:
    """Read tokens of three streams, then of one and of two of them."""
    with torch.no_grad():
        table = cell.project_inputs(torch.randn(VOCABULARY, cell.input_size, dtype=dtype))
        state = tuple(part.to(dtype) for part in cell.initial_state(3))
        read = CompiledTokenReader(cell, table, state)
        for streams in ([0, 1, 2], [1], [0, 0]):
            read.select(streams)
            for token in (0, VOCABULARY - 1):
                read([token] * len(streams))


def let_loops_run_too_far() -> None:
    """Change each loop over a column in the C so that it runs once too often."""
    unroll_file = c_file.unroll_file

    def changed(*args: object) -> str:
        text = unroll_file(*args)  # type: ignore[arg-type]
        return re.sub(r"for \(int j = 0; j < (\d+);", r"for (int j = 0; j <= \1;", text)

    codegen.unroll_file = changed  # type: ignore[assignment, attr-defined]


def leave_extents_unchecked() -> None:
    """Skip the check at the boundary, and give a cell a weight that is too small."""
    for module in (pointers, runtime):
        module.check_tensor = lambda *_, **__: None  # type: ignore[attr-defined]
    read_weights = runtime.read_weights
    runtime.read_weights = lambda *args: [w.flatten()[:1].clone() for w in read_weights(*args)]


FAULTS: dict[str, Callable[[], None]] = {
    "loop-runs-too-far": let_loops_run_too_far,
    "extents-unchecked": leave_extents_unchecked,
}


def main(log: Path, sizes: int, fault: str, names: Sequence[str]) -> None:
    """Run all trials, then plant a fault; `log` gets a line before each call."""
    torch.manual_seed(0)
    with log.open("w", buffering=1) as file:
        for name in names:
            for inputs, units in SIZES[:sizes]:
                run_cell(name, inputs, units, torch.float32, lambda line: file.write(f"{line}\n"))
        if sizes > 1:
            run_cell(
                names[0], *SIZES[0], torch.float64, lambda line: file.write(f"{line}-double\n")
            )
        FAULTS[fault]()
        run_cell(names[0], *SIZES[0], torch.float32, lambda line: file.write(f"planted-{line}\n"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
