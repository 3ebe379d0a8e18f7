"""Runs and a comparison as a stranger sends them: changed, with every hash made right again."""

import hashlib
import os
import shutil
import socket
from collections.abc import Mapping
from contextlib import chdir
from pathlib import Path

import msgspec
from msgspec.structs import replace

import charlm
from charlm.config import Config
from charlm.results.training import FileDigest, Manifest
from charlm.storage.json_files import SEAL

Files = dict[str, bytes]  # path in a directory -> content

TEXT = "The old dog sees a cat.\nA new house hears the tree or not.\nEvery cat runs.\n" * 24
COMPARED = Config(
    embedding_dim=3,
    hidden_size=4,
    batch_size=2,
    seq_len=8,
    max_steps=4,
    learning_rate=0.01,
    grad_clip=1.0,
    eval_every=1,
    save_every=1e-6,
)
LSTM = replace(COMPARED, cell="lstm", keep="all")
RUNS = {  # kinds of state and of kernels
    "lstm": LSTM,
    "gru": replace(LSTM, cell="gru", kernel="loop", num_layers=2, initial_state="learned"),
    "mingru": replace(LSTM, cell="mingru", block="residual", dropout=0.1),
    "native": replace(LSTM, kernel="native", tie_weights=True, embedding_dim=4),
}
PLANTED_CELL = """from pathlib import Path
Path(__file__).with_name("planted").write_text("code of the run was executed")
class Planted: pass
"""


