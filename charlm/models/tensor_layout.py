"""Names, types and shapes of the tensors that a checkpoint must have, from the settings alone."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from charlm.config import Config
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import RecurrentModel
from charlm.models.shapes import meta_device
from charlm.storage.tensor_header import TensorSpec, check_specs

DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
    torch.complex64: "C64",
}
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
FIRST_MOMENT, SECOND_MOMENT, STEP = MOMENTS


class TensorLayout(NamedTuple):
    """Tensors of a checkpoint by name.

    Attributes:
        model: Weights.
        carried: State after the last step, of all streams; a checkpoint before the first step has
            none.
        moments: Averages of the optimizer. A parameter that never had a gradient has none.
    """

    model: dict[str, TensorSpec]
    carried: dict[str, TensorSpec]
    moments: dict[str, TensorSpec]

    def check_weights(self, found: Mapping[str, TensorSpec]) -> None:
        """Check the weights of a checkpoint.

        Raises:
            DataError: They are not exactly those of the model.
        """
        check_specs(found, self.model, "its weights")

    def check_training_state(self, found: Mapping[str, TensorSpec], step: int) -> None:
        """Check the moments and the carried state of a checkpoint of a step.

        PyTorch's optimizer and compiled kernels do not check them: a tensor of another shape would
        be read and written outside of its memory.

        Raises:
            DataError: They are not exactly those of the model at this step.
        """
        parameters = {name.partition("/")[2] for name in self.moments}
        groups = [frozenset(moment_name(kind, name) for kind in MOMENTS) for name in parameters]
        expected = {**self.carried, **self.moments} if step else {}
        check_specs(found, expected, "tensors of its training state", groups)


def moment_name(kind: str, parameter: str) -> str:
    """Return the name of an average of the optimizer."""
    return f"{kind}/{parameter}"


def carried_name(layer: int, part: int) -> str:
    """Return the name of a part of the carried state."""
    return f"carried/{layer}/{part}"


def spec_of(tensor: Tensor) -> TensorSpec:
    """Return type and shape of a tensor."""
    return TensorSpec(DTYPES.get(tensor.dtype, str(tensor.dtype)), tuple(tensor.shape))


def specs_of(tensors: Mapping[str, Tensor]) -> dict[str, TensorSpec]:
    """Return type and shape of tensors by name."""
    return {name: spec_of(tensor) for name, tensor in tensors.items()}


@torch.no_grad()
def model_layout(model: RecurrentModel, batch_size: int) -> TensorLayout:
    """Return the layout of the checkpoints of a model.

    Args:
        model: Model, which may be on the meta device.
        batch_size: Streams of all processes.
    """
    parameters = {name: spec_of(parameter) for name, parameter in model.named_parameters()}
    return TensorLayout(
        model=specs_of(model.state_dict()),
        carried={
            carried_name(layer, part): spec_of(value)
            for layer, state in enumerate(model.initial_state(batch_size))
            for part, value in enumerate(state)
        },
        moments={
            moment_name(kind, name): spec if kind != STEP else TensorSpec("F32", ())
            for name, spec in parameters.items()
            for kind in MOMENTS
        },
    )


def expected_layout(config: Config, vocabulary_size: int) -> TensorLayout:
    """Return the layout of the checkpoints of a run, without allocating anything.

    Raises:
        ConfigError: The cell was not loaded, or does not fit the settings.
    """
    with meta_device():
        model = CharLM(config, vocabulary_size)
        return model_layout(model, config.batch_size)
