"""C text of a matrix memory: each head of each stream is unrolled over all of time by itself.

So the matrix stays in the cache. A step changes it and reads it in one pass over its rows: what the
writes of the step add to its own reads are products of its keys and queries, which are small. The
change itself is left to the pass of the next step. It is the same backwards, with the gradient of
the matrix in its place; there a row is one of values, since most sums are over values. The matrix
is kept every SEGMENT steps; the backward pass computes those between again.

With the decay a, the writes (k, u) and the reads (q, r), of which some come before the decay:

    M' = a M + sum of k u^T         r = M^T (a q) + sum over the earlier writes of (k . q) u
    H = a' H' + sum of a' q' dr'^T  gradient of M': of the next step, a' H', and of its reads
    du = H^T k + sum over the later reads of (k . q) dr
    dk = H u + sum over the later reads of (dr . u) q
    dq = a (M dr) + sum over the earlier writes of (u . dr) k
    da = M H by row + sum over the reads of (M dr) q
"""

from collections.abc import Iterable

from charlm.kernels.compiled.memory import Memory, Read, Slot, Write

SEGMENT = 8  # steps between two kept matrices
ROWS = 2  # of the matrix at once, so that sums over rows are loaded and stored less often
LANES = 8  # numbers to which keys and values are filled up with zeros
ALIGNMENT = 16  # numbers


