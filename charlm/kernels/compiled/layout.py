"""Buffers of generated code: their sizes, and the C of their rows."""

from dataclasses import dataclass, field
from typing import NamedTuple


class ProductUse(NamedTuple):
    """A product of the step, for the gradient of its weight over all time steps at once."""

    weight: str
    blocks: tuple[int, ...]
    delta_offset: int  # of the gradient of its output, in the deltas
    rows: int
    buffer: str  # holds its input
    offset: int
    columns: int


# Buffer and offset of a product's input; and the state part and offset whose gradient it adds to.
ProductLocation = tuple[tuple[str, int], tuple[int, int] | None]


@dataclass
class GeneratedCode:
    """The C text, and the sizes of the buffers that its caller allocates, in numbers."""

    text: str = ""
    inputs: int = 0  # width of x
    widths: tuple[int, ...] = ()  # of the parts of the state
    vectors: list[str] = field(default_factory=list)  # names of 1-d weights, in order
    matrices: list[str] = field(default_factory=list)
    vector_shapes: list[tuple[int, ...]] = field(default_factory=list)
    matrix_shapes: list[tuple[int, ...]] = field(default_factory=list)
    saved_size: int = 0  # saved for the backward pass, per time step and row
    workspace_size: int = 0  # outputs of products, per row, of either pass
    packed: int = 0  # packed matrices, of either pass
    scratch: int = 0  # of the backward pass, per row
    deltas: int = 0  # gradients of products, per time step and row
    input_gradient_is_deltas: bool = False  # whether the gradient of x equals the deltas
    products: list[ProductUse] = field(default_factory=list)
    state_dims: tuple[tuple[int, ...], ...] = ()  # of the parts of the state, without the batch
    memory_part: int | None = None  # of the state: a matrix, of which every SEGMENT steps is kept
    memory_scratch: int = 0  # of its unroll, in all


def row_address(buffer: str, source: GeneratedCode) -> str:
    """Return the C address of a buffer's row b at time t."""
    kind, rest = buffer[0], buffer[1:]
    if source.memory_part is not None and (row := _row_over_time(kind, rest)):
        return row
    if buffer in ("x", "dx"):
        return f"{buffer} + (indexed ? ids[t * B + b] : t * B + b) * {source.inputs}"
    if buffer == "v":
        return "v + t * saved_stride + b * SAVED"
    if buffer == "c":
        return "c + b * SCRATCH"
    if buffer == "d":
        return f"d + (t * B + b) * {source.deltas}"
    if buffer == "o":
        return f"o + (t * B + b) * {source.widths[0]}"
    if kind == "s":
        return f"h{rest} + (t * B + b) * {source.widths[int(rest)]}"
    if kind == "n":
        return f"h{rest} + ((t + 1) * B + b) * {source.widths[int(rest)]}"
    if kind in "ae":
        return f"{kind}{rest} + b * {source.widths[int(rest)]}"
    if kind == "p":
        return f"p{rest} + b * P{rest}"
    name = buffer.partition(":")[2]
    return f"{buffer.partition(':')[0]}{source.vectors.index(name)}"


def _row_over_time(kind: str, rest: str) -> str:
    """Return the address of a row that a step with a memory keeps for all of time, or ""."""
    row = "(t * B + b)"
    addresses = {
        "c": f"c + {row} * SCRATCH",
        "g": f"c + {row} * SCRATCH + GRADIENTS_AT",
        "r": f"v + {row} * SAVED + READS_AT",
        "p": f"p{rest} + {row} * P{rest}",
    }
    return addresses.get(kind, "")


def row_name(buffer: str) -> str:
    """Return the C name of a row of a buffer."""
    return "r_" + "".join(c if c.isalnum() else f"_{ord(c)}_" for c in buffer)