class Sandbox:
    """Directory with the text, sound runs and a comparison, and what must stay untouched.

    Attributes:
        root: The directory; everything is below it.
        runs: Name -> files of an unfinished run.
        finished: Name -> files of the same run after its end.
        comparison: Files of a comparison that has trained two runs.
    """

    def __init__(self, root: Path) -> None:
        """Train the runs and the comparison; takes about 10 CPU seconds."""
        self.root = root.resolve()
        for name in ("texts", "cache", "tmp", "outside/run/checkpoints/step-00009999"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self.text = self.root / "texts" / "book.txt"
        self.text.write_text(TEXT)
        self.runs: dict[str, Files] = {}
        self.finished: dict[str, Files] = {}
        self.comparison: Files = {}
        outside = self.root / "outside"
        (outside / "victim").write_text("not to be touched")
        (outside / "cell.py").write_text(PLANTED_CELL)
        (outside / ".tmp-x-1-00000000").write_text("of somebody else")
        (outside / "run" / "checkpoints" / "step-00009999" / "manifest.json").write_text("{}")
        (outside / "run" / "checkpoints" / ".tmp-y-1-00000000").mkdir(exist_ok=True)

    def train(self) -> None:
        """Train the runs and the comparison, in a process that may be thrown away."""
        self.use_cache()
        made = self.root / "made"
        shutil.rmtree(made, ignore_errors=True)
        (made / "comparison").mkdir(parents=True)
        with chdir(self.root):
            for name, config in RUNS.items():
                run = charlm.train(str(self.text), config, made / name).path
                shutil.copytree(run, made / f"{name}-finished")
                (run / "report.json").unlink()
                shutil.rmtree(run / "checkpoints" / "step-00000004")
                os.remove(run / "lock")
            charlm.compare(
                str(self.text),
                cells=["rnn", "gru"],
                seeds=1,
                parameters=15_000,
                memory=False,
                out=made / "comparison",
                baselines="none",
                config=COMPARED,
                jobs=1,
            )

    def use_cache(self) -> None:
        """Give this process, which may be thrown away, a cache of its own."""
        os.environ["CHARLM_CACHE"] = str(self.root / "cache")

    @property
    def is_trained(self) -> bool:
        """Whether an earlier call has trained the runs and the comparison here."""
        return (self.root / "made" / "comparison" / "report.json").exists()

    def load(self) -> None:
        """Read what `train` made."""
        made = self.root / "made"
        self.runs = {name: read_tree(made / name) for name in RUNS}
        self.finished = {name: read_tree(made / f"{name}-finished") for name in RUNS}
        self.comparison = read_tree(made / "comparison") if (made / "comparison").exists() else {}

    def untouched(self) -> str:
        """Return a hash of everything that no command may change."""
        digest = hashlib.sha256()
        for folder in ("outside", "texts"):
            for path in sorted((self.root / folder).rglob("*")):
                status = path.lstat()
                content = path.read_bytes() if path.is_file() else b""
                digest.update(repr((str(path), status.st_mode, content)).encode())
        return digest.hexdigest()


def read_tree(directory: Path) -> Files:
    """Return the files of a directory."""
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def write_tree(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write a directory anew."""
    shutil.rmtree(directory, ignore_errors=True)
    for parent in sorted({str(Path(name).parent) for name in files}):
        os.makedirs(directory / parent, exist_ok=True)
    for name, data in files.items():
        with open(directory / name, "wb") as file:
            file.write(data)


def bare(data: bytes) -> bytes:
    """Return a JSON document without the SHA-256 at its end, if it has one."""
    seal = SEAL.search(data)
    return data[: seal.start()] + b"\n}\n" if seal else data


def sealed_like(original: bytes, changed: bytes) -> bytes:
    """Return a changed document with a right SHA-256 at its end, if the original has one."""
    if not SEAL.search(original):
        return changed
    try:
        changed = msgspec.json.format(changed, indent=2) + b"\n"
    except (msgspec.DecodeError, RecursionError):
        return changed
    if not changed.endswith(b"\n}\n"):
        return changed
    digest = hashlib.sha256(changed).hexdigest()
    return changed.removesuffix(b"\n}\n") + f',\n  "sha256": "{digest}"\n}}\n'.encode()


def seal(files: Files) -> Files:
    """Return a run whose manifests have the hashes of its files as they are now."""
    sealed = dict(files)
    for name in files:
        if not name.endswith("/manifest.json"):
            continue
        folder = name.removesuffix("manifest.json")
        manifest = msgspec.json.decode(files[name], type=Manifest)
        changed = replace(
            manifest,
            files={n: FileDigest.of(files.get(folder + n, b"")) for n in manifest.files},
            run={n: FileDigest.of(files.get(n, b"")) for n in manifest.run},
        )
        sealed[name] = changed.canonical_bytes()
        _seal_report(sealed, folder)
    return sealed


def _seal_report(files: Files, folder: str) -> None:
    """Make the report of a run name the weights that it has now, if it is still one."""
    original, weights = files.get("report.json"), files.get(f"{folder}model.safetensors", b"")
    if original is None:
        return
    try:
        report = msgspec.json.decode(bare(original))
        if report["best_step"] != int(folder[-9:-1]):
            return
        report["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError, KeyError):
        return
    files["report.json"] = sealed_like(original, msgspec.json.encode(report))


def manifest_with_own_hash(data: bytes) -> bytes:
    """Return a changed manifest whose hash of itself is right, if it still is a manifest."""
    try:
        return msgspec.json.decode(data, type=Manifest).canonical_bytes()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data


NODES = (
    *("link", "link_inside", "link_up", "dangling", "loop", "fifo", "socket", "directory"),
    *("device_zero", "device_null", "device_tty", "hard_link", "sparse", "empty", "unreadable"),
    *("link_zero", "link_fifo", "link_proc", "missing", "file"),
)


def place_node(path: Path, kind: str, outside: Path) -> None:
    """Put a link, FIFO, device or the like in place of a file or directory.

    Args:
        path: File or directory that is replaced.
        kind: One of NODES.
        outside: Directory that is not to be touched, which links lead to.
    """
    kept = path.with_name(path.name + ".kept")
    os.rename(path, kept)
    targets = {
        "link": outside / ("run/checkpoints" if kept.is_dir() else "victim"),
        "link_inside": kept,
        "link_up": Path(".."),
        "dangling": outside / "planted",
        "loop": path,
        "link_zero": Path("/dev/zero"),
        "link_proc": Path("/proc/self/mem"),
        "link_fifo": path.with_name("fifo"),
    }
    devices = {"device_zero": (1, 5), "device_null": (1, 3), "device_tty": (5, 0)}
    if kind == "link_fifo":
        os.mkfifo(path.with_name("fifo"))
    if kind in targets:
        path.symlink_to(targets[kind])
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server, chdir(path.parent):
            server.bind(path.name)
    elif kind == "directory":
        path.mkdir()
    elif kind in devices:
        os.mknod(path, 0o20666, os.makedev(*devices[kind]))
    elif kind == "hard_link" and kept.is_file():
        os.link(outside / "victim", path)
    elif kind == "sparse":
        with open(path, "wb") as file:
            file.truncate(2**28)
    elif kind in ("empty", "file"):
        path.write_bytes(b"" if kind == "empty" else b"x")
    elif kind == "unreadable":
        os.rename(kept, path)
        path.chmod(0)
