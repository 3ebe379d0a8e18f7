"""Test of the deferred part of PyTorch: the compiler gets it as soon as it is imported."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from charlm.execution.torch_import import defer_registrations
defer_registrations()
import torch
assert "torch._decomp" not in sys.modules and "torch._dynamo" not in sys.modules
assert torch.nn.Linear(2, 3, device="meta")(torch.ones(4, 2, device="meta")).shape == (4, 3)
import torch._dynamo
assert "torch._decomp" in sys.modules
assert sys.modules["torch._meta_registrations"].activate_meta
assert torch._meta_registrations.activate_meta
"""


@pytest.mark.slow
def test_compiler_gets_the_registrations() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
