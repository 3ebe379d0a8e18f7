"""Machine of runs in words, to stand beside times."""

from collections.abc import Mapping


def describe_machine(environment: Mapping[str, str]) -> str:
    """Return processor, device, threads and versions of the runs, as far as they are known."""
    parts = []
    processor, machine = environment.get("processor", ""), environment.get("machine", "")
    if processor or machine:
        both = processor and machine and machine not in processor
        parts.append(f"{processor} ({machine})" if both else processor or machine)
    if device := environment.get("device", ""):
        parts.append(device)
    if threads := environment.get("threads", ""):
        parts.append("1 thread" if threads == "1" else f"{threads} threads")
    processes = environment.get("processes", "1")
    if processes != "1":
        parts.append(f"{processes} processes")
    names = (("torch", "PyTorch"), ("python", "Python"))
    parts += [f"{title} {environment[name]}" for name, title in names if environment.get(name)]
    return ", ".join(parts) or "a machine that is not known"
