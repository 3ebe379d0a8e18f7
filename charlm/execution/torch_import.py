"""Import of PyTorch without what only its compiler needs: a third of the CPU time of the import."""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# Importing PyTorch ends with this module. It writes hundreds of operations in Python, which only
# tracing runs: torch.compile, torch.export and fake tensors.
REGISTRATIONS = "torch._meta_registrations"
COMPILER = "torch._dynamo"  # the first thing that tracing imports


class DeferredRegistrations(MetaPathFinder, Loader):
    """Import hook: an empty module takes their place until the compiler is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the empty module for the registrations; load them before the compiler."""
        del path, target
        if fullname == REGISTRATIONS:
            return ModuleSpec(fullname, self)
        if fullname == COMPILER:
            sys.meta_path.remove(self)
            if sys.modules.pop(REGISTRATIONS, None):
                import_module(REGISTRATIONS)
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Leave the module empty."""


def defer_registrations() -> None:
    """Let PyTorch, which is not imported yet, load its registrations only with its compiler."""
    sys.meta_path.insert(0, DeferredRegistrations())
