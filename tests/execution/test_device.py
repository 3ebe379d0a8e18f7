"""Tests of devices and number types: selection, and refusal in one line."""

from typing import Literal

import pytest
import torch

from charlm.errors import ConfigError
from charlm.execution.device import select_device, to_float64

DType = Literal["fp32", "bf16"]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that there is one CUDA device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    monkeypatch.setattr(torch, "use_deterministic_algorithms", lambda mode: None)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def pretend_mps(monkeypatch: pytest.MonkeyPatch, *, is_built: bool, is_available: bool) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: is_built)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: is_available)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("device", "dtype", "pattern"),
    [
        ("tpu", "fp32", "--device tpu: it must be one of auto, cpu, cuda, cuda:N, mps"),
        ("mps:0", "fp32", "--device mps:0: it must be one of"),
        ("cuda:x", "fp32", "--device cuda:x: it must be one of"),
        ("cuda", "fp32", "--device cuda: this machine has 0 CUDA devices"),
        ("mps", "fp32", "--device mps: MPS .*Try --device cpu"),
        ("auto", "bf16", "--dtype bf16 on cpu: only CUDA devices have it. Try --dtype fp32"),
        ("cpu", "bf16", "--dtype bf16 on cpu"),
    ],
)
def test_absent_devices_and_numbers_are_refused(device: str, dtype: DType, pattern: str) -> None:
    with pytest.raises(ConfigError, match=pattern) as raised:
        select_device(device, 1, dtype)
    assert "\n" not in str(raised.value)


def test_mps_is_taken_only_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    pretend_mps(monkeypatch, is_built=True, is_available=True)
    assert select_device("mps", 1) == ("mps", "requested")
    assert select_device("auto", 1) == ("cpu", "no_gpu")
    with pytest.raises(ConfigError, match="--dtype bf16 on mps"):
        select_device("mps", 1, "bf16")


@pytest.mark.parametrize(
    ("is_built", "cause"), [(False, "not part of this PyTorch"), (True, "needs macOS")]
)
def test_missing_mps_is_explained(
    monkeypatch: pytest.MonkeyPatch, is_built: bool, cause: str
) -> None:
    pretend_mps(monkeypatch, is_built=is_built, is_available=False)
    with pytest.raises(ConfigError, match=cause):
        select_device("mps", 1)


@pytest.mark.usefixtures("gpu")
def test_bf16_is_for_gpus_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert select_device("auto", 1, "bf16") == ("cuda", "gpu_available")
    with pytest.raises(ConfigError, match="--device cuda:1: this machine has 1 CUDA"):
        select_device("cuda:1", 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    with pytest.raises(ConfigError, match="this GPU has no bfloat16"):
        select_device("cuda", 1, "bf16")


def test_float64_values_stay_on_a_device_that_has_them() -> None:
    values = to_float64(torch.ones(2))
    assert values.dtype == torch.float64 and values.device.type == "cpu"
