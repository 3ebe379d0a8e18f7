"""Environment of a comparison: that of all its runs."""

from collections.abc import Iterable

from charlm.results.run import Environment


def merge_environments(environments: Iterable[Environment]) -> dict[str, str]:
    """Return the environment of all runs; values that differ are joined by "or"."""
    known = list(environments)
    values = {
        name: {str(getattr(environment, name)) for environment in known} - {""}
        for name in Environment.__struct_fields__
    }
    return {name: " or ".join(sorted(different)) for name, different in values.items()}
