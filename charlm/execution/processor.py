"""Model of the processor, found without PyTorch."""

import platform
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def processor_model() -> str:
    """Return the model of the processor as the operating system names it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        with suppress(OSError):
            command = ["sysctl", "-n", "machdep.cpu.brand_string"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done.stdout.strip()
    return platform.processor() or platform.machine()
