"""Tracing of a model: its step is run once, and every operator of PyTorch becomes data.

The result is compared with the model in `parity`, so that a step that hides something from PyTorch
is refused and not exported wrongly.
"""

import inspect
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from charlm.exporting.graph_builder import GraphBuilder, UnsupportedStep, Value, kind_of
from charlm.exporting.torch_operators import RULES, SHAPE_ONLY
from charlm.models.char_lm import CharLM
from charlm.models.token_step import TokenStep, project_embeddings
from charlm.results.export import ModelGraph, Program, StateShape

GRAPH_FORMAT = 1
TOKEN = "token"


class OperatorRecorder(TorchDispatchMode):
    """Recorder of operators on known tensors; what depends on none of them is a constant."""

    def __init__(self, known: dict[str, Tensor]) -> None:
        """Start with the names of tensors that are not computed."""
        super().__init__()
        self.builder = GraphBuilder()
        self.values: dict[int, Value] = {}  # id of a tensor -> its value
        self.known: list[Tensor] = []  # keeps them alive, so that no id is used twice
        for name, tensor in known.items():
            self.bind(tensor, Value(name, kind_of(tensor.dtype), tuple(tensor.shape)))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: else PyTorch imports its compiler, which makes a directory in $TMPDIR."""
        return False

    def bind(self, tensor: Tensor, value: Value) -> None:
        """Note the value of a tensor."""
        if (value.kind, value.shape) != (kind_of(tensor.dtype), tuple(tensor.shape)):
            raise UnsupportedStep(f"it computes with {tensor.dtype} in a way that is not known")
        self.values[id(tensor)] = value
        self.known.append(tensor)

    def value(self, tensor: Tensor) -> Value:
        """Return the value of a tensor; of an unknown one, a constant."""
        if id(tensor) not in self.values:
            same = [known for known in self.known if _is_view_of_all(tensor, known)]
            value = self.values[id(same[0])] if same else self.builder.constant(tensor)
            self.bind(tensor, value)
        return self.values[id(tensor)]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute an operator, and record it.

        Raises:
            UnsupportedStep: There is no rule for it, or it draws, modifies or branches on values.
        """
        del types
        kwargs = kwargs or {}
        namespace, _, name = func._schema.name.partition("::")
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise UnsupportedStep("it draws random numbers")
        given = [x for x in tree_flatten((args, kwargs))[0] if isinstance(x, Tensor)]
        is_constant = all(id(x) not in self.values for x in given)
        if is_constant or name in SHAPE_ONLY:
            return func(*args, **kwargs)
        if name == "_local_scalar_dense":
            raise UnsupportedStep("it reads the value of a tensor, such as to branch on it")
        if func._schema.is_mutable:
            name = name.removesuffix("_")
            self._check_modified(args[0])
        if namespace != "aten" or name not in RULES:
            raise UnsupportedStep(f"it uses {name}, for which there is no rule")
        mapped_args, mapped_kwargs = tree_map_only(Tensor, self.value, (args, kwargs))
        try:
            call = inspect.signature(RULES[name]).bind(self.builder, *mapped_args, **mapped_kwargs)
        except TypeError as problem:
            raise UnsupportedStep(
                f"it uses {name} with an argument for which there is no rule: {problem}"
            ) from None
        recorded = RULES[name](*call.args, **call.kwargs)
        results = func(*args, **kwargs)
        if isinstance(results, Tensor):
            self.bind(results, recorded)
        else:
            for tensor, value in zip(results, recorded, strict=False):  # some outputs are unused
                self.bind(tensor, value)
        return results

    def _check_modified(self, tensor: Tensor) -> None:
        """Check that an operator modifies a tensor of its own that nothing else refers to."""
        value = self.values.get(id(tensor))
        storage = tensor.untyped_storage().data_ptr()
        sharing = [
            x for x in self.known if x is not tensor and x.untyped_storage().data_ptr() == storage
        ]
        if value is None or not value.name.startswith("#") or sharing:
            raise UnsupportedStep("it modifies a tensor that something else may read")


def _is_view_of_all(tensor: Tensor, known: Tensor) -> bool:
    """Return whether a tensor is another object for the same numbers, such as weight.data."""
    return (
        tensor.data_ptr() == known.data_ptr()
        and tensor.numel() > 0
        and (tensor.shape, tensor.stride(), tensor.dtype)
        == (known.shape, known.stride(), known.dtype)
    )


def trace_model(model: CharLM) -> ModelGraph:
    """Return the graph of a model, traced in float64.

    Raises:
        UnsupportedStep: Its cell does something that the graph cannot represent.
    """
    model = deepcopy(model).double().eval()
    weights = dict(model.state_dict(keep_vars=True))
    with torch.no_grad():
        token_step = TokenStep(model)
        with OperatorRecorder(weights) as recorder:
            first = token_step.initial_state(1)
        start = _program(recorder, first)
        states = {
            f"layers.{number}.{name}": part
            for (number, name), part in zip(_state_names(model), first[1:], strict=True)
        }
        # Copies: the parts of an initial state may be views of each other, or of a weight.
        inputs = {name: part.contiguous().clone() for name, part in states.items()}
        token = torch.tensor([0])
        with OperatorRecorder({**weights, **inputs, TOKEN: token}) as recorder:
            projected = project_embeddings(model, model.embed(token))
            after = token_step.step(projected, (first[0], *inputs.values()))
        step = _program(recorder, after)
    shapes = tuple(StateShape(name, tuple(part.shape)) for name, part in inputs.items())
    return ModelGraph(format=GRAPH_FORMAT, states=shapes, start=start, step=step)


def _program(recorder: OperatorRecorder, outputs: Sequence[Tensor]) -> Program:
    return recorder.builder.program([recorder.value(tensor) for tensor in outputs])


def _state_names(model: CharLM) -> list[tuple[int, str]]:
    return [(number, name) for number, names in enumerate(model.state_names) for name in names]
