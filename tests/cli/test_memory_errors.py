"""Errors that mean that memory ran out, with their exit code."""

import pytest
import torch

from charlm.__main__ import is_out_of_memory, report_error


def test_memory_error_of_cpu_allocator_exits_79(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert report_error(caught.value) == 79
    assert capsys.readouterr().err == ("charlm: not enough memory. Try a smaller model or batch\n")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("any text"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("unable to mmap 8 bytes: Cannot allocate memory (12)"), True),
        (RuntimeError("cannot allocate a name"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_is_known_by_class_or_pytorch_text(
    error: BaseException, expected: bool
) -> None:
    assert is_out_of_memory(error) is expected
