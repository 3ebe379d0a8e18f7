"""Devices: select one, make it deterministic, and measure its free memory."""

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

import torch

from charlm.errors import ConfigError
from charlm.results.run import DeviceReason


def select_device(requested: str, threads: int) -> tuple[str, DeviceReason]:
    """Set the number of threads and determinism, and return a device and why it was chosen.

    Args:
        requested: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads of PyTorch.

    Raises:
        ConfigError: There is no such device.
    """
    torch.set_num_threads(threads)
    disable_malloc_trim()
    device = requested
    reason: DeviceReason = "requested"
    if requested == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        reason = "gpu_available" if device == "cuda" else "no_gpu"
    if device == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun: one GPU per process
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    if device != "cpu":
        kind, _, number = device.partition(":")
        if kind != "cuda" or (number and not number.isdigit()):
            raise ConfigError(
                f"cannot use --device {requested}: it must be one of auto, cpu, cuda, cuda:N. "
                "Try --device auto"
            )
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= count:
            raise ConfigError(
                f"cannot use --device {requested}: this machine has {count} CUDA devices. "
                "Try --device cpu"
            )
        # cuDNN's recurrences and cuBLAS are deterministic only with this workspace size, which
        # must be set before CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return device, reason


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


def available_memory(device: str) -> int:
    """Return the free memory of a device in bytes."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return free
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
