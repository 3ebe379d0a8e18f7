"""End of a process: exit code, output and exit functions, without Python's clean-up."""

import subprocess
import sys


def end(code: str) -> subprocess.CompletedProcess[str]:
    """Run code after the imports that it needs."""
    imports = "import atexit, sys; from charlm.__main__ import end_process\n"
    return subprocess.run([sys.executable, "-c", imports + code], capture_output=True, text=True)


def test_process_ends_with_its_code_after_exit_functions_and_output() -> None:
    done = end(
        "atexit.register(print, 'bye', end='')\n"
        "print('text', end=' ')\n"
        "print('message', end='', file=sys.stderr)\n"
        "end_process(3)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "text bye", "message")


def test_process_ends_without_taking_objects_apart() -> None:
    done = end(
        "class Loud:\n  def __del__(self): sys.stderr.write('taken apart')\n"
        "loud = Loud()\n"
        "end_process(0)"
    )
    assert (done.returncode, done.stderr) == (0, "")
