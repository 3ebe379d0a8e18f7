"""C text of a matrix memory: heads and streams do not meet, and a segment of steps is one piece.

The matrix M before a segment is changed once, after it. What a segment has written itself adds to
its reads through products of keys and queries, which are small. So nearly all work is products of
matrices, and only the matrices between segments are kept. With D(s, t) for the product of the
decays of each key after step s until t, the writes (k, u) and the reads (q, r):

    r  = M^T (D(0, t) q) + sum over the earlier writes of (D(s, t) k . q) u
    M' = D(0, T) M + sum over the writes of (D(s, T) k) u^T

and with G for the gradient of M':

    du = G^T (D(s, T) k) + sum over the later reads of (D(s, t) k . q) dr
    dk = D(s, T) G u + sum over the later reads of (dr . u) D(s, t) q
    dq = D(0, t) M dr + sum over the earlier writes of (dr . u) D(s, t) k
    G' = D(0, T) G + sum over the reads of (D(0, t) q) dr^T

The gradient of a decay is that of every D that it is a factor of. Nothing is divided by a decay.
"""

from charlm.kernels.compiled.memory import Decay, Memory, Read, Slot, Write

SEGMENT = 8  # steps
MOST_LANES = 16  # numbers of a vector of any processor
ALIGNMENT = 16  # numbers


