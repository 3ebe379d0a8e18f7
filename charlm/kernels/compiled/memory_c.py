"""C text of a matrix memory: each head of each stream is unrolled over all of time by itself.

So the matrix stays in the cache. It is kept every SEGMENT steps; the backward pass computes the
steps between again. A pass goes over the rows of the matrix once, and does all that it can: a read
ends it only if a later write needs that read.
"""

from collections.abc import Iterable, Sequence

from charlm.kernels.compiled.memory import (
    Decay,
    Instruction,
    Memory,
    Read,
    Slot,
    Write,
)

SEGMENT = 8  # steps between two kept matrices
ROWS = 4  # of the matrix at once, so that sums over rows are loaded and stored less often
LANES = 8  # numbers to which rows are filled up with zeros
ALIGNMENT = 16  # numbers


def padded(size: int, multiple: int) -> int:
    """Return the next multiple of a number."""
    return -(-size // multiple) * multiple


def scratch_size(memory: Memory) -> int:
    """Return the count of the numbers that an unroll needs besides: a segment and a gradient."""
    matrix = padded(memory.keys, ROWS) * padded(memory.values, LANES)
    return (SEGMENT + 2) * matrix + ALIGNMENT


def split_into_passes(instructions: Iterable[Instruction]) -> list[list[Instruction]]:
    """Return the instructions of each pass over the matrix."""
    passes: list[list[Instruction]] = [[]]
    for instruction in instructions:
        inside = {i.number for i in passes[-1] if isinstance(i, Read)}
        if isinstance(instruction, Write) and inside & {number for number, _ in instruction.terms}:
            passes.append([])
        passes[-1].append(instruction)
    return [each for each in passes if each]


class MemoryText:
    """The C of one memory's step.

    Names: x0, x1, ... are the slots of a head, filled up with zeros; r0, ... the reads; u0, ...
    what the writes add; M the matrix and G its gradient; dx0, dr0, du0, ... gradients of those.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.slots = memory.slots
        self.number = {slot: i for i, slot in enumerate(self.slots)}
        self.passes = split_into_passes(memory.instructions)
        self.writes = [i for i in memory.instructions if isinstance(i, Write)]

    def is_key(self, slot: Slot) -> bool:
        """Return whether a slot has a number for each row of the matrix."""
        return any(
            (isinstance(i, Write | Read) and i[0] is slot)
            or (isinstance(i, Decay) and i.a is slot and slot.width == self.memory.keys)
            for i in self.memory.instructions
        )

    def offset(self, slot: Slot) -> int:
        """Return where the numbers of the first head begin, after those of earlier slots."""
        before = self.slots[: self.number[slot]]
        return sum(self.memory.heads * other.width for other in before)

    def size(self, slot: Slot) -> str:
        """Return the size of a slot with its zeros."""
        if self.is_key(slot):
            return "KEYS_FILLED"
        is_value = slot.width > 1 or any(slot is write.v for write in self.writes)
        return "VALUES_FILLED" if is_value else "1"

    def declare(self, name: str, size: str) -> str:
        """Return the declaration of an array of zeros."""
        return f"real {name}[{size}]; memset({name}, 0, sizeof {name});"

    def load(self, slots: Iterable[Slot]) -> list[str]:
        """Return the lines that copy slots of this step."""
        return [
            f"memcpy(x{self.number[slot]}, in + {self.offset(slot)} + h * {slot.width}, "
            f"{slot.width} * sizeof(real));"
            for slot in slots
        ]

    def added(self, write: Write) -> list[str]:
        """Return the lines that compute what a write adds."""
        name = f"u{self.writes.index(write)}"
        terms = "".join(
            f" + x{self.number[c]}[{'0' if c.width == 1 else 'j'}] * r{number}[j]"
            for number, c in write.terms
        )
        return [
            "#pragma omp simd",
            "for (int j = 0; j < VALUES_FILLED; j++)",
            f"  {name}[j] = x{self.number[write.v]}[j]{terms};",
        ]

    def row_numbers(self, instructions: Iterable[Instruction]) -> list[str]:
        """Return the lines that load the numbers of ROWS rows."""
        lines = []
        for instruction in instructions:
            slot = instruction[0]
            name = f"x{self.number[slot]}"
            for i in range(ROWS):
                at = f"i + {i}" if self.is_key(slot) else "0"
                lines.append(f"const real y{self.number[slot]}_{i} = {name}[{at}];")
        return list(dict.fromkeys(lines))

    def changed(self, instruction: Decay | Write, i: int, before: str) -> str:
        """Return the C expression of a row after a change."""
        number = f"y{self.number[instruction[0]]}_{i}"
        if isinstance(instruction, Decay):
            return f"{before} * {number}"
        return f"{before} + {number} * u{self.writes.index(instruction)}[j]"

    def loop(self, head: list[str], body: list[str], tail: list[str], sums: list[str]) -> list[str]:
        """Return a loop over all rows, ROWS at once, and inside over the values."""
        reduction = f" reduction(+:{','.join(sums)})" if sums else ""
        return [
            f"for (int i = 0; i < KEYS_FILLED; i += {ROWS}) {{",
            *(f"  {line}" for line in head),
            *(f"  real {name} = 0;" for name in sums),
            f"  #pragma omp simd{reduction}",
            "  for (int j = 0; j < VALUES_FILLED; j++) {",
            *(f"    {line}" for line in body),
            "  }",
            *(f"  {line}" for line in tail),
            "}",
        ]

    def forward_pass(
        self, instructions: Sequence[Instruction], source: str, target: str
    ) -> list[str]:
        """Return the lines of a pass from one matrix to another, which may be the same."""
        lines, body = [], []
        changes = [i for i in instructions if not isinstance(i, Read)]
        for write in (i for i in changes if isinstance(i, Write)):
            lines += self.added(write)
        head = self.row_numbers(instructions)
        sums: dict[int, list[str]] = {}
        for i in range(ROWS):
            row = f"s{i}"
            body.append(f"real {row} = {source}[(i + {i}) * VALUES_FILLED + j];")
            for instruction in instructions:
                if isinstance(instruction, Read):
                    number = f"y{self.number[instruction.q]}_{i}"
                    temporary = f"t{instruction.number}_{i}"
                    body.append(f"const real {temporary} = {number} * {row};")
                    sums.setdefault(instruction.number, []).append(temporary)
                else:
                    body.append(f"{row} = {self.changed(instruction, i, row)};")
            if changes or source != target:
                body.append(f"{target}[(i + {i}) * VALUES_FILLED + j] = {row};")
        for index, temporaries in sums.items():
            lines.append(f"memset(r{index}, 0, sizeof r{index});")
            body.append(f"r{index}[j] += {' + '.join(temporaries)};")
        return lines + self.loop(head, body, [], [])

    def declarations(self) -> list[str]:
        """Return the lines that declare slots, reads and additions."""
        return [
            *(self.declare(f"x{i}", self.size(slot)) for i, slot in enumerate(self.slots)),
            *(self.declare(f"r{i}", "VALUES_FILLED") for i in range(len(self.memory.reads))),
            *(self.declare(f"u{i}", "VALUES_FILLED") for i in range(len(self.writes))),
        ]

    def forward(self, inputs_at: int) -> list[str]:
        """Return the function that unrolls a memory: all reads, and every SEGMENT-th matrix."""
        steps = [line for each in self.passes for line in self.forward_pass(each, "M", "M")]
        stores = [
            f"memcpy(row + READS_AT + ({i} * HEADS + h) * VALUES, r{i}, VALUES * sizeof(real));"
            for i in range(len(self.memory.reads))
        ]
        return [
            "static void memory_forward(long T, long B, real *v, real *states, real *core) {",
            "real *const M = aligned(core);",
            "for (long b = 0; b < B; b++) for (long h = 0; h < HEADS; h++) {",
            *self.declarations(),
            "unpack_matrix(states + (b * HEADS + h) * KEYS * VALUES, M);",
            "for (long t = 0; t < T; t++) {",
            "if (t && t % SEGMENT == 0)",
            "  pack_matrix(M, states + ((t / SEGMENT * B + b) * HEADS + h) * KEYS * VALUES);",
            "real *const row = v + (t * B + b) * SAVED;",
            f"const real *const in = row + {inputs_at};",
            *self.load(self.slots),
            *steps,
            *stores,
            "}",
            "const long last = (T + SEGMENT - 1) / SEGMENT;",
            "pack_matrix(M, states + ((last * B + b) * HEADS + h) * KEYS * VALUES);",
            "}",
            "}",
        ]

    def backward_pass(self, number: int) -> list[str]:
        """Return the lines of the gradient of a pass, from the matrix before the step."""
        instructions = self.passes[number]
        before = [i for each in self.passes[:number] for i in each if not isinstance(i, Read)]
        head = self.row_numbers([*before, *instructions])
        body, tail, sums = [], [], []
        added: dict[str, list[str]] = {}
        for i in range(ROWS):
            row = version = f"s{i}"
            body.append(f"const real {row} = M[(i + {i}) * VALUES_FILLED + j];")
            versions: list[str] = []
            for k, instruction in enumerate([*before, *instructions]):
                versions.append(version)
                if not isinstance(instruction, Read):
                    value = self.changed(instruction, i, version)
                    version = f"s{i}_{k}"
                    body.append(f"const real {version} = {value};")
            body.append(f"real g{i} = G[(i + {i}) * VALUES_FILLED + j];")
            inside = list(zip(instructions, versions[len(before) :], strict=True))
            for instruction, was in reversed(inside):
                slot = instruction[0]
                x, y = self.number[slot], f"y{self.number[slot]}_{i}"
                if isinstance(instruction, Read):
                    gradient = f"{was} * dr{instruction.number}[j]"
                    change = f"g{i} += {y} * dr{instruction.number}[j];"
                elif isinstance(instruction, Write):
                    index = self.writes.index(instruction)
                    body.append(f"const real e{index}_{i} = {y} * g{i};")
                    added.setdefault(f"du{index}", []).append(f"e{index}_{i}")
                    gradient, change = f"g{i} * u{index}[j]", ""
                else:
                    gradient, change = f"{was} * g{i}", f"g{i} *= {y};"
                if self.is_key(slot):
                    sums.append(f"d{x}_{i}")
                    body.append(f"d{x}_{i} += {gradient};")
                    tail.append(f"dx{x}[i + {i}] = d{x}_{i};")
                else:
                    body.append(f"const real e{x}h_{i} = {gradient};")
                    added.setdefault(f"da{x}", []).append(f"e{x}h_{i}")
                if change:
                    body.append(change)
            body.append(f"G[(i + {i}) * VALUES_FILLED + j] = g{i};")
        for name, temporaries in added.items():
            body.append(f"{name}[j] += {' + '.join(temporaries)};")
        lines = [f"memset({name}, 0, sizeof {name});" for name in added]
        lines += self.loop(head, body, tail, sums)
        for instruction in reversed(instructions):
            lines += self.after_backward(instruction)
        return lines

    def after_backward(self, instruction: Instruction) -> list[str]:
        """Return the lines of what a pass has summed over its rows."""
        if isinstance(instruction, Decay) and not self.is_key(instruction.a):
            x = self.number[instruction.a]
            return [f"dx{x}[0] = total(da{x});"]
        if not isinstance(instruction, Write):
            return []
        du, v = f"du{self.writes.index(instruction)}", self.number[instruction.v]
        lines = [f"memcpy(dx{v}, {du}, sizeof {du});"]
        for number, c in instruction.terms:
            x = self.number[c]
            at = "0" if c.width == 1 else "j"
            loop = "for (int j = 0; j < VALUES_FILLED; j++)"
            lines += [f"{loop} dr{number}[j] += x{x}[{at}] * {du}[j];"]
            product = f"{du}[j] * r{number}[j]"
            if c.width == 1:
                lines += [f"{{ real sum = 0; {loop} sum += {product}; dx{x}[0] = sum; }}"]
            else:
                lines += [f"{loop} dx{x}[j] = {product};"]
        return lines

    def backward(self, inputs_at: int, reads_gradients_at: int) -> list[str]:
        """Return the function of the gradients of all inputs and of the first matrix."""
        changes = [i for i in self.memory.instructions if not isinstance(i, Read)]
        advance = self.forward_pass(changes, "M", "next")
        loads_reads = [
            f"memcpy(r{i}, row + READS_AT + ({i} * HEADS + h) * VALUES, VALUES * sizeof(real));"
            for i in range(len(self.memory.reads))
        ]
        loads_gradients = [
            f"memcpy(dr{i}, d + {reads_gradients_at} + ({i} * HEADS + h) * VALUES, "
            "VALUES * sizeof(real));"
            for i in range(len(self.memory.reads))
        ]
        stores = [
            f"memcpy(d + GRADIENTS_AT + {self.offset(slot)} + h * {slot.width}, dx{i}, "
            f"{slot.width} * sizeof(real));"
            for i, slot in enumerate(self.slots)
        ]
        head_decays = [
            i.a for i in self.memory.instructions if isinstance(i, Decay) and not self.is_key(i.a)
        ]
        load = [
            "const real *const row = v + (t * B + b) * SAVED;",
            f"const real *const in = row + {inputs_at};",
            *self.load(self.slots),
            *loads_reads,
        ]
        return [
            "static void memory_backward(long T, long B, const real *v, const real *states,",
            "                            real *c, real *gradient, real *core) {",
            "real *const segment = aligned(core), *const G = segment + (SEGMENT + 1) * MATRIX;",
            "for (long b = 0; b < B; b++) for (long h = 0; h < HEADS; h++) {",
            *self.declarations(),
            *(self.declare(f"dx{i}", self.size(slot)) for i, slot in enumerate(self.slots)),
            *(self.declare(f"dr{i}", "VALUES_FILLED") for i in range(len(self.memory.reads))),
            *(self.declare(f"du{i}", "VALUES_FILLED") for i in range(len(self.writes))),
            *(self.declare(f"da{self.number[a]}", "VALUES_FILLED") for a in head_decays),
            "real *const own = gradient + (b * HEADS + h) * KEYS * VALUES;",
            "unpack_matrix(own, G);",
            "for (long first = (T - 1) / SEGMENT * SEGMENT; first >= 0; first -= SEGMENT) {",
            "const long end = first + SEGMENT < T ? first + SEGMENT : T;",
            "const long kept = (first / SEGMENT * B + b) * HEADS + h;",
            "unpack_matrix(states + kept * KEYS * VALUES, segment);",
            "for (long t = first; t + 1 < end; t++) {",
            "const real *M = segment + (t - first) * MATRIX;",
            "real *const next = segment + (t - first + 1) * MATRIX;",
            *load,
            *advance,
            "}",
            "for (long t = end - 1; t >= first; t--) {",
            "const real *const M = segment + (t - first) * MATRIX;",
            "real *const d = c + (t * B + b) * SCRATCH;",
            *load,
            *loads_gradients,
            *(line for write in self.writes for line in self.added(write)),
            *(
                line
                for number in reversed(range(len(self.passes)))
                for line in self.backward_pass(number)
            ),
            *stores,
            "}",
            "}",
            "pack_matrix(G, own);",
            "}",
            "}",
        ]

    def defines(self) -> list[str]:
        """Return the sizes."""
        memory = self.memory
        return [
            f"#define HEADS {memory.heads}",
            f"#define KEYS {memory.keys}",
            f"#define VALUES {memory.values}",
            f"#define KEYS_FILLED {padded(memory.keys, ROWS)}",
            f"#define VALUES_FILLED {padded(memory.values, LANES)}",
            f"#define SEGMENT {SEGMENT}",
        ]
