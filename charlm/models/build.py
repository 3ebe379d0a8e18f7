"""TODO docstring."""

import torch
from torch import Tensor

from charlm.config import Config
from charlm.errors import DataError
from charlm.kernels.registry import KERNEL_PRIORITY, get_kernel, unsupported_reason
from charlm.kernels.registry import supported_kernels as kernels_of
from charlm.models.char_lm import CharLM
from charlm.models.cost import meta_device
from charlm.models.recurrent import Model, ModelFactory, RecurrentModel
from charlm.seeding import derive_seed


def select_kernel(config: Config, device: str = "cpu") -> tuple[str, str]:
    """The concrete kernel for this device that every layer has, and why it was chosen."""
    with meta_device():
        layers = CharLM(config, 1).cells
    if config.kernel != "auto":
        for layer in layers:
            get_kernel(config.kernel, layer, device)
        return config.kernel, "asked for"
    able = [kernels_of(layer, device) for layer in layers]
    if config.threads > 1 and device == "cpu" and all("fused" in names for names in able):
        return "fused", f"PyTorch's own uses all {config.threads} threads, compiled ones only one"
    fastest = next(name for name in able[0] if all(name in names for names in able))
    before = KERNEL_PRIORITY[device.partition(":")[0]]
    passed = before[: before.index(fastest)]
    why = [
        why
        for name in passed
        if not (why := unsupported_reason(name, layers[0], device)).endswith(name + " kernel")
    ]
    return fastest, "; ".join(["the fastest here", *why])


def build_char_lm(config: Config, symbols: int, kernel: str, device: str) -> CharLM:
    """A new model of characters with its seed's weights, the same on every device."""
    return build_model(CharLM, config, symbols, kernel, device)


def build_model(
    kind: ModelFactory[Model], config: Config, symbols: int, kernel: str, device: str
) -> Model:
    """Likewise, of any kind."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        return kind(config, symbols, kernel, device).to(device)


def load_weights(model: RecurrentModel, tensors: dict[str, dict[str, Tensor]]) -> None:
    """The weights of a checkpoint, which may come from anybody, into the model they must fit."""
    try:
        model.load_state_dict(tensors["model"])
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise DataError(
            f"the checkpoint's weights are not those of its settings: {reason}"
        ) from error
