"""A dictionary that you can decorate with."""

import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TypeVar

from charlm.errors import ConfigError

T = TypeVar("T")


class Registry(dict[str, T]):
    """Names and what they stand for; asking for a name that is not there lists those that are."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def register(self, name: str) -> Callable[[T], T]:
        def put(thing: T) -> T:
            assert name not in self, f"two {self.kind}s are called {name!r}"
            self[name] = thing
            return thing

        return put

    def __missing__(self, name: str) -> T:
        raise unknown_name_error(self.kind, name, self)


def unknown_name_error(kind: str, name: str, there: Iterable[str]) -> ConfigError:
    """What is said of a name that is not there."""
    names = list(there)
    near = get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return ConfigError(f"no {kind} is called {name!r}; {hint}there are {', '.join(names)}")


def docstring_sections(doc: str, names: Sequence[str]) -> dict[str, str]:
    """What a docstring says under each of these names, which begin its paragraphs, with a colon."""
    found = {}
    for name in names:
        said = re.search(rf"^\s*{name.capitalize()}: (.+?)(?=\n\s*\n|\Z)", doc, re.M | re.S)
        assert said, f"a docstring must say its {name}: {doc}"
        found[name] = " ".join(said[1].split())
    return found
