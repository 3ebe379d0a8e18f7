"""Reference pages of cells, probes and tasks."""

from collections.abc import Sequence

from charlm.cells.loader import get_cell
from charlm.cells.names import CELL_NAMES
from charlm.cells.source_listing import read_cell_source
from charlm.kernels.compiled.runtime import generated_code
from charlm.kernels.registry import kernels_by_priority, unsupported_reason
from charlm.models.catalog import cell_summary
from charlm.probes.base import DEFAULT_PROBES, MEMORY_PROBES, PROBES
from charlm.probes.base import DOCUMENTED_SECTIONS as PROBE_SECTIONS
from charlm.tasks.base import DOCUMENTED_SECTIONS as TASK_SECTIONS
from charlm.tasks.base import TASKS

WIDTH = 256  # units and inputs of the cells in the table


def cells_table() -> str:
    """Return one row per cell: paper, year, gates, state, size and kernels."""
    rows = [
        "| cell | paper | year | gates | state | parameters | kernels |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CELL_NAMES:
        summary = cell_summary(name, WIDTH)
        gates = ", ".join(get_cell(name).gate_descriptions) or "none"
        kernels = ", ".join(portable_kernels(name))
        rows.append(
            f"| [{name}](#{name}) | {summary.authors} | {summary.year} | {gates} "
            f"| {', '.join(summary.states)} | {summary.parameters:,} | {kernels} |"
        )
    return "\n".join(rows)


def portable_kernels(name: str) -> list[str]:
    """Return the kernels of a cell on a CPU with a C compiler, fastest first."""
    cell_type = get_cell(name)
    cell = cell_type(cell_type.size_multiple(), cell_type.size_multiple())
    names = []
    for kernel in kernels_by_priority(cell, "cpu"):
        if kernel == "compiled":  # whether there is a compiler here is no property of the cell
            is_supported = not isinstance(generated_code(cell), str)
        else:
            is_supported = not unsupported_reason(kernel, cell, "cpu")
        if is_supported:
            names.append(kernel)
    return names


def cells_page() -> str:
    """Return the table of cells, and paper, equations and gates of each."""
    parts = [
        "# Cells",
        f"Parameters are those of {WIDTH} units with {WIDTH} inputs. Kernels are those on a CPU "
        "with a C compiler, in the order in which `--kernel auto` tries them. State names the "
        "parts that are carried from one character to the next; the first is the output.",
        cells_table(),
    ]
    for name in CELL_NAMES:
        source = read_cell_source(name)
        parts += [
            f"## {name}",
            source.citation,
            f"```text\n{source.equations}\n```",
        ]
        if gates := get_cell(name).gate_descriptions:
            parts.append("\n".join(f"- `{gate}`: {text}." for gate, text in gates.items()))
        parts.append(f"Code: `charlm/cells/{source.file.name}`, or `charlm cells show {name}`.")
    return "\n\n".join(parts)


def sections(documentation: object, names: Sequence[str]) -> str:
    """Return the documented sections, a paragraph each."""
    parts = []
    for name in names:
        text = str(getattr(documentation, name))
        if text:
            parts.append(f"**{name.capitalize()}.** {text}")
    return "\n\n".join(parts)


def probes_page() -> str:
    """Return what each probe measures, and how."""
    parts = [
        "# Probes",
        f"`charlm probe RUN` measures {', '.join(DEFAULT_PROBES)}, which make a memory profile. "
        "`--full` measures all, and `--probes NAME,...` those that you name. A comparison judges "
        f"{', '.join(MEMORY_PROBES)}.",
    ]
    for name, probe in PROBES.items():
        parts += [f"## {name}", sections(probe.documentation, PROBE_SECTIONS)]
    return "\n\n".join(parts)


def tasks_page() -> str:
    """Return what each task asks for, and its chance level."""
    parts = [
        "# Tasks",
        "Synthetic problems that only memory solves. `charlm tasks show TASK` prints a sequence, "
        "`charlm tasks compare TASK` compares cells.",
    ]
    for name, task in TASKS.items():
        documentation = task.documentation
        parts += [f"## {name}", documentation.summary, sections(documentation, TASK_SECTIONS)]
        if task.measures:
            measures = (f"- `{one.name}` ({one.unit}): {one.description}" for one in task.measures)
            parts += ["**Measures** beside the accuracy:", "\n".join(measures)]
    return "\n\n".join(parts)
