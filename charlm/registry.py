"""Lazy registry of named entries that are defined one file each in a package."""

import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TypeVar

from charlm.errors import ConfigError, InvalidValueError

T = TypeVar("T")


class UnknownNameError(InvalidValueError, KeyError):
    """A name that a registry does not have: also a KeyError, as mappings raise."""

    __str__ = Exception.__str__  # KeyError would put the message in quotes


class Registry(Mapping[str, T]):
    """Entries by name. The package's modules are imported when an entry is looked up.

    Looking up a name imports the module of that name (`gru-cho` is in `gru_cho.py`), or, if there
    is none, every module of the package. Iteration imports all of them and is in order of names.
    """

    def __init__(
        self, kind: str, package: str, skip: Iterable[str] = (), *, listing: str = ""
    ) -> None:
        """Create a registry.

        Args:
            kind: What an entry is called in messages, such as "cell".
            package: Dotted name of the package whose modules register entries.
            skip: Modules of the package that register nothing.
            listing: Where the names are listed, for messages; empty: in the message itself.
        """
        self.kind, self.package, self.skip = kind, package, frozenset(skip)
        self.listing = listing
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers an entry under this name.

        A definition that is executed again, as in a notebook, replaces its former entry.

        Raises:
            ConfigError: Another entry has this name.
        """

        def add(entry: T) -> T:
            registered = self._entries.get(name, entry)
            if _definition(registered) != _definition(entry):  # equal: executed a second time
                raise ConfigError(
                    f"cannot register the {self.kind} {name}: there is another one of that name. "
                    "Try another name"
                )
            self._entries[name] = entry
            return entry

        return add

    def modules(self) -> list[str]:
        """Return the names of the package's modules that may register entries."""
        paths = import_module(self.package).__path__
        names = (module.name for module in pkgutil.iter_modules(paths))
        return sorted(name for name in names if name not in self.skip)

    def __getitem__(self, name: str) -> T:
        """Return the entry of this name.

        Raises:
            UnknownNameError: There is none; the message lists the names that exist.
        """
        if name not in self._entries:
            module = name.replace("-", "_")
            if module in self.modules():
                import_module(f"{self.package}.{module}")
        if name not in self._entries:
            self._import_all()
        if name not in self._entries:
            raise unknown_name_error(self.kind, name, self, self.listing)
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._import_all()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._import_all()
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        self._import_all()
        return name in self._entries

    def _import_all(self) -> None:
        for module in self.modules():
            import_module(f"{self.package}.{module}")


def unknown_name_error(
    kind: str, name: str, known: Iterable[str], listing: str = ""
) -> UnknownNameError:
    """Return the error for an unknown name, with the nearest known ones.

    Args:
        kind: What an entry is called.
        name: The unknown name.
        known: All names.
        listing: Where they are listed; empty: the error lists them.
    """
    names = list(known)
    near = nearest_names(name, names)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    listing = listing or f"one of {', '.join(names)}"
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Try {listing}")


def nearest_names(name: str, known: Iterable[str]) -> list[str]:
    """Return the known name that was probably meant, or two that are as near; case is ignored."""
    exact = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), exact, n=2)
    if near and name.lower() == near[0]:
        near = near[:1]
    return [exact[each] for each in near]


def _definition(entry: object) -> tuple[str, str]:
    """Return module and name of a class or function, or of the class of an instance."""
    definition = entry if hasattr(entry, "__qualname__") else type(entry)
    return definition.__module__, definition.__qualname__


def docstring_sections(doc: str, names: Sequence[str]) -> dict[str, str]:
    """Return the text below each of these headings, which begin paragraphs and end with a colon."""
    sections = {}
    for name in names:
        match = re.search(rf"^\s*{name.capitalize()}: (.+?)(?=\n\s*\n|\Z)", doc, re.M | re.S)
        assert match, f"a docstring has no section {name.capitalize()}: {doc}"
        sections[name] = " ".join(match[1].split())
    return sections
