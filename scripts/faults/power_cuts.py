"""Power cuts: recorded operations, replayed into every kind of state that a cut may leave."""

import os
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

import charlm.training.process
from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.errors import CharlmError
from charlm.runs.creation import check_not_existing
from charlm.runs.run import Run, is_run
from charlm.storage import directories, files
from faults import processes
from faults.crash_states import Disk, Step, record_operations
from faults.hazard import Hazard
from faults.operations import intercept
from faults.replay import RESUMED, STATES, Replay, materialize

STEPS = 4
KINDS: tuple[tuple[str, ...], ...] = (  # with files of several blocks, which may be torn
    ("--cell", "lstm", "--hidden-size", "48", "--eval-every", "2"),
    ("--cell", "gru", "--num-layers", "2", "--hidden-size", "40", "--keep", "state"),
    ("--cell", "mingru", "--block", "residual", "--hidden-size", "64", "--keep", "weights"),
    ("--cell", "lstm", "--hidden-size", "64", "--initial-state", "learned", "--eval-every", "1"),
    ("--cell", "rnn", "--hidden-size", "96", "--num-layers", "2", "--eval-every", "3"),
    ("--cell", "gru", "--hidden-size", "48", "--block", "residual", "--keep", "state"),
)
MEMORY = "/dev/shm"


def run(scale: float) -> Hazard:
    """Cut the power in every step of training, of files and of the cache of texts."""
    started = processes.cpu_seconds()
    with tempfile.TemporaryDirectory(dir=MEMORY if os.path.isdir(MEMORY) else None) as name:
        directory = Path(name)
        processes.warm_up(directory)
        replay = Replay(directory / "disk", random.Random(2))
        kinds = KINDS if scale >= 0.1 else KINDS[:1]
        for options in kinds:
            _cut_training(directory, options, replay, scale, len(kinds))
        _cut_files(directory, replay, scale)
        _cut_cache(directory, replay, scale)
    return Hazard(
        "power cut",
        f"operations of {len(kinds)} kinds of runs, of new and replaced files and directories and "
        "of the cache of texts, recorded with their data; distinct states in which unsynced blocks "
        "and names are there, missing or zero, in any order; each is verified, some are resumed",
        replay.trials,
        tuple(replay.failures),
        processes.cpu_seconds() - started,
    )


def record(
    directory: Path, root: Path, words: list[str], prepare: Callable[..., None]
) -> list[Step]:
    """Return the operations of a command below a directory, and the marks that `prepare` sets."""
    steps: list[Step] = []
    log = directory / "steps.json"

    def begin() -> None:
        prepare(steps)
        intercept(str(root), record_operations(steps))
        processes.at_exit(lambda: log.write_bytes(msgspec.json.encode(steps)))

    ended = processes.run(words, directory, begin)
    if ended.code:
        raise RuntimeError(ended.errors)
    return msgspec.json.decode(log.read_bytes(), type=list[Step])


def _mark_promises(steps: list[Step]) -> None:
    """Set a mark after each function that has promised something when it returns."""

    def wrap(owner: Any, name: str) -> None:
        function = getattr(owner, name)

        def wrapper(*arguments: Any, **named: Any) -> Any:
            result = function(*arguments, **named)
            step = getattr(arguments[1], "step", 0) if len(arguments) > 1 else 0
            steps.append(Step("mark", name, length=step))
            return result

        setattr(owner, name, wrapper)

    for name in ("save_checkpoint", "write_report"):
        wrap(Run, name)
    wrap(charlm.training.process, "create_run")


def _cut_training(
    directory: Path, options: tuple[str, ...], replay: Replay, scale: float, kinds: int
) -> None:
    root = directory / "runs"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    processes.write_prose(root / "text.txt")
    path = root / "run"
    command = processes.train_command(path, STEPS, *options)
    steps = record(directory, root, command, _mark_promises)
    outcome = processes.digest_outcome(path)
    metrics = (path / "metrics.jsonl").read_bytes()
    shutil.rmtree(root)
    manifests = _saved_manifests(root, steps)
    text = processes.write_prose(replay.path.parent / "text.txt").read_bytes()

    def check(state: Path, mark: Step | None) -> str:
        try:
            return _check_run(state / "run", mark, manifests, metrics)
        except CharlmError as error:
            return f"{type(error).__name__}: {error}"

    sample = replay.cut(root, steps, round(STATES * scale / kinds), check)
    replay.rng.shuffle(sample)
    for state in sample[: max(1, round(RESUMED * scale / kinds))]:
        root.mkdir(exist_ok=True)
        materialize(state, root)
        (root / "text.txt").write_bytes(text)
        words = processes.resume_command(path) if is_run(path) else command
        ended = processes.run(words, directory)
        replay.trials += 1
        if ended.code or processes.digest_outcome(path) != outcome:
            replay.failures.append(f"resumed: {ended.code}, {ended.errors.strip()[-300:]}")
        shutil.rmtree(root)


def _saved_manifests(root: Path, steps: list[Step]) -> dict[tuple[str, str], bytes]:
    """Return the manifest of each checkpoint that was renamed to its name."""
    disk, found = Disk(str(root)), {}
    for step in steps:
        if step.name == "mark":
            continue
        disk.apply(step)
        target = Path(step.target)
        if step.name == "rename" and target.name.startswith("step-"):
            node = disk.find(step.target).entries["manifest.json"]
            found[target.parent.name, target.name] = node.content
    return found


