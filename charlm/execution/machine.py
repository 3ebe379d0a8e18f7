"""Software and machine that a run is computed with."""

import platform

import torch

from charlm import __version__
from charlm.execution.processor import processor_model
from charlm.execution.torchrun import world_size
from charlm.results.run import Environment


def current_environment(device: str, threads: int) -> Environment:
    """Return versions, processor and device of this process.

    Args:
        device: Resolved device of the model.
        threads: CPU threads of PyTorch.
    """
    is_gpu = device.startswith("cuda")
    return Environment(
        charlm=__version__,
        torch=str(torch.__version__),
        python=platform.python_version(),
        machine=platform.machine(),
        device=device,
        threads=threads,
        processes=world_size(),
        processor=torch.cuda.get_device_name(device) if is_gpu else processor_model(),
    )
