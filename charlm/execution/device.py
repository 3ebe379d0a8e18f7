"""This machine: its device, its memory, and how to make it compute the same thing twice."""

import ctypes
import os
import resource
from contextlib import suppress
from pathlib import Path

import torch

from charlm.errors import ConfigError


def select_device(asked: str, threads: int) -> tuple[str, str]:
    """Sets threads and determinism; (device, why it was chosen). An absent one is an error."""
    torch.set_num_threads(threads)
    disable_malloc_trim()
    device = asked
    why = "asked for"
    if asked == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
        why = "a GPU is there" if device == "cuda" else "no GPU is there"
    if device == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun's: a GPU for each process
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    if device != "cpu":
        kind, _, number = device.partition(":")
        if kind != "cuda" or (number and not number.isdigit()):
            raise ConfigError(f"--device {asked}: one of auto, cpu, cuda, cuda:N")
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(number or 0) >= there:
            raise ConfigError(
                f"--device {asked}: {there} CUDA devices are there; --device cpu works"
            )
        # cuDNN's recurrences and cuBLAS repeat exactly only so; it must be set before CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    return device, why


def disable_malloc_trim() -> None:
    """Lets glibc keep what training gives back at each update, instead of asking for it again.

    Fresh pages are filled with zeros by the kernel, tens of megabytes at each update. Other C
    libraries keep their ways.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        never_mapped, no_more_given_back = (-4, 0), (-1, 2**31 - 1)  # M_MMAP_MAX, M_TRIM_THRESHOLD
        mallopt(*never_mapped)
        mallopt(*no_more_given_back)


def available_memory(device: str) -> int:
    """Bytes that can still be taken on the device."""
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return free
    # Linux says what it could free; elsewhere all there is must do. A container may have less.
    pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
    bounds = [os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")]
    with suppress(OSError), open("/proc/meminfo") as lines:
        bounds = [int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable")] or bounds
    with suppress(OSError, ValueError):  # "max" is no number: there is no bound
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        bounds.append(int(Path("/sys/fs/cgroup/memory.max").read_text()) - used)
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(bounds) if limit == resource.RLIM_INFINITY else min(*bounds, limit)


def available_cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
