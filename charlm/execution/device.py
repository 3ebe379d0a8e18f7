"""Devices: select one, make it deterministic, and measure its free memory."""

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path
from typing import Literal

import torch

from charlm.errors import ConfigError
from charlm.results.run import DeviceReason

THREADS_PER_CORE = 4  # more only wait for each other


def select_device(
    requested: str, threads: int, dtype: Literal["fp32", "bf16"] = "fp32"
) -> tuple[str, DeviceReason]:
    """Set the number of threads and determinism, and return a device and why it was chosen.

    Args:
        requested: "auto", "cpu", "cuda", "cuda:N" or "mps". "auto" never takes MPS, where only
            the loop over time runs.
        threads: CPU threads of PyTorch; 0: one, until the fastest number is measured.
        dtype: Numbers outside of the recurrence.

    Raises:
        ConfigError: There is no such device, it cannot compute with these numbers, or this machine
            has far fewer cores than threads.
    """
    check_threads(threads)
    torch.set_num_threads(threads or 1)
    disable_malloc_trim()
    device = requested
    reason: DeviceReason = "requested"
    if requested == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        reason = "gpu_available" if device == "cuda" else "no_gpu"
    if device == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun: one GPU per process
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    check_device(requested, device)
    check_dtype(dtype, device)
    if device.startswith("cuda"):
        # cuDNN's recurrences and cuBLAS are deterministic only with this workspace size, which
        # must be set before CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return device, reason


def check_threads(threads: int) -> None:
    """Check that this machine has cores for a number of threads.

    Raises:
        ConfigError: It has far fewer, so that the system may refuse to start the threads, which
            ends the process without a message.
    """
    cores = available_cores()
    if threads > cores * THREADS_PER_CORE:
        raise ConfigError(
            f"cannot use --threads {threads}: this process may use {cores} "
            f"{'core' if cores == 1 else 'cores'}. Try --threads {cores}"
        )


def check_device(requested: str, device: str) -> None:
    """Check that this machine has a device.

    Args:
        requested: As it was requested, for messages.
        device: "cpu", "cuda", "cuda:N" or "mps".

    Raises:
        ConfigError: There is no such device.
    """
    kind, _, number = device.partition(":")
    is_known = device in ("cpu", "mps") or (kind == "cuda" and (number.isdigit() or not number))
    if not is_known:
        raise ConfigError(
            f"cannot use --device {requested}: it must be one of auto, cpu, cuda, cuda:N, mps. "
            "Try --device auto"
        )
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise ConfigError(
                f"cannot use --device {requested}: this machine has {count} CUDA devices. "
                "Try --device cpu"
            )
    if kind == "mps" and not torch.backends.mps.is_available():
        cause = "needs macOS 12.3 or later on Apple silicon"
        if not torch.backends.mps.is_built():
            cause = "is not part of this PyTorch"
        raise ConfigError(f"cannot use --device mps: MPS {cause}. Try --device cpu")


def check_dtype(dtype: Literal["fp32", "bf16"], device: str) -> None:
    """Check that a device computes with numbers of this type.

    Raises:
        ConfigError: It does not.
    """
    if dtype == "fp32":
        return
    if not device.startswith("cuda"):
        raise ConfigError(
            f"cannot use --dtype {dtype} on {device}: only CUDA devices have it. Try --dtype fp32"
        )
    if not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ConfigError(f"cannot use --dtype {dtype}: this GPU has no bfloat16. Try --dtype fp32")


def disable_malloc_trim() -> None:
    """Let glibc keep the memory that each step frees, instead of requesting it again.

    The operating system fills fresh pages with zeros: tens of megabytes at each step. Other C
    libraries are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        no_mmap, no_trim = (-4, 0), (-1, 2**31 - 1)  # M_MMAP_MAX, M_TRIM_THRESHOLD
        mallopt(*no_mmap)
        mallopt(*no_trim)


def to_float64(values: torch.Tensor) -> torch.Tensor:
    """Return values in float64; those of MPS, which has none, on the CPU."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def available_memory(device: str) -> int:
    """Return the free memory of a device in bytes."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return free
    if device == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    # Linux reports what it could free; elsewhere all physical memory is taken. A container or a
    # resource limit may allow less.
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    bounds = [os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError), open("/proc/meminfo") as lines:
        bounds = [int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable")] or bounds
    with suppress(OSError, ValueError):  # "max" is not a number: there is no limit
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        bounds.append(int(Path("/sys/fs/cgroup/memory.max").read_text()) - used)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(bounds) if limit == resource.RLIM_INFINITY else min(*bounds, limit)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
