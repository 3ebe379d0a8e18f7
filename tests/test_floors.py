"""The house stands: imports go down, nothing is pickled, and help does not wait for torch."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import charlm

HOUSE = Path(charlm.__file__).parent

FLOORS = """
__main__
program
cli
dispatch
cluster compare_task compare_tuning existing forecast transformer
conclusion
ask compare
pace
baselines climb contract excerpt inspection match probes train workers
reach
probe survey
learner evaluate sample tasks
catalogue observe regression run task
checkpoint model ranks reader
corpus passage
kernels beginning block encoding weight_dropout zoo
cells encoder engine machine
unroll
cell pages
signals page figures characters ngram
show flags listing report source tuning
alphabet durable config trials verdict
registry resample landmarks
adamw errors closers torchrun visible
"""
FLOOR = {room: -height for height, floor in enumerate(FLOORS.split("\n")) for room in floor.split()}


def rooms() -> Iterator[tuple[Path, str]]:
    for file in sorted(HOUSE.rglob("*.py")):
        room = file.relative_to(HOUSE).parts[0].removesuffix(".py")
        if room != "__init__":
            yield file, room


def imports(file: Path) -> Iterator[str]:
    """The rooms of our house that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            top, _, rest = node.module.partition(".")
            if top == "charlm":
                names = [rest] if rest else [alias.name for alias in node.names]
                yield from (n.split(".")[0] for n in names if n != "__version__")
        elif isinstance(node, ast.Import):
            ours = [alias.name for alias in node.names if alias.name.startswith("charlm.")]
            yield from (name.split(".")[1] for name in ours)


def test_imports_go_down() -> None:
    for file, room in rooms():
        for other in imports(file):
            if other != room:
                assert FLOOR[other] < FLOOR[room], f"{file.name} imports {other}"


def test_every_room_has_a_floor() -> None:
    assert {room for _, room in rooms()} == set(FLOOR)


def test_leaves_do_not_know_each_other() -> None:
    for shelf in ("cells", "kernels"):
        for leaf in (HOUSE / shelf).glob("[!_]*.py"):
            for node in ast.walk(ast.parse(leaf.read_text())):
                if isinstance(node, ast.ImportFrom):
                    assert not (node.module or "").startswith(f"charlm.{shelf}"), leaf


def test_nothing_is_pickled_or_evaluated() -> None:
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    for file, _ in rooms():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not forbidden & {alias.name for alias in node.names}, file
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in forbidden, file
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "torch.save"), file


@pytest.mark.parametrize(
    "words",
    [["--help"], ["train", "--help"], ["compare-cells", "-h"], ["cells", "-h"], ["--version"]]
    + [["cells", "show", "lstm"], ["cells", "check", "lsmt"], ["train", "--cell", "cell.txt:Cell"]]
    + [["train", "--no-such"], ["train", "--hidden-size", "many"], ["train", "--hidden-size", "0"]],
    ids=" ".join,
)
def test_help_and_usage_errors_never_import_torch(words: list[str]) -> None:
    assert not loaded(words) & {"torch", "numpy"}


def test_training_and_what_follows_never_load_pytorch_s_compiler(
    tmp_path: Path, book: Path
) -> None:
    """A process would wait two seconds for it, and use nothing of it."""
    run = ["--run", str(tmp_path / "r"), "--max-steps", "2", "--hidden-size", "8"]
    train = loaded(["train", str(book), *run])
    assert Path(run[1], "report.json").exists() and "torch" in train
    for there in (train, loaded(["sample", run[1]]), loaded(["eval", run[1]])):
        assert "torch._dynamo" not in there


def loaded(words: Sequence[str]) -> set[str]:
    """The modules that `charlm WORDS` has imported when it ends."""
    code = (
        "import sys; from charlm.__main__ import main\n"
        f"sys.argv = ['charlm', *{list(words)!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('', *sys.modules, sep='\\n@', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return {line[1:] for line in done.stderr.decode().splitlines() if line.startswith("@")}


def test_help_and_usage_errors_answer_at_once() -> None:
    """At most 0.35 s of CPU, the best of several tries, for a neighbour only ever adds to it; on a
    slow or busy machine, three and a half times what the libraries that draw help take there."""

    def seconds(words: Sequence[str]) -> float:
        before = os.times()
        subprocess.run([sys.executable, *words], capture_output=True, check=False)
        after = os.times()
        children = after.children_user + after.children_system
        return children - before.children_user - before.children_system

    libraries = ("-c", "import typer, typer.main, rich.console, rich.markdown")
    asked = [
        ("-m", "charlm", *rest) for rest in (["--help"], ["train", "--help"], ["train", "--x"])
    ]
    tries = [[seconds(words) for words in (libraries, *asked)] for _ in range(7)]
    floor, *best = (min(column) for column in zip(*tries, strict=True))
    assert max(best) < max(0.35, 3.5 * floor), (floor, best)
