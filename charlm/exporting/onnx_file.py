"""ONNX files of a graph: one step as a model, and the initial state as constants.

They are made from the same graph that the numpy reader interprets, operation by operation.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from charlm.errors import ConfigError
from charlm.results.export import ModelGraph, NumberKind, Operation

OPSET, IR_VERSION = 18, 10  # read by every runtime since 2024
PACKAGES = ("onnx", "onnxruntime")
DTYPES: dict[NumberKind, Any] = {"float": np.float32, "int": np.int64, "bool": np.bool_}
SAME_ARGUMENTS = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "floor": "Floor", "exp": "Exp", "log": "Log",
    "sqrt": "Sqrt", "sin": "Sin", "cos": "Cos", "tanh": "Tanh", "sigmoid": "Sigmoid", "erf": "Erf",
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "matmul": "MatMul",
    "maximum": "Max", "minimum": "Min", "where": "Where", "gt": "Greater", "lt": "Less",
    "ge": "GreaterOrEqual", "le": "LessOrEqual", "eq": "Equal", "and": "And", "or": "Or",
    "not": "Not",
}  # fmt: skip
WITH_AXES = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin"}
WITH_SHAPE = {"reshape": "Reshape", "broadcast": "Expand"}

Array = NDArray[Any]


def check_packages() -> None:
    """Check that ONNX files can be written and verified.

    Raises:
        ConfigError: A package is not installed.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"cannot write ONNX: {' and '.join(missing)} not installed. "
            "Try pip install 'charlm[onnx]', or leave --onnx out"
        )


