"""One file a task; importing this package registers them all."""

from importlib import import_module
from pathlib import Path

for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
    import_module(f"charlm.tasks.{file.stem}")
