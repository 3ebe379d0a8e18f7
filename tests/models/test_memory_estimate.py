"""Tests of the memory that training is said to need, against what backpropagation saves."""

import pytest
import torch
from torch import Tensor

from charlm.config import Config, validate_config
from charlm.models.build import build_char_lm
from charlm.models.cost import (
    BYTES_PER_NUMBER,
    count_parameters_and_state,
    estimate_training_memory,
)

VOCABULARY_SIZE, TOLERANCE = 65, 2.0


def new_config(cell: str, kernel: str = "auto", hidden_size: int = 128) -> Config:
    return validate_config(
        {"cell": cell, "kernel": kernel, "hidden_size": hidden_size, "embedding_dim": 64}
        | {"batch_size": 4, "seq_len": 64}
    )


def saved_bytes(config: Config) -> int:
    """Return the bytes that are saved for the backward pass, without the weights."""
    model = build_char_lm(config, VOCABULARY_SIZE, config.kernel, "cpu")
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    saved: dict[int, int] = {}

    def save(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor  # stays alive: no other tensor takes its address

    ids = torch.zeros(config.seq_len, config.batch_size).long()
    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        loss, _ = model.loss(ids, ids, model.initial_state(config.batch_size))
    assert loss.requires_grad
    return sum(size for address, size in saved.items() if address not in weights)


def estimate(config: Config, device: str = "cpu") -> int:
    """Return the estimate without weights, gradients and moments."""
    parameters, _ = count_parameters_and_state(config, VOCABULARY_SIZE)
    total = estimate_training_memory(config, VOCABULARY_SIZE, device)
    return total - 4 * BYTES_PER_NUMBER * parameters


@pytest.mark.parametrize(
    ("cell", "kernel"),
    [
        ("lstm", "loop"),
        ("lstm", "native"),
        ("m2rnn", "loop"),
        ("deltanet", "loop"),
        ("deltanet", "scan"),
        ("gla", "loop"),
        ("gla", "scan"),
        ("mamba", "loop"),  # its state is a large vector
        ("mamba", "scan"),
        ("attention", "loop"),  # its state is a window of vectors
    ],
)
@pytest.mark.parametrize("hidden_size", [64, 128])
def test_estimate_is_what_backpropagation_saves(cell: str, kernel: str, hidden_size: int) -> None:
    config = new_config(cell, kernel, hidden_size)
    measured = saved_bytes(config)
    assert measured / TOLERANCE < estimate(config) < TOLERANCE * measured


def test_cell_without_another_kernel_is_counted_with_the_loop() -> None:
    assert estimate(new_config("m2rnn")) == estimate(new_config("m2rnn", "loop"))


def test_kernel_is_that_of_the_device() -> None:
    """There is no mamba3 but the loop on a GPU."""
    loop = estimate(new_config("mamba3", "loop"))
    assert estimate(new_config("mamba3"), "cuda:0") == loop


def test_no_random_numbers_are_drawn() -> None:
    before = torch.get_rng_state()
    estimate(new_config("rwkv7"), "mps")  # kernels are looked up once per device
    assert torch.equal(torch.get_rng_state(), before)
