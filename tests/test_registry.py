"""Tests of registries: names that are unknown, or registered twice."""

from collections.abc import Callable, Iterator

import pytest

from charlm.cells.base import CELLS, Cell, register_cell
from charlm.cells.names import REGISTERED_NAMES
from charlm.comparison.request import validate_cells
from charlm.errors import ConfigError

Define = Callable[[], type[Cell]]


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Iterator[Define]:
    """Return a definition of a cell, as in a notebook, that can be executed again."""
    monkeypatch.setattr(CELLS, "_entries", dict(CELLS._entries))
    names = list(REGISTERED_NAMES)

    def run_definition() -> type[Cell]:
        @register_cell("mine")
        class Mine(Cell):
            """A cell."""

        return Mine

    yield run_definition
    REGISTERED_NAMES[:] = names


def test_unknown_name_is_also_a_key_error() -> None:
    assert CELLS.get("nope") is None
    with pytest.raises(KeyError):
        CELLS["nope"]
    with pytest.raises(ConfigError) as error:
        CELLS["lsmt"]
    assert str(error.value) == (
        "unknown cell 'lsmt'; did you mean lstm or slstm? Try charlm cells for a list, "
        "torchrecurrent:NAME or FILE.py:CLASS"
    )


def test_definition_that_runs_again_replaces_its_entry(define: Define) -> None:
    assert define() is not define()
    newest = define()
    assert CELLS["mine"] is newest and REGISTERED_NAMES.count("mine") == 1


def test_name_of_another_entry_is_refused(define: Define) -> None:
    define()
    for name in ("mine", "lstm"):
        other = type("Other", (Cell,), {})
        assert CELLS[name] is not other
        with pytest.raises(ConfigError, match=f"cannot register the cell {name}: there is another"):
            register_cell(name)(other)


def test_cell_of_this_process_only_cannot_be_compared(define: Define) -> None:
    define()
    with pytest.raises(ConfigError, match=r"cannot compare 'mine': .* only. Try FILE.py:CLASS"):
        validate_cells({}, ["gru", "mine"])
