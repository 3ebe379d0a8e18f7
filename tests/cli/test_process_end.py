"""End of a process: exit code, output and exit functions, without Python's clean-up."""

import subprocess
import sys

LOUD = """
class Loud:
    def __del__(self, write=sys.stderr.write):
        write("taken apart")
loud = Loud()
"""


def end(code: str) -> subprocess.CompletedProcess[str]:
    """Run code after the imports that it needs."""
    imports = "import atexit, sys; from charlm.execution.process_end import *\n"
    return subprocess.run([sys.executable, "-c", imports + code], capture_output=True, text=True)


def test_process_ends_with_its_code_after_exit_functions_and_output() -> None:
    done = end(
        "register_quick_end()\n"
        "atexit.register(print, 'bye', end='')\n"
        "print('text', end=' ')\n"
        "print('message', end='', file=sys.stderr)\n"
        "exit_quickly(3)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "text bye", "message")


def test_process_ends_without_taking_objects_apart() -> None:
    assert end(f"{LOUD}exit_quickly(4)").stderr == "taken apart"  # not registered
    done = end(f"{LOUD}register_quick_end(); register_quick_end(); exit_quickly(4)")
    assert (done.returncode, done.stderr) == (4, "")


def test_exception_that_nothing_catches_is_no_success() -> None:
    done = end("register_quick_end(); raise ValueError('surprise')")
    assert done.returncode == 70
    assert "ValueError: surprise" in done.stderr


def test_exit_functions_can_be_left_out() -> None:
    done = end(
        "register_quick_end(); atexit.register(print, 'bye')\n"
        "print('text'); end_without_exit_functions(5)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (5, "text\n", "")
