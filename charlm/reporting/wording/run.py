"""Kernel and device of a run in words."""

from charlm.results.run import DeviceReason, KernelReason

DEVICE_REASONS: dict[DeviceReason, str] = {
    "requested": "as requested",
    "gpu_available": "a GPU is available",
    "no_gpu": "no GPU is available",
}


def describe_kernel_reason(reason: KernelReason, threads: int) -> str:
    """Return why a kernel was chosen for a run with this number of threads."""
    if reason.kind == "requested":
        return "requested"
    if reason.kind == "threads":
        return f"uses all {threads} threads, compiled kernels only 1"
    return "; ".join(["the fastest here", *reason.skipped.values()])