def padded(size: int, multiple: int) -> int:
    """Return the next multiple of a number."""
    return -(-size // multiple) * multiple


def scratch_size(memory: Memory) -> int:
    """Return the count of the numbers that an unroll needs besides: a segment and a gradient."""
    matrix = padded(memory.keys, LANES) * padded(memory.values, LANES)
    return (SEGMENT + 1) * (matrix + 144) + ALIGNMENT


ROWS_OF_KEYS = "KEYS_FILLED", "VALUES_FILLED"  # rows and columns, forwards
ROWS_OF_VALUES = "VALUES_FILLED", "KEYS_FILLED"  # backwards
AT = "(i + @) * KEYS_FILLED + j"  # backwards


def row_loop(
    sizes: tuple[str, str],
    numbers: Iterable[str],
    body: Iterable[str],
    sums: dict[str, str],
    dots: Iterable[str] = (),
) -> list[str]:
    """Return a loop over all rows, ROWS at once, and inside over the columns.

    Args:
        sizes: Counts of rows and columns.
        numbers: Arrays with a number for each row, which is called y_NAME.
        body: Lines for one row, in which `@` stands for its number among the ROWS.
        sums: Array with a number for each column -> what each row adds to it.
        dots: Arrays with a number for each row, called d_NAME in the body: its sum over columns.
    """
    rows, columns = sizes
    lanes, dots = range(ROWS), list(dots)
    own = [f"d_{name}_{i}" for name in dots for i in lanes]
    reduction = f" reduction(+:{','.join(own)})" if own else ""
    total = " + ".join
    return [
        f"for (int i = 0; i < {rows}; i += {ROWS}) {{",
        *(f"  const real y_{name}_{i} = {name}[i + {i}];" for name in numbers for i in lanes),
        *(f"  real {name} = 0;" for name in own),
        f"  #pragma omp simd{reduction}",
        f"  for (int j = 0; j < {columns}; j++) {{",
        *(f"    {line.replace('@', str(i))}" for i in lanes for line in body),
        *(
            f"    {name}[j] += {total(term.replace('@', str(i)) for i in lanes)};"
            for name, term in sums.items()
        ),
        "  }",
        *(f"  {name}[i + {i}] = d_{name}_{i};" for name in dots for i in lanes),
        "}",
    ]


class ForwardText:
    """The C of one memory's step.

    Names: x0, x1, ... are the slots of a head, filled up with zeros; r0, ... the reads and y0, ...
    the keys at which the matrix is read for them; u0, ... what the writes add. dx0, dr0, du0, ...
    are gradients, pa, py0, ... and pu0, ... those of a pass that are left to the next.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory, self.slots = memory, memory.slots
        self.number = {slot: i for i, slot in enumerate(self.slots)}
        self.decay, self.writes = memory.decay, memory.writes
        self.reads = [read for _, read in sorted(memory.reads, key=lambda each: each[1].number)]
        versions = {read.number: version for version, read in memory.reads}
        has_decay = self.decay is not None
        self.is_decayed = [has_decay and versions[read.number] > 0 for read in self.reads]
        self.writes_before = [max(0, versions[r.number] - has_decay) for r in self.reads]
        late = {number for write in self.writes for number, _ in write.terms}
        self.late = [read.number in late for read in self.reads]  # their gradients need the pass

    def x(self, slot: Slot) -> str:
        """Return the name of a slot's array."""
        return f"x{self.number[slot]}"

    def offset(self, slot: Slot) -> int:
        """Return where the numbers of the first head begin, after those of earlier slots."""
        before = self.slots[: self.number[slot]]
        return sum(self.memory.heads * other.width for other in before)

    def size(self, slot: Slot) -> str:
        """Return the size of a slot with its zeros; the decay of a head is one of each key."""
        for instruction in self.memory.instructions:
            if instruction[0] is slot:
                return "KEYS_FILLED"
            if isinstance(instruction, Write) and instruction.v is slot:
                return "VALUES_FILLED"
        return "1" if slot.width == 1 else "VALUES_FILLED"

    def load(self) -> list[str]:
        """Return the lines that copy the slots of this step, and compute the keys of reads."""
        lines = [
            f"memcpy({self.x(slot)}, in + {self.offset(slot)} + h * {slot.width}, "
            f"{slot.width} * sizeof(real));"
            for slot in self.slots
            if slot is not self.decay or slot.width == self.memory.keys
        ]
        if self.decay and self.decay.width != self.memory.keys:
            at = f"in[{self.offset(self.decay)} + h]"
            lines.append(f"for (int i = 0; i < KEYS; i++) {self.x(self.decay)}[i] = {at};")
        for read in self.reads:
            factor = self.decay_factor(read)
            value = f"{self.x(read.q)}[i]{factor}"
            lines.append(f"for (int i = 0; i < KEYS_FILLED; i++) y{read.number}[i] = {value};")
        return lines

    def decay_factor(self, read: Read) -> str:
        """Return the C factor of a read's key: the decay, if the read comes after it."""
        is_decayed = self.decay and self.is_decayed[read.number]
        return f" * {self.x(self.decay)}[i]" if self.decay and is_decayed else ""

    def added(self, write: Write) -> list[str]:
        """Return the line that computes what a write adds."""
        terms = "".join(
            f" + {self.x(c)}[{'0' if c.width == 1 else 'j'}] * r{number}[j]"
            for number, c in write.terms
        )
        name = f"u{self.writes.index(write)}"
        value = f"{self.x(write.v)}[j]{terms}"
        return [f"for (int j = 0; j < VALUES_FILLED; j++) {name}[j] = {value};"]

    def change(self) -> list[str]:
        """Return the loop that changes M as the last step has left it to do."""
        return row_loop(ROWS_OF_KEYS, *self.left_change(), {})

    def left_change(self) -> tuple[list[str], list[str]]:
        """Return the numbers and lines of a row for what the last step has left to do."""
        decay = [f"p{self.x(self.decay)}"] if self.decay else []
        keys = [f"p{self.x(write.k)}" for write in self.writes]
        row = "M[(i + @) * VALUES_FILLED + j]"
        value = f"y_{decay[0]}_@ * {row}" if decay else row
        value += "".join(f" + y_{key}_@ * pu{i}[j]" for i, key in enumerate(keys))
        return decay + keys, [f"const real m@ = {value};", f"{row} = m@;"]

    def declare(self, names: dict[str, str]) -> list[str]:
        """Return the declarations of arrays of zeros, by name their size."""
        return [f"real {n}[{size}]; memset({n}, 0, sizeof {n});" for n, size in names.items()]

    def arrays(self) -> dict[str, str]:
        """Return the arrays of both directions, by name their size."""
        return {
            **{self.x(slot): self.size(slot) for slot in self.slots},
            **{f"r{i}": "VALUES_FILLED" for i in range(len(self.reads))},
            **{f"y{i}": "KEYS_FILLED" for i in range(len(self.reads))},
            **{f"u{i}": "VALUES_FILLED" for i in range(len(self.writes))},
        }

    def changes(self) -> list[str]:
        """Return the names of the arrays that change the matrix."""
        decay = [self.x(self.decay)] if self.decay else []
        added = [f"u{i}" for i in range(len(self.writes))]
        return [*decay, *(self.x(write.k) for write in self.writes), *added]

    def product(self, write: int, read: int) -> str:
        """Return the product of a write's key and a read's query."""
        return f"dot_keys({self.x(self.writes[write].k)}, {self.x(self.reads[read].q)})"

    def step(self) -> list[str]:
        """Return the lines of a step: its reads of M, and what changes M in the next step."""
        numbers, body = self.left_change()
        keys = [f"y{read.number}" for read in self.reads]
        sums = {f"r{i}": f"y_{key}_@ * m@" for i, key in enumerate(keys)}
        lines = [f"memset(r{i}, 0, sizeof r{i});" for i in range(len(keys))]
        lines += row_loop(ROWS_OF_KEYS, [*numbers, *keys], body, sums)
        for instruction in self.memory.instructions:
            if isinstance(instruction, Write):
                lines += self.added(instruction)
            elif isinstance(instruction, Read):
                n = instruction.number
                for j in range(self.writes_before[n]):
                    lines.append(f"add_scaled(r{n}, {self.product(j, n)}, u{j});")
        return lines

    def forward(self, inputs_at: int) -> list[str]:
        """Return the function that unrolls a memory: all reads, and every SEGMENT-th matrix."""
        left = self.changes()
        kept = [f"memcpy(p{name}, {name}, sizeof {name});" for name in left]
        stores = [
            f"memcpy(row + READS_AT + ({i} * HEADS + h) * VALUES, r{i}, VALUES * sizeof(real));"
            for i in range(len(self.reads))
        ]
        arrays = self.arrays()
        return [
            "static void memory_forward(long T, long B, real *v, real *states, real *core) {",
            "real *const M = aligned(core);",
            "for (long b = 0; b < B; b++) for (long h = 0; h < HEADS; h++) {",
            *self.declare({**arrays, **{f"p{name}": arrays[name] for name in left}}),
            *self.nothing_left(),
            "unpack_matrix(states + (b * HEADS + h) * KEYS * VALUES, M);",
            "for (long t = 0; t < T; t++) {",
            "real *const row = v + (t * B + b) * SAVED;",
            f"const real *const in = row + {inputs_at};",
            *self.load(),
            *self.step(),
            "if (t && t % SEGMENT == 0)",
            "  pack_matrix(M, states + ((t / SEGMENT * B + b) * HEADS + h) * KEYS * VALUES);",
            *stores,
            *kept,
            "}",
            *self.change(),
            "const long last = (T + SEGMENT - 1) / SEGMENT;",
            "pack_matrix(M, states + ((last * B + b) * HEADS + h) * KEYS * VALUES);",
            "}",
            "}",
        ]

    def nothing_left(self) -> list[str]:
        """Return the lines before the first step, when nothing is left to do: all is retained."""
        if not self.decay:
            return []
        return [f"for (int i = 0; i < KEYS_FILLED; i++) p{self.x(self.decay)}[i] = 1;"]

    def defines(self) -> list[str]:
        """Return the sizes."""
        memory = self.memory
        return [
            f"#define HEADS {memory.heads}",
            f"#define KEYS {memory.keys}",
            f"#define VALUES {memory.values}",
            f"#define KEYS_FILLED {padded(memory.keys, LANES)}",
            f"#define VALUES_FILLED {padded(memory.values, LANES)}",
            f"#define SEGMENT {SEGMENT}",
        ]
