"""Tests of the memory check: its message names what needs the memory."""

import pytest

from charlm.errors import InsufficientMemoryError
from charlm.models.cost import check_memory


def test_message_names_the_purpose() -> None:
    check_memory(2, 2)
    with pytest.raises(InsufficientMemoryError, match=r"^cannot train this model: .*--batch-size"):
        check_memory(1, 2)
    with pytest.raises(InsufficientMemoryError, match="^cannot load this model: ") as raised:
        check_memory(1, 2, "load")
    assert "--" not in str(raised.value)
