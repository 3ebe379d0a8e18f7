"""C text of the gradients of a matrix memory; memory_c.py has the equations."""

from charlm.kernels.compiled.memory import Slot
from charlm.kernels.compiled.memory_c import AT, ROWS_OF_VALUES, ForwardText, row_loop


class MemoryText(ForwardText):
    """The C of one memory's step, and of its gradients."""

    def change_again(self) -> list[str]:
        """Return the loop that computes the matrix after this step, for the backward pass."""
        value = f"M[{AT}]"
        if self.decay:
            value = f"{self.x(self.decay)}[j] * {value}"
        added = [f"u{i}" for i in range(len(self.writes))]
        for name, write in zip(added, self.writes, strict=True):
            value += f" + y_{name}_@ * {self.x(write.k)}[j]"
        return row_loop(ROWS_OF_VALUES, added, [f"next[{AT}] = {value};"], {})

    def has_gradient(self, slot: Slot) -> bool:
        """Return whether anything but constants is in a slot."""
        return any(column.op != "const" for column in slot.columns)

    def gradient_change(self) -> tuple[list[str], list[str]]:
        """Return the numbers and lines of a row for the change of G that a step has left to do."""
        value = f"G[{AT}]"
        if self.decay:
            value = f"p{self.x(self.decay)}[j] * {value}"
        reads = range(len(self.reads))
        value += "".join(f" + y_pdr{n}_@ * py{n}[j]" for n in reads)
        return [f"pdr{n}" for n in reads], [f"const real g@ = {value};", f"G[{AT}] = g@;"]

    def step_back(self) -> list[str]:
        """Return the lines of the gradients of a step, from the matrix M before it."""
        numbers, body = self.gradient_change()
        needs_decay = self.decay is not None and self.has_gradient(self.decay)
        early = [n for n in range(len(self.reads)) if needs_decay and not self.late[n]]
        sums = {}
        if self.decay and needs_decay:
            body.append(f"const real m@ = M[{AT}];")
            sums[f"d{self.x(self.decay)}"] = "m@ * g@"
        for n in early:
            numbers.append(f"dr{n}")
            sums[f"mr{n}"] = f"y_dr{n}_@ * m@"
        dots = []
        for i, write in enumerate(self.writes):
            numbers.append(f"u{i}")
            sums[f"d{self.x(write.k)}"] = f"y_u{i}_@ * g@"
            dots.append(f"du{i}")
            body.append(f"d_du{i}_@ += {self.x(write.k)}[j] * g@;")
        others = [n for n in range(len(self.reads)) if n not in early]
        cleared = [*sums, *(f"mr{n}" for n in others)]
        lines = [f"memset({name}, 0, sizeof {name});" for name in cleared]
        lines += row_loop(ROWS_OF_VALUES, numbers, body, sums, dots)
        for i in reversed(range(len(self.writes))):
            lines += self.write_back(i)
        if others:
            terms = {f"mr{n}": f"y_dr{n}_@ * M[{AT}]" for n in others}
            lines += row_loop(ROWS_OF_VALUES, [f"dr{n}" for n in others], [], terms)
        for n in range(len(self.reads)):
            lines += self.read_back(n, needs_decay)
        return lines

    def write_back(self, i: int) -> list[str]:
        """Return the lines of the gradients of a write, after those of all later reads."""
        write, lines = self.writes[i], []
        for n, read in enumerate(self.reads):
            if self.writes_before[n] > i:
                lines.append(f"add_scaled(du{i}, {self.product(i, n)}, dr{n});")
                by = f"dot_values(dr{n}, u{i})"
                lines.append(f"add_scaled_keys(d{self.x(write.k)}, {by}, {self.x(read.q)});")
        lines.append(f"memcpy(d{self.x(write.v)}, du{i}, sizeof du{i});")
        for number, c in write.terms:
            at = "0" if c.width == 1 else "j"
            loop = "for (int j = 0; j < VALUES_FILLED; j++)"
            lines.append(f"{loop} dr{number}[j] += {self.x(c)}[{at}] * du{i}[j];")
            if c.width == 1:
                lines.append(f"d{self.x(c)}[0] = dot_values(du{i}, r{number});")
            else:
                lines.append(f"{loop} d{self.x(c)}[j] = du{i}[j] * r{number}[j];")
        return lines

    def read_back(self, n: int, needs_decay: bool) -> list[str]:
        """Return the lines of the gradients of a read, from the products of M and dr."""
        q, loop = self.x(self.reads[n].q), "for (int i = 0; i < KEYS_FILLED; i++)"
        factor = self.decay_factor(self.reads[n])
        lines = [f"{loop} d{q}[i] = mr{n}[i]{factor};"]
        if needs_decay and self.decay and self.is_decayed[n]:
            lines.append(f"{loop} d{self.x(self.decay)}[i] += mr{n}[i] * {q}[i];")
        for j in range(self.writes_before[n]):
            by = f"dot_values(u{j}, dr{n})"
            lines.append(f"add_scaled_keys(d{q}, {by}, {self.x(self.writes[j].k)});")
        return lines

    def backward(self, inputs_at: int, reads_gradients_at: int) -> list[str]:
        """Return the function of the gradients of all inputs and of the first matrix."""
        reads = range(len(self.reads))
        arrays = self.arrays()
        values, keys = "VALUES_FILLED", "KEYS_FILLED"
        gradients = {
            **{f"d{self.x(slot)}": self.size(slot) for slot in self.slots},
            **{f"{name}{i}": values for name in ("dr", "pdr") for i in reads},
            **{f"{name}{i}": keys for name in ("mr", "py") for i in reads},
            **{f"du{i}": values for i in range(len(self.writes))},
            **({f"p{self.x(self.decay)}": keys} if self.decay else {}),
        }
        load = [
            "const real *const row = v + (t * B + b) * SAVED;",
            f"const real *const in = row + {inputs_at};",
            *self.load(),
            *(
                f"memcpy(r{i}, row + READS_AT + ({i} * HEADS + h) * VALUES, VALUES * sizeof(real));"
                for i in reads
            ),
            *(line for write in self.writes for line in self.added(write)),
        ]
        left = [f"dr{i}" for i in reads] + [f"y{i}" for i in reads]
        left += [self.x(self.decay)] if self.decay else []
        return [
            "static void memory_backward(long T, long B, const real *v, const real *states,",
            "                            real *c, real *gradient, real *core) {",
            "real *const segment = aligned(core), *const G = segment + SEGMENT * MATRIX;",
            "for (long b = 0; b < B; b++) for (long h = 0; h < HEADS; h++) {",
            *self.declare({**arrays, **gradients}),
            *self.nothing_left(),
            "real *const own = gradient + (b * HEADS + h) * KEYS * VALUES;",
            "unpack_values(own, G);",
            "for (long first = (T - 1) / SEGMENT * SEGMENT; first >= 0; first -= SEGMENT) {",
            "const long end = first + SEGMENT < T ? first + SEGMENT : T;",
            "const long kept = (first / SEGMENT * B + b) * HEADS + h;",
            "unpack_values(states + kept * KEYS * VALUES, segment);",
            "for (long t = first; t + 1 < end; t++) {",
            "const real *M = segment + (t - first) * MATRIX;",
            "real *const next = segment + (t - first + 1) * MATRIX;",
            *load,
            *self.change_again(),
            "}",
            "for (long t = end - 1; t >= first; t--) {",
            "const real *const M = segment + (t - first) * MATRIX;",
            "real *const d = c + (t * B + b) * SCRATCH;",
            *load,
            *(
                f"memcpy(dr{i}, d + {reads_gradients_at} + ({i} * HEADS + h) * VALUES, "
                "VALUES * sizeof(real));"
                for i in reads
            ),
            *self.step_back(),
            *(line for slot in self.slots for line in self.store(slot)),
            *(f"memcpy(p{name}, {name}, sizeof {name});" for name in left),
            "}",
            "}",
            *row_loop(ROWS_OF_VALUES, *self.gradient_change(), {}),
            "pack_values(G, own);",
            "}",
            "}",
        ]

    def store(self, slot: Slot) -> list[str]:
        """Return the lines that store the gradient of a slot."""
        to = f"d + GRADIENTS_AT + {self.offset(slot)} + h * {slot.width}"
        name = f"d{self.x(slot)}"
        if slot is self.decay and slot.width != self.memory.keys:
            return [f"*({to}) = total({name});"]
        return [f"memcpy({to}, {name}, {slot.width} * sizeof(real));"]
