"""Diagnosis of the machine and the installation, also where a library is broken."""

import locale
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import charlm
from charlm.config import FORMAT_VERSION
from charlm.execution.processor import processor_model
from charlm.results.doctor import (
    CacheDetails,
    CompilerDetails,
    DeviceDetails,
    Diagnosis,
    Problem,
)
from charlm.storage import files
from charlm.storage.private_cache import find_cache_problem
from charlm.storage.usage import measure_usage

LIBRARIES = ("torch", "numpy", "scipy", "safetensors", "msgspec", "matplotlib", "typer", "rich")
EXTRAS = {  # extra -> its package
    "codec": "constriction",
    "onnx": "onnxruntime",
    "parquet": "pyarrow",
    "ray": "ray",
    "tensorboard": "tensorboard",
    "zoo": "torchrecurrent",
    "zstd": "backports.zstd",
}
MIN_FREE_BYTES = 1_000_000_000  # less than this is a problem


def diagnose() -> Diagnosis:
    """Return versions, devices, compiler, cache and disk, and what is wrong with them.

    A small library is compiled, unless the cache has it. Nothing else but the directory of the
    cache is written.
    """
    problems: list[Problem] = []
    libraries = {name: installed for name in LIBRARIES if (installed := _version(name))}
    problems += [
        Problem("library_missing", name)
        for name in LIBRARIES
        if name not in libraries and name != "torch"
    ]
    instruction_set, threads, memory, cores = "", 0, 0, os.cpu_count() or 1
    devices: tuple[DeviceDetails, ...] = ()
    compiler = CompilerDetails(command="", version="", builds=False)
    try:
        from charlm.execution.device import available_cores, available_memory

        instruction_set, threads = _describe_torch()
        cores = available_cores()
        devices, memory = tuple(_find_devices()), available_memory("cpu")
        compiler = _check_compiler(problems)
    except (ImportError, OSError) as error:
        problems.append(Problem("torch_missing", str(error).splitlines()[0]))
    cache = _check_cache(problems)
    free = files.free_bytes(Path.cwd())
    if free < MIN_FREE_BYTES:
        problems.append(Problem("disk_full", "the working directory"))
    encoding = locale.getencoding()
    if encoding.lower().replace("-", "") != "utf8":
        problems.append(Problem("encoding", encoding))
    return Diagnosis(
        format=FORMAT_VERSION,
        charlm=charlm.__version__,
        installed_in=shorten(Path(charlm.__file__).parent),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        libraries=libraries,
        extras={extra: _version(package) for extra, package in EXTRAS.items()},
        platform=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=processor_model(),
        instruction_set=instruction_set,
        cores=cores,
        memory_bytes=memory,
        torch_threads=threads,
        devices=devices,
        compiler=compiler,
        cache=cache,
        free_bytes=free,
        encoding=encoding,
        problems=tuple(problems),
    )


def shorten(path: Path) -> str:
    """Return a path with ~ for the home directory."""
    with suppress(ValueError, RuntimeError):
        return str("~" / path.relative_to(Path.home()))
    return str(path)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _describe_torch() -> tuple[str, int]:
    """Return the instruction set that PyTorch uses, and its threads."""
    import torch

    return torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()


def _find_devices() -> Iterator[DeviceDetails]:
    import torch

    yield DeviceDetails(name="cpu", description=processor_model(), memory_bytes=None)
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(number)
            yield DeviceDetails(
                name=f"cuda:{number}",
                description=properties.name,
                memory_bytes=properties.total_memory,
            )
    if torch.backends.mps.is_available():
        yield DeviceDetails(name="mps", description="Apple GPU", memory_bytes=None)


def _check_compiler(problems: list[Problem]) -> CompilerDetails:
    from charlm.kernels.compiled.compiler import compiler, unavailable_reason

    command = compiler()
    if not command:
        problems.append(Problem("compiler_missing", ""))
        return CompilerDetails(command="", version="", builds=False)
    answer = ""
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=False, timeout=30
        )
        answer = (done.stdout or done.stderr).partition("\n")[0]
    reason = unavailable_reason()
    if reason:
        problems.append(Problem("kernel_fails", _shorten_all(reason)))
    return CompilerDetails(command=Path(command[0]).name, version=answer, builds=not reason)


def _check_cache(problems: list[Problem]) -> CacheDetails:
    """Return the cache, and add what is wrong with it."""
    path = files.cache_directory()
    if problem := find_cache_problem(path.absolute() / "kernels"):
        detail = f"{shorten(path)} is not used: {_shorten_all(problem)}"
        problems.append(Problem("cache_not_used", detail))
    free = files.free_bytes(path)
    if free < MIN_FREE_BYTES:
        problems.append(Problem("disk_full", shorten(path)))
    downloads = measure_usage(path / "corpora").size
    return CacheDetails(
        path=shorten(path),
        size=measure_usage(path).size - downloads,
        downloads=downloads,
        is_used=not problem,
        free_bytes=free,
    )


def _shorten_all(text: str) -> str:
    return text.replace(str(Path.home()), "~")