def padded(size: int) -> int:
    """Return the size of a row of so many numbers, filled up."""
    return -(-size // MOST_LANES) * MOST_LANES


def segment_size(memory: Memory) -> int:
    """Return the count of the numbers of a segment and of its gradients in memory.c, at most."""
    keys, values = padded(memory.keys), padded(memory.values)
    writes, reads = (max(1, SEGMENT * len(each)) for each in (memory.writes, memory.reads))
    rows = (writes + reads) * (keys + values) + padded(writes) * reads
    own = rows + keys + max(2 * SEGMENT + writes + reads, padded(writes)) * keys
    turned = (memory.keys + memory.values) * (padded(writes) + padded(reads))
    return own + rows + turned + SEGMENT * keys


def scratch_size(memory: Memory) -> int:
    """Return the count of the numbers that an unroll needs besides: a segment, and matrices."""
    matrices = (memory.heads + 1) * memory.keys * padded(memory.values)
    return segment_size(memory) + matrices + 2 * ALIGNMENT


class ForwardText:
    """The C of one memory's steps; names that it does not declare are those of memory.c."""

    def __init__(self, memory: Memory) -> None:
        self.memory, self.slots = memory, memory.slots
        self.number = {slot: i for i, slot in enumerate(self.slots)}
        self.decay, self.writes = memory.decay, memory.writes
        self.versions = [
            version for version, _ in sorted(memory.reads, key=lambda each: each[1].number)
        ]

    def at(self, slot: Slot) -> str:
        """Return where the numbers of a slot are, after those of earlier ones and other heads."""
        before = self.slots[: self.number[slot]]
        offset = sum(self.memory.heads * other.width for other in before)
        return f"{offset} + h * {slot.width}"

    def has_gradient(self, slot: Slot) -> bool:
        """Return whether anything but constants is in a slot."""
        return any(column.op != "const" for column in slot.columns)

    def defines(self) -> list[str]:
        """Return the sizes, and the order of reads and writes."""
        memory, has_decay = self.memory, self.decay is not None
        needs_decay = self.decay is not None and self.has_gradient(self.decay)
        is_decayed = [int(has_decay and version > 0) for version in self.versions]
        before = [max(0, version - has_decay) for version in self.versions]
        return [
            f"#define HEADS {memory.heads}",
            f"#define KEYS {memory.keys}",
            f"#define VALUES {memory.values}",
            f"#define READS {len(memory.reads)}",
            f"#define WRITES {len(self.writes)}",
            f"#define HAS_DECAY {int(has_decay)}",
            f"#define NEEDS_DECAY {int(needs_decay)}",
            f"#define SEGMENT {SEGMENT}",
            f"#define SEGMENT_SIZE {segment_size(memory)}",
            f"static const int is_decayed[] = {{{', '.join(map(str, is_decayed))}}};",
            f"static const int writes_before[] = {{{', '.join(map(str, before))}}};",
        ]

    def load(self) -> list[str]:
        """Return the lines that copy the inputs of step t."""
        lines = []
        for instruction in self.memory.instructions:
            match instruction:
                case Decay(a) if a.width == self.memory.keys:
                    lines.append(copy_numbers("own->a[t]", f"in + {self.at(a)}", "KEYS"))
                case Decay(a):
                    loop = "for (int i = 0; i < KEYS; i++)"
                    lines.append(f"{loop} own->a[t][i] = in[{self.at(a)}];")
                case Write(k, v, _):
                    row = f"[t * WRITES + {self.writes.index(instruction)}]"
                    lines.append(copy_numbers(f"own->k{row}", f"in + {self.at(k)}", "KEYS"))
                    lines.append(copy_numbers(f"own->u{row}", f"in + {self.at(v)}", "VALUES"))
                case Read(q, number):
                    row = f"own->q[t * READS + {number}]"
                    lines.append(copy_numbers(row, f"in + {self.at(q)}", "KEYS"))
        return lines

    def add_terms(self, write: Write) -> list[str]:
        """Return the lines that add what was read to what is written in step t."""
        to = f"own->u[t * WRITES + {self.writes.index(write)}][j]"
        return [
            f"for (int j = 0; j < VALUES; j++) "
            f"{to} += in[{self.at(c)}{'' if c.width == 1 else ' + j'}] * "
            f"own->r[t * READS + {number}][j];"
            for number, c in write.terms
        ]

    def copy_reads(self, template: str) -> list[str]:
        """Return the lines that copy the reads of step t from or to its row."""
        return [
            template.format(
                own=f"own->r[t * READS + {n}]",
                row=f"row + READS_AT + ({n} * HEADS + h) * VALUES",
            )
            for n in range(len(self.memory.reads))
        ]

    def forward(self, inputs_at: int) -> list[str]:
        """Return the function that unrolls a memory: all reads, and the matrix of each segment."""
        steps: list[str] = []
        for instruction in self.memory.instructions:
            if isinstance(instruction, Write):
                steps += self.add_terms(instruction)
            elif isinstance(instruction, Read) and self.writes:
                steps.append(f"read_writes(own, t, {instruction.number});")
        return [
            "static void memory_forward(long T, long B, real *v, real *states, real *core) {",
            "struct segment *const own = (struct segment *)aligned(core);",
            "real *const matrices = aligned((real *)(own + 1));",
            "memset(own, 0, sizeof *own);",
            "memset(matrices, 0, HEADS * MATRIX * sizeof(real));",
            "for (long b = 0; b < B; b++) {",
            "for (long h = 0; h < HEADS; h++)",
            "  unpack_matrix(states + (b * HEADS + h) * KEYS * VALUES, matrices + h * MATRIX);",
            "for (long first = 0; first < T; first += SEGMENT)",
            "for (long h = 0; h < HEADS; h++) {",
            "const int steps = T - first < SEGMENT ? T - first : SEGMENT;",
            "real *const M = matrices + h * MATRIX;",
            "for (int t = 0; t < steps; t++) {",
            f"const real *const in = v + ((first + t) * B + b) * SAVED + {inputs_at};",
            *self.load(),
            "}",
            "prepare(own, steps);",
            "multiply(steps * READS, KEYS, VALUES_FILLED, own->decayed_q[0], KEYS_FILLED, 1, M,",
            "         VALUES_FILLED, 0, own->r[0], VALUES_FILLED);",
            "for (int t = 0; t < steps; t++) {",
            "real *const row = v + ((first + t) * B + b) * SAVED;",
            f"const real *const in = row + {inputs_at};",
            *steps,
            *self.copy_reads(copy_numbers("{row}", "{own}", "VALUES")),
            "}",
            "advance_matrix(own, steps, M);",
            "const long next = ((first / SEGMENT + 1) * B + b) * HEADS + h;",
            "pack_matrix(M, states + next * KEYS * VALUES);",
            "}",
            "}",
            "}",
        ]


def copy_numbers(to: str, start: str, count: str) -> str:
    """Return the line that copies numbers."""
    return f"copy({count}, {to}, {start});"
