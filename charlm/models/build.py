"""Construction of models: choice of the kernel, seeded weights, weights of a checkpoint."""

from typing import NamedTuple

import torch
from torch import Tensor

from charlm.config import Config
from charlm.kernels.registry import (
    get_kernel,
    kernels_by_priority,
    supported_kernels,
    unsupported_reason,
)
from charlm.models.char_lm import CharLM
from charlm.models.recurrent import Model, ModelFactory, RecurrentModel
from charlm.models.shapes import meta_device
from charlm.models.tensor_layout import specs_of
from charlm.results.run import KernelReason
from charlm.seeding import derive_seed
from charlm.storage.tensor_header import check_specs


class KernelChoice(NamedTuple):
    """The kernel that all layers of a model use, and why."""

    name: str
    reason: KernelReason


def select_kernel(config: Config, device: str = "cpu") -> KernelChoice:
    """Choose the kernel for this device that supports every layer.

    Raises:
        ConfigError: `config.kernel` names one that does not.
    """
    with meta_device():
        cells = CharLM(config, 1).cells
    if config.kernel != "auto":
        for cell in cells:
            get_kernel(config.kernel, cell, device)
        return KernelChoice(config.kernel, KernelReason("requested"))
    supported = [supported_kernels(cell, device) for cell in cells]
    if config.threads > 1 and device == "cpu" and all("native" in names for names in supported):
        return KernelChoice("native", KernelReason("threads"))
    fastest = next(name for name in supported[0] if all(name in names for names in supported))
    candidates = kernels_by_priority(cells[0], device)
    faster = candidates[: candidates.index(fastest)]
    reasons = {name: unsupported_reason(name, cells[0], device) for name in faster}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    return KernelChoice(fastest, KernelReason("fastest", skipped))


def build_char_lm(config: Config, vocabulary_size: int, kernel: str, device: str) -> CharLM:
    """Return a new character language model, see `build_model`."""
    return build_model(CharLM, config, vocabulary_size, kernel, device)


def build_model(
    model_class: ModelFactory[Model], config: Config, input_size: int, kernel: str, device: str
) -> Model:
    """Return a new model whose weights depend on `config.seed` alone, not on the device.

    Args:
        model_class: CharLM or RecurrentRegressor.
        config: Settings of the model.
        input_size: Vocabulary size of a CharLM, or numbers that a regressor reads at a time.
        kernel: Name of a kernel.
        device: "cpu", "cuda", "cuda:N" or "mps".
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(config.seed, "weights"))
        return model_class(config, input_size, kernel, device).to(device)


def load_weights(model: RecurrentModel, tensors: dict[str, dict[str, Tensor]]) -> None:
    """Load the weights of a checkpoint, which may come from anybody, into a model.

    Raises:
        DataError: Names, types or shapes of the weights do not fit. Nothing is converted.
    """
    check_specs(specs_of(tensors["model"]), specs_of(model.state_dict()), "its weights")
    model.load_state_dict(tensors["model"])