def _check_run(
    path: Path,
    mark: Step | None,
    manifests: dict[tuple[str, str], bytes],
    metrics: bytes,
) -> str:
    """Return what does not hold of a run after a power cut, or an empty string."""
    if not is_run(path):
        if mark:
            return "a run that was created is none"
        check_not_existing(path)  # what was left behind must not be in the way
        return ""
    run = Run(path)
    saved = [(f, name) for f in ("checkpoints", "before-decay") for name in _names(path / f)]
    for folder, name in saved:
        manifest = path / folder / name / "manifest.json"
        content = manifest.read_bytes() if manifest.exists() else None
        if content is None or content != manifests.get((folder, name)):
            return f"{folder}/{name} is not as it was saved"
    if mark and mark.path == "write_report":
        return "" if run.report and run.load_checkpoint("best") else "the report is lost"
    if run.report:
        run.load_checkpoint("best")
    if not run.checkpoints:
        return "no checkpoint" if mark and mark.path == "save_checkpoint" else ""
    progress = run.load_checkpoint("best" if run.report else "last").progress
    if mark and not run.report and progress.step < mark.length:
        return f"step {progress.step} is the newest, but {mark.length} was saved"
    run.load_before_decay()
    log = path / "metrics.jsonl"
    if (log.stat().st_size if log.exists() else 0) < progress.metrics_bytes:
        return "metrics.jsonl is shorter than at the checkpoint"
    if (
        log.exists()
        and log.read_bytes()[: progress.metrics_bytes] != metrics[: progress.metrics_bytes]
    ):
        return "metrics.jsonl has other lines"
    return ""


def _names(directory: Path) -> list[str]:
    if not directory.exists():
        return []
    return [path.name for path in directory.iterdir() if not files.TEMP_NAME.fullmatch(path.name)]


def _cut_files(directory: Path, replay: Replay, scale: float) -> None:
    """Cut the power while files and directories are written and replaced by storage.files."""
    root = directory / "files"
    old, new = bytes(range(256)) * 40, bytes(reversed(range(256))) * 48

    def write(kind: str, data: bytes) -> None:
        folder = root / "comparison" / "deep"
        files.make_directory(folder)
        if kind == "file":
            files.write_atomic(folder / "x", data)
        elif kind == "directory":
            directories.write_directory_atomic(folder / "x", {"a": data, "b/c": data}, replace=True)
        else:
            with files.AtomicFileWriter(folder / "x", replace=kind == "replace") as file:
                file.write(data[:5000])
                file.write(data[5000:])
                file.commit()

    def check(state: Path, mark: Step | None) -> str:
        path = state / "comparison" / "deep" / "x"
        found = [b"", b""]
        if path.is_dir():
            names = [path / name for name in ("a", "b/c")]
            found = [name.read_bytes() if name.exists() else b"lost" for name in names]
        elif path.exists():
            found = [path.read_bytes()] * 2
        allowed = {None: (b"", old), "old": (old, new), "new": (new,)}[mark and mark.path]
        if found[0] == found[1] and found[0] in allowed:
            return ""
        # A directory cannot be replaced in one step: both may lie under temporary names.
        hidden = [p for p in path.parent.glob(".tmp-x-*") if (p / "b/c").exists()]
        if mark and mark.path == "old" and hidden and not path.exists():
            return ""
        return f"a file has {len(found[0])} and {len(found[1])} bytes, of none that were written"

    for kind in ("file", "directory", "link", "replace"):
        root.mkdir()

        def prepare(steps: list[Step], kind: str = kind) -> None:
            def run_all(*_: object) -> int:
                for name, data in (("old", old), ("new", new)):
                    if kind != "link" or name == "old":
                        write(kind, data)
                        steps.append(Step("mark", name))
                return 0

            charlm.cli.main.run_command = run_all  # in this process alone

        steps = record(directory, root, [kind], prepare)
        shutil.rmtree(root)
        replay.cut(root, steps, round(STATES * scale / 20) + 10, check)


def _cut_cache(directory: Path, replay: Replay, scale: float) -> None:
    """Cut the power while the cache of texts is written; the text must be read as it is."""
    root = directory / "cached"
    root.mkdir(mode=0o700)
    text = processes.write_prose(directory / "long.txt", 30_000)
    config = validate_config({})
    before = os.environ.get("CHARLM_CACHE")

    def read(_: Path | None = None) -> tuple[Any, bytes]:
        corpus = load_corpus([str(text)], config)
        return corpus.record, corpus.split("train")[:].tobytes()

    def prepare(_: list[Step]) -> None:
        os.environ["CHARLM_CACHE"] = str(root)
        charlm.cli.main.run_command = lambda *_: bool(read()) - 1

    steps = record(directory, root, ["x"], prepare)
    shutil.rmtree(root)
    expected = read()

    def check(state: Path, _: Step | None) -> str:
        os.environ["CHARLM_CACHE"] = str(state)
        return "" if read() == expected else "another text is read"

    try:
        replay.cut(root, steps, round(STATES * scale / 20) + 10, check)
    finally:
        if before is None:
            del os.environ["CHARLM_CACHE"]
        else:
            os.environ["CHARLM_CACHE"] = before
