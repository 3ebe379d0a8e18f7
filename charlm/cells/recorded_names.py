"""Names of the values that a cell records, read from its compiled code."""

import inspect
from types import CodeType

from torch import nn


def check_recorded(cell_type: type[nn.Module], names: set[str], retention: str) -> None:
    """Check that a class records every value that it declares.

    Args:
        cell_type: The class.
        names: Gates and candidate.
        retention: Name of the value that is retained; empty: the class computes it by itself.

    Raises:
        TypeError: A value is not a keyword of `self.record(...)` in any method.
    """
    name = cell_type.__name__
    if retention and not retention.isidentifier():
        raise TypeError(
            f"cannot create the class {name}: retention_expression must be the name of a "
            f'recorded value, not "{retention}". Try to record it (k={retention}) and name "k", or '
            "override retention()"
        )
    wanted = names | ({retention} if retention else set())
    if wanted and (missing := sorted(wanted - recorded_names(cell_type))):
        verb = "does not record" if len(missing) == 1 else "records none of"
        keywords = ", ".join(f"{value}={value}" for value in missing)
        raise TypeError(
            f"the class {name} {verb} {', '.join(missing)}. Call self.record({keywords}) in step"
        )


def recorded_names(cell_type: type[nn.Module]) -> set[str]:
    """Return the names that methods of a class pass to `self.record` as keywords.

    An overridden method counts only if the overriding one calls it. The names are read from the
    compiled code, so that a class without a source file can be checked. Keywords of other calls in
    the same method count too: what is missed here is an error when the cell is observed.
    """
    classes = [kind for kind in cell_type.__mro__ if kind not in nn.Module.__mro__]
    recorded: set[str] = set()
    for method in {name for kind in classes for name in vars(kind)}:
        for kind in classes:
            code = getattr(inspect.unwrap(vars(kind).get(method, None)), "__code__", None)
            if isinstance(code, CodeType):
                recorded |= _keywords_of_record(code)
                if not {"super", method} & {*code.co_names}:
                    break
    return recorded


def _keywords_of_record(code: CodeType) -> set[str]:
    """Return the keyword names in a function that calls `record`: constant tuples of strings."""
    if "record" not in code.co_names:
        return set()
    tuples = [constant for constant in code.co_consts if isinstance(constant, tuple)]
    return {name for names in tuples for name in names if isinstance(name, str)}
