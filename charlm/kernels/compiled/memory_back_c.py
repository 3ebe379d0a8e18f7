"""C text of the gradients of a matrix memory; memory_c.py has the equations."""

from charlm.kernels.compiled.memory import Decay, Read, Write
from charlm.kernels.compiled.memory_c import ForwardText, copy_numbers


class MemoryText(ForwardText):
    """The C of one memory's steps, and of their gradients."""

    def write_back(self, write: Write) -> list[str]:
        """Return the lines of the gradients of what is written in step t."""
        i = self.writes.index(write)
        lines = [f"reads_back(own, d, steps, t, {i});"]
        du, loop = f"d->u[t * WRITES + {i}]", "for (int j = 0; j < VALUES; j++)"
        for number, c in write.terms:
            at, row = self.at(c), f"[t * READS + {number}]"
            factor = f"in[{at}{'' if c.width == 1 else ' + j'}]"
            lines.append(f"{loop} d->r{row}[j] += {factor} * {du}[j];")
            if c.width == 1:
                lines.append(f"to[{at}] = dot(VALUES, {du}, own->r{row});")
            else:
                lines.append(f"{loop} to[{at} + j] = {du}[j] * own->r{row}[j];")
        return lines

    def store(self) -> list[str]:
        """Return the lines that store the gradients of step t; those of terms are stored."""
        lines = []
        for instruction in self.memory.instructions:
            match instruction:
                case Decay(a) if not self.has_gradient(a):
                    lines.append(f"memset(to + {self.at(a)}, 0, {a.width} * sizeof(real));")
                case Decay(a) if a.width == self.memory.keys:
                    lines.append(copy_numbers(f"to + {self.at(a)}", "d->a[t]", "KEYS"))
                case Decay(a):
                    lines.append(f"to[{self.at(a)}] = total(d->a[t]);")
                case Write(k, v, _):
                    row = f"[t * WRITES + {self.writes.index(instruction)}]"
                    lines.append(copy_numbers(f"to + {self.at(k)}", f"d->k{row}", "KEYS"))
                    lines.append(copy_numbers(f"to + {self.at(v)}", f"d->u{row}", "VALUES"))
                case Read(q, number):
                    row = f"d->q[t * READS + {number}]"
                    lines.append(copy_numbers(f"to + {self.at(q)}", row, "KEYS"))
        return lines

    def backward(self, inputs_at: int, reads_gradients_at: int) -> list[str]:
        """Return the function of the gradients of all inputs and of the first matrix."""
        reads_gradients = [
            copy_numbers(
                f"d->r[t * READS + {n}]",
                f"c + ((first + t) * B + b) * SCRATCH + {reads_gradients_at} + "
                f"({n} * HEADS + h) * VALUES",
                "VALUES",
            )
            for n in range(len(self.memory.reads))
        ]
        writes_back = [line for write in reversed(self.writes) for line in self.write_back(write)]
        errors = [
            "multiply(steps * WRITES, KEYS, VALUES_FILLED, own->decayed_k[0], KEYS_FILLED, 1, G,",
            "         VALUES_FILLED, 0, d->u[0], VALUES_FILLED);",
        ]
        row = [
            "const real *const row = v + ((first + t) * B + b) * SAVED;",
            f"const real *const in = row + {inputs_at};",
        ]
        to = "real *const to = c + ((first + t) * B + b) * SCRATCH + GRADIENTS_AT;"
        return [
            "static void memory_backward(long T, long B, const real *v, const real *states,",
            "                            real *c, real *gradient, real *core) {",
            "struct segment *const own = (struct segment *)aligned(core);",
            "struct gradients *const d = (struct gradients *)(own + 1);",
            "real *const M = aligned((real *)(d + 1)), *const matrices = M + MATRIX;",
            "memset(own, 0, sizeof *own);",
            "memset(d, 0, sizeof *d);",
            "memset(M, 0, (HEADS + 1) * MATRIX * sizeof(real));",
            "for (long b = 0; b < B; b++) {",
            "for (long h = 0; h < HEADS; h++)",
            "  unpack_matrix(gradient + (b * HEADS + h) * KEYS * VALUES, matrices + h * MATRIX);",
            "for (long first = (T - 1) / SEGMENT * SEGMENT; first >= 0; first -= SEGMENT)",
            "for (long h = 0; h < HEADS; h++) {",
            "const int steps = T - first < SEGMENT ? T - first : SEGMENT;",
            "real *const G = matrices + h * MATRIX;",
            "const long kept = (first / SEGMENT * B + b) * HEADS + h;",
            "unpack_matrix(states + kept * KEYS * VALUES, M);",
            "for (int t = 0; t < steps; t++) {",
            *row,
            *self.load(),
            *self.copy_reads(copy_numbers("{own}", "{row}", "VALUES")),
            *(line for write in self.writes for line in self.add_terms(write)),
            *reads_gradients,
            "}",
            "prepare(own, steps);",
            *(errors if self.writes else []),
            "for (int t = steps - 1; t >= 0; t--) {",
            *row,
            to,
            *writes_back,
            "}",
            "keys_back(own, d, steps, M, G);",
            "advance_matrix_back(own, d, steps, G);",
            "for (int t = 0; t < steps; t++) {",
            to,
            *self.store(),
            "}",
            "}",
            "for (long h = 0; h < HEADS; h++)",
            "  pack_matrix(matrices + h * MATRIX, gradient + (b * HEADS + h) * KEYS * VALUES);",
            "}",
            "}",
        ]
