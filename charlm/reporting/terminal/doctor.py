"""The state of machine and installation on a terminal."""

from collections.abc import Iterator

from charlm.console import print_result
from charlm.reporting.formatting import format_size, pluralize
from charlm.reporting.wording.doctor import describe_problem
from charlm.results.doctor import CacheDetails, CompilerDetails, Diagnosis


def print_diagnosis(diagnosis: Diagnosis) -> None:
    """Print a line per fact, then a line per problem."""
    for name, text in _facts(diagnosis):
        print_result(f"{name:<11} {text}")
    for problem in diagnosis.problems:
        print_result(f"problem: {describe_problem(problem)}")
    if not diagnosis.problems:
        print_result("no problems found")


def _facts(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    yield "charlm", f"{diagnosis.charlm} in {diagnosis.installed_in}"
    yield "Python", diagnosis.python
    yield "libraries", ", ".join(f"{name} {text}" for name, text in diagnosis.libraries.items())
    extras = [f"{name} {text or 'not installed'}" for name, text in diagnosis.extras.items()]
    yield "extras", ", ".join(extras)
    yield "platform", diagnosis.platform
    yield "CPU", f"{diagnosis.cpu}, {diagnosis.instruction_set}".removesuffix(", ")
    cores = pluralize(diagnosis.cores, "core")
    threads = pluralize(diagnosis.torch_threads, "thread")
    yield "cores", f"{cores} for this process; PyTorch would use {threads}"
    yield "memory", f"{format_size(diagnosis.memory_bytes)} available"
    for device in diagnosis.devices[1:]:
        memory = f", {format_size(device.memory_bytes)}" if device.memory_bytes else ""
        yield "device", f"{device.name}: {device.description}{memory}"
    if len(diagnosis.devices) == 1:
        yield "device", "cpu; no GPU that PyTorch can use"
    yield "compiler", _describe_compiler(diagnosis.compiler)
    yield "cache", _describe_cache(diagnosis.cache)
    yield "disk", f"{format_size(diagnosis.free_bytes)} free for the working directory"
    yield "encoding", diagnosis.encoding


def _describe_compiler(compiler: CompilerDetails) -> str:
    if not compiler.command:
        return "none"
    result = "builds kernels" if compiler.builds else "builds no kernel"
    return f"{compiler.command} ({compiler.version}) {result}"


def _describe_cache(cache: CacheDetails) -> str:
    access = "used" if cache.is_used else "not used"
    return (
        f"{cache.path}: {access}, {format_size(cache.size)}, "
        f"{format_size(cache.downloads)} of downloads, {format_size(cache.free_bytes)} free"
    )
