"""Rules that express operators of PyTorch by the operations of a graph.

They are the operators of the ATen library, to which PyTorch reduces what a program calls.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

from charlm.exporting.graph_builder import GraphBuilder, Operand, UnsupportedStep, Value, kind_of
from charlm.exporting.torch_shapes import SHAPE_RULES, Rule

RULES: dict[str, Rule] = {**SHAPE_RULES}

# Their results depend on the shape of their arguments alone.
SHAPE_ONLY = {
    *("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"),
    *("zeros_like", "ones_like", "full_like", "empty_like"),
}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Return a decorator that registers a rule for operators."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


# Elementwise operators

SAME_NAME = (
    *("neg", "abs", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sigmoid"),
    *("erf", "floor", "sign", "maximum", "minimum", "pow", "remainder", "where"),
    *("gt", "ge", "lt", "le", "eq", "ne"),
)
OTHER_NAME = {"mul": "mul", "logical_and": "and", "logical_or": "or", "logical_not": "not"}
OTHER_NAME |= {"bitwise_and": "and", "bitwise_or": "or", "bitwise_not": "not"}


def _elementwise(op: str) -> Rule:
    return lambda b, *inputs: b.apply(op, *inputs)


RULES.update({name: _elementwise(name) for name in SAME_NAME})
RULES.update({name: _elementwise(op) for name, op in OTHER_NAME.items()})


def _scaled(b: GraphBuilder, x: Operand, alpha: float) -> Operand:
    return x if alpha == 1 else b.apply("mul", x, alpha)


@rule("add")
def _add(b: GraphBuilder, x: Value, y: Operand, alpha: float = 1) -> Value:
    return b.apply("add", x, _scaled(b, y, alpha))


@rule("sub")
def _sub(b: GraphBuilder, x: Value, y: Operand, alpha: float = 1) -> Value:
    return b.apply("sub", x, _scaled(b, y, alpha))


@rule("rsub")
def _rsub(b: GraphBuilder, x: Value, y: Operand, alpha: float = 1) -> Value:
    return b.apply("sub", y, _scaled(b, x, alpha))


@rule("div")
def _div(b: GraphBuilder, x: Value, y: Operand, rounding_mode: str | None = None) -> Value:
    if rounding_mode is not None:
        raise UnsupportedStep("it divides with rounding")
    return b.apply("div", x, y)


@rule("clamp", "hardtanh")
def _clamp(
    b: GraphBuilder, x: Value, smallest: Operand | None = None, largest: Operand | None = None
) -> Value:
    x = x if smallest is None else b.apply("maximum", x, smallest)
    return x if largest is None else b.apply("minimum", x, largest)


@rule("clamp_min")
def _clamp_min(b: GraphBuilder, x: Value, smallest: Operand) -> Value:
    return b.apply("maximum", x, smallest)


@rule("elu")
def _elu(b: GraphBuilder, x: Value, alpha: float = 1, scale: float = 1, slope: float = 1) -> Value:
    below = b.apply("mul", b.apply("expm1", _scaled(b, x, slope)), float(alpha))
    return b.apply("mul", b.apply("where", b.apply("gt", x, 0.0), x, below), float(scale))


@rule("log_sigmoid_forward")
def _log_sigmoid(b: GraphBuilder, x: Value) -> list[Value]:
    return [b.apply("logsigmoid", x)]


@rule("softplus")
def _softplus(b: GraphBuilder, x: Value, beta: float = 1, threshold: float = 20) -> Value:
    if threshold < 20:  # above it PyTorch returns x: from 20 on, the difference is below 3e-9
        raise UnsupportedStep(f"it uses softplus with the threshold {threshold:g}, less than 20")
    negative = b.apply("logsigmoid", b.apply("mul", x, -float(beta)))
    return b.apply("div", b.apply("neg", negative), float(beta))


@rule("gelu")
def _gelu(b: GraphBuilder, x: Value, approximate: str = "none") -> Value:
    if approximate == "tanh":
        cubic = b.apply("mul", b.apply("mul", b.apply("mul", x, x), x), 0.044715)
        inner = b.apply("mul", b.apply("add", x, cubic), math.sqrt(2 / math.pi))
        share = b.apply("tanh", inner)
    else:
        share = b.apply("erf", b.apply("mul", x, math.sqrt(0.5)))
    return b.apply("mul", b.apply("mul", x, 0.5), b.apply("add", share, 1.0))


RULES |= {
    "relu": lambda b, x: b.apply("maximum", x, 0.0),
    "leaky_relu": lambda b, x, slope=0.01: b.apply(
        "where", b.apply("gt", x, 0.0), x, b.apply("mul", x, float(slope))
    ),
    "rsqrt": lambda b, x: b.apply("div", 1.0, b.apply("sqrt", x)),
    "reciprocal": lambda b, x: b.apply("div", 1.0, x),
    "silu": lambda b, x: b.apply("mul", x, b.apply("sigmoid", x)),
    "lerp": lambda b, x, y, w: b.apply("add", x, b.apply("mul", w, b.apply("sub", y, x))),
    "addcmul": lambda b, x, y, z, value=1: b.apply(
        "add", x, _scaled(b, b.apply("mul", y, z), value)
    ),
    "masked_fill": lambda b, x, mask, value: b.apply("where", mask, value, x),
    "_to_copy": lambda b, x, dtype=None, **_: b.cast(x, kind_of(dtype) if dtype else x.kind),
}

# Products


@rule("mm", "bmm")
def _matmul(b: GraphBuilder, x: Value, y: Value) -> Value:
    return b.matmul(x, y)


@rule("addmm", "baddbmm")
def _addmm(
    b: GraphBuilder, bias: Value, x: Value, y: Value, beta: float = 1, alpha: float = 1
) -> Value:
    return b.apply("add", _scaled(b, bias, beta), _scaled(b, b.matmul(x, y), alpha))


@rule("mv")
def _mv(b: GraphBuilder, x: Value, y: Value) -> Value:
    return b.reshape(b.matmul(x, b.reshape(y, (-1, 1))), (x.shape[0],))


# Reductions


def _reduction(op: str) -> Rule:
    def reduce(
        b: GraphBuilder, x: Value, axes: Sequence[int] | int | None = None, keepdim: bool = False
    ) -> Value:
        return b.reduce(op, x, (axes,) if isinstance(axes, int) else axes or (), keepdim)

    return reduce


RULES |= {"sum": _reduction("sum"), "mean": _reduction("mean")}
RULES |= {"amax": _reduction("max"), "amin": _reduction("min")}


@rule("_softmax")
def _softmax(b: GraphBuilder, x: Value, axis: int, half_to_float: bool) -> Value:
    del half_to_float
    return b.along("softmax", x, axis)


@rule("_log_softmax")
def _log_softmax(b: GraphBuilder, x: Value, axis: int, half_to_float: bool) -> Value:
    del half_to_float
    shifted = b.apply("sub", x, b.reduce("max", x, (axis,), True))
    total = b.reduce("sum", b.apply("exp", shifted), (axis,), True)
    return b.apply("sub", shifted, b.apply("log", total))


@rule("cumsum")
def _cumsum(b: GraphBuilder, x: Value, axis: int) -> Value:
    return b.along("cumsum", x, axis)


@rule("linalg_vector_norm")
def _norm(
    b: GraphBuilder,
    x: Value,
    order: float = 2,
    axes: Sequence[int] | None = None,
    keepdim: bool = False,
) -> Value:
    if order != 2:
        raise UnsupportedStep(f"it uses a norm of order {order:g}")
    return b.apply("sqrt", b.reduce("sum", b.apply("mul", x, x), axes or (), keepdim))


@rule("var")
def _var(
    b: GraphBuilder,
    x: Value,
    axes: Sequence[int] | None = None,
    correction: float = 1,
    keepdim: bool = False,
) -> Value:
    axes = axes or range(len(x.shape))
    centred = b.apply("sub", x, b.reduce("mean", x, axes, True))
    total = b.reduce("sum", b.apply("mul", centred, centred), axes, keepdim)
    return b.apply("div", total, math.prod(x.shape[axis] for axis in axes) - float(correction))


@rule("std")
def _std(b: GraphBuilder, x: Value, *args: Any, **kwargs: Any) -> Value:
    return b.apply("sqrt", _var(b, x, *args, **kwargs))


@rule("native_layer_norm")
def _layer_norm(
    b: GraphBuilder,
    x: Value,
    shape: Sequence[int],
    weight: Value | None,
    bias: Value | None,
    eps: float,
) -> list[Value]:
    axes = range(len(x.shape) - len(shape), len(x.shape))
    centred = b.apply("sub", x, b.reduce("mean", x, axes, True))
    variance = b.reduce("mean", b.apply("mul", centred, centred), axes, True)
    normed = b.apply("div", centred, b.apply("sqrt", b.apply("add", variance, float(eps))))
    normed = normed if weight is None else b.apply("mul", normed, weight)
    return [normed if bias is None else b.apply("add", normed, bias)]
