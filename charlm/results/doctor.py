"""State of the machine and the installation: result of `charlm doctor`."""

from typing import Literal

import msgspec

ProblemKind = Literal[
    "torch_missing",
    "library_missing",
    "compiler_missing",
    "kernel_fails",
    "cache_not_used",
    "disk_full",
    "encoding",
]


class Problem(msgspec.Struct, frozen=True):
    """Something that keeps charlm from working well."""

    kind: ProblemKind  # what is wrong
    detail: str  # cause, path or name


class DeviceDetails(msgspec.Struct, frozen=True, kw_only=True):
    """A device that models can run on."""

    name: str  # as --device names it
    description: str  # model of the device
    memory_bytes: int | None  # None if it is that of the machine


class CompilerDetails(msgspec.Struct, frozen=True, kw_only=True):
    """C compiler of the compiled kernels."""

    command: str  # "" if there is none
    version: str  # first line of its answer
    builds: bool  # whether it builds a library that can be loaded


class CacheDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Cache of encoded texts, compiled kernels and downloads."""

    path: str  # ~ is the home directory
    size: int  # bytes, without downloads
    downloads: int  # bytes of downloaded corpora
    is_used: bool  # whether charlm can write into it, and nobody else can
    free_bytes: int  # of its disk


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """Result of `charlm doctor`. It has no name of the machine or the user."""

    format: int
    charlm: str
    installed_in: str  # directory of the package; ~ is the home directory
    python: str  # implementation and version
    libraries: dict[str, str]  # package -> version
    extras: dict[str, str | None]  # optional extra -> version; None if it is not installed
    platform: str  # operating system and architecture
    cpu: str  # model of the processor
    instruction_set: str  # that PyTorch uses
    cores: int  # that this process may use
    memory_bytes: int  # available
    torch_threads: int  # threads of PyTorch if nothing else is set
    devices: tuple[DeviceDetails, ...]
    compiler: CompilerDetails
    cache: CacheDetails
    free_bytes: int  # of the disk of the working directory
    encoding: str  # of the terminal, according to the locale
    problems: tuple[Problem, ...]  # empty if all is fine