class OnnxBuilder:
    """Builder of an ONNX graph in float32.

    Args:
        weights: Arrays that operations may name.
    """

    def __init__(self, weights: dict[str, Array]) -> None:
        from onnx import helper, numpy_helper  # noqa: PLC0415 (an extra)

        self.helper, self.numpy_helper = helper, numpy_helper
        self.weights = weights
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}

    def add(self, op_type: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its result."""
        output = output or f"node.{len(self.nodes)}"
        self.nodes.append(self.helper.make_node(op_type, inputs, [output], **attributes))
        return output

    def array(self, values: Any, dtype: Any = np.int64) -> str:
        """Return the name of a constant."""
        name = f"constant.{len(self.initializers)}"
        array = np.asarray(values, dtype=dtype)
        self.initializers[name] = self.numpy_helper.from_array(array, name)
        return name

    def operand(self, x: str | float) -> str:
        """Return the name of an input of an operation."""
        if not isinstance(x, str):
            return self.array(x, np.float32)
        if x in self.weights and x not in self.initializers:
            array = self.weights[x]
            array = array.astype(np.float32) if array.dtype.kind == "f" else array
            self.initializers[x] = self.numpy_helper.from_array(array, x)
        return x

    def operation(self, o: Operation) -> None:
        """Append the nodes of an operation."""
        inputs, output = [self.operand(x) for x in o.inputs], o.output
        op, axis = o.op, o.axes[0] if o.axes else 0
        if op in SAME_ARGUMENTS:
            self.add(SAME_ARGUMENTS[op], inputs, output)
        elif op in WITH_AXES:
            self.add(WITH_AXES[op], [*inputs, self.array(o.axes)], output, keepdims=1)
        elif op in WITH_SHAPE:
            self.add(WITH_SHAPE[op], [*inputs, self.array(o.shape)], output)
        elif op == "transpose":
            self.add("Transpose", inputs, output, perm=list(o.axes))
        elif op == "slice":
            ends = [self.array([n]) for n in (o.start, o.start + o.shape[axis], axis)]
            self.add("Slice", [*inputs, *ends], output)
        elif op == "concat":
            self.add("Concat", inputs, output, axis=axis)
        elif op == "take":
            self.add("Gather", inputs, output, axis=axis)
        elif op == "softmax":
            self.add("Softmax", inputs, output, axis=axis)
        elif op == "cumsum":
            self.add("CumSum", [*inputs, self.array(axis)], output)
        elif op == "cast":
            kind = self.helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[o.kind]))
            self.add("Cast", inputs, output, to=kind)
        elif op == "constant":
            self.constant(o)
        else:
            self.compound(op, inputs, output, o.kind)

    def constant(self, o: Operation) -> None:
        """Append a constant; a single number fills its shape."""
        numbers = np.array([float(value) for value in o.values]).astype(DTYPES[o.kind])
        array = numbers.reshape(o.shape) if len(numbers) != 1 else np.full(o.shape, numbers[0])
        self.initializers[o.output] = self.numpy_helper.from_array(array, o.output)

    def compound(self, op: str, inputs: list[str], output: str, kind: NumberKind) -> None:
        """Append an operation that ONNX has not, by those that it has.

        Raises:
            ConfigError: There is no way.
        """
        x, *others = inputs
        if op == "ne":
            self.add("Not", [self.add("Equal", inputs)], output)
        elif op == "logsigmoid":
            self.add("Neg", [self.add("Softplus", [self.add("Neg", [x])])], output)
        elif op == "expm1":  # tanh(x / 2) (exp(x) + 1), which loses no digits near 0
            half = self.add("Mul", [x, self.array(0.5, np.float32)])
            sum_ = self.add("Add", [self.add("Exp", [x]), self.array(1, np.float32)])
            self.add("Mul", [self.add("Tanh", [half]), sum_], output)
        elif op == "log1p":  # 2 artanh(x / (x + 2))
            share = self.add("Div", [x, self.add("Add", [x, self.array(2, np.float32)])])
            self.add("Mul", [self.add("Atanh", [share]), self.array(2, np.float32)], output)
        elif op == "remainder" and kind == "int":
            self.add("Mod", inputs, output)
        elif op == "remainder":
            floor = self.add("Floor", [self.add("Div", inputs)])
            self.add("Sub", [x, self.add("Mul", [floor, *others])], output)
        else:
            raise ConfigError(
                f"cannot write ONNX: there is no way to express {op}. Leave --onnx out"
            )

    def serialize(
        self,
        name: str,
        inputs: dict[str, tuple[NumberKind, Sequence[int]]],
        outputs: dict[str, Any],
    ) -> bytes:
        """Return the checked file of the graph.

        Args:
            name: Name of the graph.
            inputs: Name -> kind of numbers and shape.
            outputs: Name -> value that it has, and shape.
        """
        from onnx import checker  # noqa: PLC0415 (an extra)

        def info(name: str, kind: NumberKind, shape: Sequence[int]) -> Any:
            dtype = self.helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[kind]))
            return self.helper.make_tensor_value_info(name, dtype, list(shape))

        for output, (value, _) in outputs.items():
            self.add("Identity", [self.operand(value)], output)
        graph = self.helper.make_graph(
            self.nodes,
            name,
            [info(key, kind, shape) for key, (kind, shape) in inputs.items()],
            [info(key, "float", shape) for key, (_, shape) in outputs.items()],
            list(self.initializers.values()),
        )
        model = self.helper.make_model(
            graph,
            opset_imports=[self.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="charlm",
        )
        checker.check_model(model, full_check=True)
        data: bytes = model.SerializeToString()
        return data


def next_name(state: str) -> str:
    """Return the name of the output that becomes the input `state` of the next step."""
    return f"next.{state}"


def step_model(graph: ModelGraph, weights: dict[str, Array], vocabulary_size: int) -> bytes:
    """Return the file of one step: token and states in, logits and next states out."""
    builder = OnnxBuilder(weights)
    for operation in graph.step.operations:
        builder.operation(operation)
    logits, *values = graph.step.outputs
    inputs: dict[str, tuple[NumberKind, Sequence[int]]] = {"token": ("int", (1,))}
    inputs |= {state.name: ("float", state.shape) for state in graph.states}
    outputs = {"logits": (logits, (1, vocabulary_size))} | {
        next_name(state.name): (value, state.shape)
        for state, value in zip(graph.states, values, strict=True)
    }
    return builder.serialize("step", inputs, outputs)


def start_model(graph: ModelGraph, first: Sequence[Array]) -> bytes:
    """Return the file of the start: no inputs; logits of the first token and the initial states.

    Args:
        graph: The graph, for the names of the states.
        first: The logits (vocabulary size,), then every initial state.
    """
    logits, *states = first
    names = ["logits", *(state.name for state in graph.states)]
    arrays = [logits[None], *states]
    builder = OnnxBuilder({f"value.{n}": a for n, a in zip(names, arrays, strict=True)})
    outputs = {n: (f"value.{n}", a.shape) for n, a in zip(names, arrays, strict=True)}
    return builder.serialize("start", {}, outputs)


class OnnxReader:
    """Model in ONNX files, read token by token with onnxruntime."""

    def __init__(self, folder: Path) -> None:
        from onnxruntime import InferenceSession, SessionOptions  # noqa: PLC0415 (an extra)

        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only
        files = [str(folder / name) for name in ("start.onnx", "model.onnx")]
        self.start, self.step = (
            InferenceSession(file, options, providers=["CPUExecutionProvider"]) for file in files
        )
        self.states = [part.name for part in self.start.get_outputs()][1:]

    def read_tokens(self, ids: Sequence[int]) -> Array:
        """Return the logits before each id and after the last, (length + 1, vocabulary size)."""
        logits, *parts = self.start.run(None, {})
        rows = [logits]
        used = {part.name for part in self.step.get_inputs()}  # a state may be ignored
        for token in ids:
            feed = {"token": np.array([token]), **dict(zip(self.states, parts, strict=True))}
            logits, *parts = self.step.run(None, {k: v for k, v in feed.items() if k in used})
            rows.append(logits)
        return np.concatenate(rows)
