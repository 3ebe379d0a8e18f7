"""Tests of exported models: every cell equals the loop in numpy and in ONNX, or is refused."""

import errno
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import yaml
from conftest import make_run
from safetensors.numpy import load_file
from test_docs import load_script
from torch import Tensor, nn, tanh
from torch.nn import functional
from untrained_models import checkpoint_tensors

from charlm.cells.base import Cell, State
from charlm.cells.loader import loaded_class
from charlm.cells.names import CELL_NAMES
from charlm.errors import ConfigError, OutputExistsError, StorageError
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.generation import generate
from charlm.exporting.export_run import export
from charlm.exporting.numpy_reader import FUNCTIONS
from charlm.exporting.onnx_file import SAME_ARGUMENTS
from charlm.exporting.parity import loop_logits
from charlm.exporting.torch_operators import RULES
from charlm.models.build import build_char_lm
from charlm.results.export import ExportedConfig, ExportReport, ModelGraph
from charlm.results.training import TrainingProgress
from charlm.runs.run import Run

TEXT = "The cat sees a ñew house 🐈.\nOr not"  # with unknown characters


def save_untrained(path: Path, book: Path, **settings: object) -> Run:
    """Return a run with a checkpoint of random weights, also where they start at 0."""
    run, corpus, config = make_run(path, book, **settings)
    model = build_char_lm(config, corpus.vocabulary.size, "loop", "cpu")
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    progress = TrainingProgress(
        step=12, seconds=1, metrics_bytes=0, valid_bits=2.5, best_step=12, best_bits=2.5
    )
    run.save_checkpoint(progress, checkpoint_tensors(model, config.batch_size))
    return run


def load_reader(folder: Path) -> ModuleType:
    """Import char_lm.py of an exported folder."""
    spec = importlib.util.spec_from_file_location(f"reader_{id(folder)}", folder / "char_lm.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def differences(run: Run, folder: Path) -> dict[str, float]:
    """Return the largest difference of logits of the text from the loop's, by dtype.

    It is relative to the largest logit.
    """
    model = run.model(kernel="loop")
    reader = load_reader(folder)
    result = {}
    for dtype in ("float32", "float64"):
        expected = loop_logits(model.to(getattr(torch, dtype)), run.vocabulary.encode(TEXT))
        found = reader.CharLM(folder, dtype).logits(TEXT)
        assert found.dtype == expected.dtype == dtype and found.shape == expected.shape
        result[dtype] = float(np.abs(found - expected).max() / np.abs(expected).max())
    return result


def check_export(run: Run, folder: Path) -> ExportReport:
    """Export a run with ONNX, and check all logits."""
    report = export(run, folder, onnx=True)
    found = differences(run, folder)
    assert found["float32"] < 1e-5 and found["float64"] < 1e-12, found
    numpy64, numpy32, onnx = report.parity
    assert (numpy64.dtype, numpy32.dtype, onnx.reader) == ("float64", "float32", "onnxruntime")
    assert 0 < onnx.max_difference <= 1e-4 and len(onnx.lengths) >= 3
    return report


# Cells and settings

SETTINGS: dict[str, dict[str, object]] = {
    **{name: {"initial_state": "learned"} for name in CELL_NAMES},
    "depth-gated-lstm": {"initial_state": "learned", "num_layers": 2},  # upper layers differ
    "gru in residual blocks": {"cell": "gru", "block": "residual", "num_layers": 2},
    "lru in residual blocks of one width": {"cell": "lru", "block": "residual", "embedding_dim": 8},
    "attention in residual blocks": {"cell": "attention", "block": "residual"},
    "tied weights and dropout": {"tie_weights": True, "embedding_dim": 8, "dropout": 0.5},
    "weight dropout": {"weight_dropout": 0.5},
    "bytes": {"vocab": "bytes"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_exported_cell_equals_loop(name: str, tmp_path: Path, book: Path) -> None:
    cell = {"cell": name} if name in CELL_NAMES else {}
    check_export(save_untrained(tmp_path / "r", book, **SETTINGS[name], **cell), tmp_path / "m")


# Own cells


class Odd(Cell):
    """A cell of odd operators.

    Parameters: some.
    """

    states = ("h", "c")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size)
        self.register_buffer("mask", torch.arange(hidden_size) % 2 == 0, persistent=False)
        self.register_buffer("order", torch.arange(hidden_size).flip(0))


def in_place(m: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    total = x + m.U(h)
    total += c
    return tanh(total), total.mul_(0.5)


def draws(m: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return tanh(x + torch.rand_like(h)), c


def branches(m: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return (tanh(x + m.U(h)), c) if (h.sum() > 0) else (tanh(x), c)


def counts(m: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    m.calls = getattr(m, "calls", 0) + 1
    return tanh(x + m.U(h) + (m.calls % 7)), c


def writes_state(m: Any, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return tanh(x + m.U(h.mul_(0.5))), c


STEPS = {
    "activations": lambda m, x, h, c: (
        functional.gelu(x + m.U(h)) - functional.elu(c) + functional.softplus(h, beta=2),
        functional.gelu(tanh(c + x), approximate="tanh") + functional.leaky_relu(0.5 * h, 0.1),
    ),
    "sums": lambda m, x, h, c: (
        tanh(x + m.U(h)).softmax(-1) + (x + h).log_softmax(-1).cumsum(-1) * 0.1,
        (h - h.mean(-1, keepdim=True)) / (h.std(-1, keepdim=True) + h.norm(dim=-1)[:, None] + 1),
    ),
    "extremes": lambda m, x, h, c: (
        tanh(x + m.U(h)).clamp(-0.5, 0.7) + torch.maximum(h, c) + x.amax(-1, keepdim=True),
        torch.lerp(c, x, 0.3).clamp(max=0.5).masked_fill(m.mask, 0.25) + torch.minimum(x, h).sign(),
    ),
    "powers": lambda m, x, h, c: (
        torch.log1p((x + m.U(h)) ** 2) + torch.rsqrt(c**2 + 1) + (c.abs() + 1) ** 1.5,
        tanh(torch.reciprocal(x**2 + 1) + torch.remainder(h, 0.7) + h.floor() + torch.sin(c)),
    ),
    "shapes": lambda m, x, h, c: (
        torch.stack((x, m.U(h)), dim=1).flatten(1)[:, m.hidden_size // 2 : -m.hidden_size // 2]
        + h.roll(3, -1),
        tanh(
            functional.pad(c[:, 1:], (0, 1), value=0.5)
            + h.index_select(1, m.order) + h[:, m.order]
        ),
    ),
    "outer products": lambda m, x, h, c: (
        torch.einsum("bi,bj->bij", tanh(x), h).matmul(tanh(c).unsqueeze(-1)).squeeze(-1) / 8,
        m.norm(x + torch.baddbmm(h[:, None], c[:, None], tanh(x)[..., None] @ h[:, None])[:, 0]),
    ),
    "truth": lambda m, x, h, c: (
        torch.where(m.mask & ~(h > c) | (x >= 0.3), tanh(x + m.U(h)), c),
        torch.where((h != c) & (h <= 0.5), (h > 0).to(h.dtype) + (x < 0).float().mean() * x, h),
    ),
    "modified in place": in_place,
    "both states equal": lambda m, x, h, c: (tanh(x + m.U(h) + c),) * 2,
    "states exchanged": lambda m, x, h, c: (c, tanh(x + m.U(h))),
}  # fmt: skip
REFUSED = {
    "random numbers": (draws, "draws random numbers"),
    "branch": (branches, "reads the value of a tensor"),
    "sort": (lambda m, x, h, c: (tanh(x + h.sort(-1).values), c), "uses sort, for which there is"),
    "complex numbers": (
        lambda m, x, h, c: (torch.view_as_real(torch.complex(x, h))[..., 0], c),
        "uses complex|complex numbers",
    ),
    "dtype of a sum": (
        lambda m, x, h, c: (tanh(x - h.sum(-1, keepdim=True, dtype=torch.float64).to(x.dtype)), c),
        "cannot export the cell own.py:Own.*uses sum with an argument.*'dtype'. Try",
    ),
    "threshold of softplus": (
        lambda m, x, h, c: (functional.softplus(x + h, threshold=1), c),
        "softplus with the threshold 1, less than 20",
    ),
    "state written": (writes_state, "modifies a tensor that something else may read"),
    "counter": (counts, "computes other logits in float64.*step is pure"),
    "numpy": (
        lambda m, x, h, c: (tanh(x + m.U(torch.from_numpy(np.tanh(h.numpy())))), c),
        "computes other logits|cannot be",
    ),
}


@contextmanager
def own_cell(step: Any) -> Iterator[str]:
    """Yield the name of a cell with this step."""

    def call_step(self: Cell, Wx: Tensor, state: State) -> State:
        return step(self, Wx, *state)

    own = type("Own", (Odd,), {"step": call_step, "__module__": "own", "__doc__": Odd.__doc__})
    sys.modules["own"] = ModuleType("own", "Nobody (2026), `<b>no paper</b>`.")
    try:
        with loaded_class(own) as name:
            yield name
    finally:
        del sys.modules["own"]


@pytest.mark.parametrize("name", STEPS)
def test_exported_own_cell_equals_loop(name: str, tmp_path: Path, book: Path) -> None:
    with own_cell(STEPS[name]) as cell:
        run = save_untrained(tmp_path / "r", book, cell=cell, initial_state="learned")
        report = check_export(run, tmp_path / "m")
    assert report.cell == "own.py:Own"


@pytest.mark.parametrize("name", REFUSED)
def test_step_that_is_no_graph_is_refused(name: str, tmp_path: Path, book: Path) -> None:
    step, reason = REFUSED[name]
    with own_cell(step) as cell:
        run = save_untrained(tmp_path / "r", book, cell=cell)
        with pytest.raises(ConfigError, match=reason):
            export(run, tmp_path / "m")
    assert not (tmp_path / "m").exists() and not list(tmp_path.glob(".tmp*"))


# One exported run


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "deep" / "model"
    report = export(trained, path)
    assert {file.name: file.size for file in report.files} == {
        file.name: file.stat().st_size for file in path.iterdir()
    }
    return path


def run_reader(folder: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    """Run char_lm.py in a Python that cannot import PyTorch, safetensors or charlm."""
    code = (
        "import runpy, sys\n"
        "for name in ('torch', 'safetensors', 'charlm'): sys.modules[name] = None\n"
        f"sys.argv = {['char_lm.py', *words]!r}\n"
        f"runpy.run_path({str(folder / 'char_lm.py')!r}, run_name='__main__')"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, cwd="/", check=False)


Refusal = Callable[..., tuple[object, str]]


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Return a function that runs char_lm.py in this process, which must refuse to work."""
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(folder: Path, *words: str) -> tuple[object, str]:
        monkeypatch.setattr("sys.argv", ["char_lm.py", *words])
        with pytest.raises(SystemExit) as end:
            load_reader(folder).main()
        out, err = capsys.readouterr()
        assert not out
        return end.value.code, err

    return run


def test_reader_writes_the_same_text_without_torch(folder: Path, trained: Path) -> None:
    options = {"temperature": 0.8, "top_k": 12, "top_p": 0.95, "seed": 3}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    done = run_reader(folder, "The ñ", "--length", "120", *words)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    expected = generate(trained, "The ñ", 120, **options)  # type: ignore[arg-type]
    assert done.stdout.decode() == "The ñ" + expected
    pipe = f"'{sys.executable}' '{folder}/char_lm.py' a --length 5000 | head -1"
    piped = subprocess.run(["bash", "-c", f"{pipe}; exit ${{PIPESTATUS[0]}}"], capture_output=True)
    assert (piped.returncode, piped.stderr) == (141, b"") and piped.stdout.startswith(b"a")
    reader = load_reader(folder).CharLM(folder)
    assert reader.sample("", 50) == generate(trained, "", 50)
    assert reader.sample("The", 50, temperature=0) == generate(trained, "The", 50, temperature=0)


def test_reader_scores_as_evaluate_does(
    folder: Path, trained: Path, tmp_path: Path, refusal: Refusal
) -> None:
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    score = evaluate(trained, text=text)
    bits = load_reader(folder).CharLM(folder).bits(TEXT)
    assert score.bits_per_char is not None and score.unknown_tokens > 0
    assert bits.sum() / len(TEXT) == pytest.approx(score.bits_per_char, rel=1e-6)
    done = run_reader(folder, "--score", str(text))
    assert (
        done.stdout.decode() == f"{score.bits_per_char:.4f} bits/char of {len(TEXT)} characters\n"
    )
    (tmp_path / "empty").touch()
    (tmp_path / "bin.dat").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "char_lm.py").write_bytes((folder / "char_lm.py").read_bytes())
    damaged = tmp_path / "damaged"
    for reader, path, code, problem in (
        (folder, tmp_path / "nope", 66, "read {}: there is no such file"),
        (folder, tmp_path, 66, "read {}: it is a directory"),
        (folder, tmp_path / "bin.dat", 65, "read {}: it is not UTF-8"),
        (folder, tmp_path / "empty", 65, "score {}: it is empty"),
        (damaged, text, 66, "read the model's config.json: there is no such file"),
    ):
        assert refusal(reader, "--score", str(path)) == (code, f"cannot {problem.format(path)}\n")
    for option in ("--length=-3", "--temperature=nan"):
        code, message = refusal(folder, "The", option)
        assert code == 2 and "is not 0 or more" in message.splitlines()[-1]


def test_weights_are_those_of_the_run(folder: Path, trained: Path) -> None:
    model = Run(trained).model().state_dict()
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == model.keys()
    assert all((weights[name] == model[name].numpy()).all() for name in weights)
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert json.loads((folder / "config.json").read_text())["weights_sha256"] == digest
    assert (report := Run(trained).report) and report.weights_sha256 == digest
    assert (folder / "vocabulary.json").read_bytes() == (trained / "vocabulary.json").read_bytes()


def test_card_states_score_text_and_settings(folder: Path, trained: Path) -> None:
    card, run = (folder / "README.md").read_text(), Run(trained)
    _, front, text = card.split("---\n", 2)
    data = yaml.safe_load(front)
    score = run.report.score  # type: ignore[union-attr]
    metric = data["model-index"][0]["results"][0]["metrics"][0]
    assert metric["value"] == score.bits_per_char and "license" not in data  # type: ignore[union-attr]
    assert data["datasets"] == ["book.txt"] and "lstm" in data["tags"]
    for fact in (
        f"**{score.bits_per_char:.4f} bits per character**",  # type: ignore[union-attr]
        run.record.text.digest.sha256,
        "60 steps of 256 tokens",
        "| seed | `0` |",
        "Hochreiter & Schmidhuber (1997)",
        "c' = f c + i g",
    ):
        assert fact in text
    assert str(trained.parent) not in card and str(Path.home()) not in card


def test_card_shows_how_to_load_in_torch(
    folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = (folder / "README.md").read_text()
    lines = card[card.index("In PyTorch, with charlm:\n") :].splitlines()[2:]
    code = "\n".join(line[4:] for line in lines[: lines.index("## Training") - 1])
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(code, names)
    expected = loop_logits(Run(trained).model(), Run(trained).vocabulary.encode("The "))[1:]
    np.testing.assert_allclose(names["logits"][:, 0].detach().numpy(), expected, rtol=0, atol=1e-5)


def test_unfinished_run_has_no_exact_score(tmp_path: Path, book: Path) -> None:
    name = "a`b\n| # [x](y): '\"é🐈.txt"
    (tmp_path / name).write_bytes(book.read_bytes())
    run = save_untrained(tmp_path / "r", tmp_path / name)
    report = export(run, tmp_path / "m")
    card = (tmp_path / "m" / "README.md").read_text()
    _, front, text = card.split("---\n", 2)
    assert yaml.safe_load(front)["datasets"] == [name] and "model-index" not in front
    assert "Not scored exactly. Validation on a sample: 2.5000 bits per token" in text
    assert report.bits_per_char is None
    title = next(line for line in text.splitlines() if line.startswith("# "))
    assert title.endswith("trained on `a�b�� # [x](y): '\"é🐈.txt`")


def test_folder_that_exists_is_left_as_it_is(trained: Path, tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "file"):
        if path != tmp_path:
            path.write_text("my work")
        with pytest.raises(OutputExistsError, match="it exists. Try another path"):
            export(trained, path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_full_temporary_directory_is_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setattr(Path, "write_bytes", fail)
    told = f"cannot write the model to {temporary}, to verify it: No space left on device. Try"
    with pytest.raises(StorageError, match=told) as error:
        export(trained, tmp_path / "m")
    assert "\n" not in str(error.value) and not list(temporary.iterdir())
    assert [path.name for path in tmp_path.iterdir()] == ["temporary"]


def test_system_without_a_temporary_directory_is_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a read-only system: Python has tried all of them."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._candidate_tempdir_list", list)
    with pytest.raises(StorageError, match="any directory for temporary files.*another .TMPDIR"):
        export(trained, tmp_path / "m")
    assert not list(tmp_path.iterdir())


def test_export_leaves_no_temporary_file_of_others(trained: Path, tmp_path: Path) -> None:
    """PyTorch's compiler makes a directory once it is imported, as nothing of charlm needs."""
    (tmp_path / "tmp").mkdir()
    words = [sys.executable, "-m", "charlm", "export", trained, tmp_path / "m", "--quiet"]
    subprocess.run(words, env={**os.environ, "TMPDIR": str(tmp_path / "tmp")}, check=True)
    assert not list((tmp_path / "tmp").iterdir())


def test_missing_package_is_named(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("charlm.exporting.onnx_file.PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match=r"no_such_package.*pip install 'charlm\[onnx\]'"):
        export(trained, tmp_path / "m", onnx=True)


@pytest.mark.parametrize(
    ("table", "name", "wrong", "problem"),
    [
        (
            FUNCTIONS,
            "tanh",
            lambda x: np.tanh(x) * (1 + 1e-8),
            "numpy computes other logits in float64",
        ),
        (FUNCTIONS, "tanh", lambda x: x * np.nan, "numpy computes other logits in float64"),
        (
            RULES,
            "mul",
            lambda b, x, y: b.apply("add", x, y),
            "numpy computes other logits in float64",
        ),
        (SAME_ARGUMENTS, "sigmoid", "HardSigmoid", "onnxruntime computes other logits in float32"),
    ],
)
def test_file_that_computes_something_else_is_not_written(
    table: dict[str, Any],
    name: str,
    wrong: Any,
    problem: str,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(table, name, wrong)
    with pytest.raises(ConfigError, match=problem):
        export(trained, tmp_path / "m", onnx=True)
    assert not list(tmp_path.iterdir())


# Damaged folders


def changed(folder: Path, target: Path, name: str, old: bytes, new: bytes) -> Path:
    """Return a copy of an exported folder in which a file was changed."""
    target.mkdir()
    for file in folder.iterdir():
        data = file.read_bytes()
        assert file.name != name or old in data
        (target / file.name).write_bytes(data.replace(old, new, 1) if file.name == name else data)
    return target


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("model.safetensors", b'{"', b'{ "', "model.safetensors is damaged, or belongs to"),
        ("graph.json", b'"op": "sigmoid"', b'"op": "os.system"', "KeyError: 'os.system'"),
        ("graph.json", b'"format": 1', b'"format": 9', "graph.json has format 9, not 1"),
        ("vocabulary.json", b"{", b"", "JSONDecodeError"),
    ],
)
def test_damaged_folder_is_refused(
    folder: Path, tmp_path: Path, refusal: Refusal, name: str, old: bytes, new: bytes, problem: str
) -> None:
    code, message = refusal(changed(folder, tmp_path / "copy", name, old, new), "The")
    (line,) = message.splitlines()
    assert code == 65 and line.startswith("cannot read the model: ") and problem in line


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("graph.json", b"[" * 100_000, "RecursionError"),
        ("graph.json", b"7", "TypeError"),
        ("vocabulary.json", b'{"kind": "chars", "tokens": [-1]}', "ValueError"),
        ("config.json", None, "config.json is no regular file"),
    ],
)
def test_hostile_folder_ends_in_one_line(
    folder: Path, tmp_path: Path, refusal: Refusal, name: str, content: bytes | None, problem: str
) -> None:
    target = changed(folder, tmp_path / "copy", name, b"", b"")
    (target / name).unlink()
    if content is None:
        os.mkfifo(target / name)
    else:
        (target / name).write_bytes(content)
    code, message = refusal(target, "The")
    (line,) = message.splitlines()
    assert code == 65 and line.startswith("cannot read the model: ") and problem in line


def test_hostile_graph_neither_fills_memory_nor_fails_later(
    folder: Path, tmp_path: Path, refusal: Refusal
) -> None:
    graph = json.loads((folder / "graph.json").read_bytes())
    huge = {"op": "constant", "values": ["1"], "shape": [2**40], "output": "huge"}
    late = {"op": "log", "inputs": ["state9"], "output": "late"}
    for number, (part, operation, problem) in enumerate(
        [("start", huge, "huge would have 1,099,511,627,776 numbers"), ("step", late, "KeyError")]
    ):
        hostile = json.loads(json.dumps(graph))
        hostile[part]["operations"].insert(0, operation)
        target = changed(folder, tmp_path / str(number), "config.json", b"", b"")
        (target / "graph.json").write_text(json.dumps(hostile))
        code, message = refusal(target, "", "--score", str(folder / "README.md"))
        (line,) = message.splitlines()
        assert code == 65 and line.startswith("cannot read the model: ") and problem in line


@pytest.mark.parametrize("words", [("",), ("", "--score", "README.md"), ("--temperature=0",)])
def test_model_without_finite_logits_writes_and_scores_nothing(
    folder: Path, tmp_path: Path, refusal: Refusal, words: tuple[str, ...]
) -> None:
    """The constant overflows in float32; numpy's warnings are not shown."""
    graph = json.loads((folder / "graph.json").read_bytes())
    huge = {"op": "constant", "values": ["-1e300"], "shape": [1], "output": "huge"}
    for part in ("start", "step"):
        old = graph[part]["outputs"][0]
        root = {"op": "sqrt", "inputs": ["huge"], "output": "root"}
        added = {"op": "add", "inputs": [old, "root"], "output": "not finite"}
        graph[part]["operations"] += [huge, root, added]
        graph[part]["outputs"][0] = "not finite"
    target = changed(folder, tmp_path / "copy", "config.json", b"", b"")
    (target / "graph.json").write_text(json.dumps(graph))
    code, message = refusal(target, *(word.replace("README", f"{target}/README") for word in words))
    (line,) = message.splitlines()
    assert code == 65 and line.endswith("ValueError: it predicts logits that are not finite")


def test_token_that_is_never_predicted_may_not_be_scored(
    folder: Path, tmp_path: Path, refusal: Refusal
) -> None:
    graph = json.loads((folder / "graph.json").read_bytes())
    size = len(load_reader(folder).CharLM(folder).first[0])
    never = {"op": "constant", "values": ["-inf", *["0"] * (size - 1)], "output": "never"}
    for part in ("start", "step"):
        added = {"op": "add", "inputs": [graph[part]["outputs"][0], "never"], "output": "without"}
        graph[part]["operations"] += [never | {"shape": [1, size]}, added]
        graph[part]["outputs"][0] = "without"
    target = changed(folder, tmp_path / "copy", "config.json", b"", b"")
    (target / "graph.json").write_text(json.dumps(graph))
    model = load_reader(target).CharLM(target)
    first = chr(model.tokens[0])
    assert first not in model.sample("", 300)
    (target / "text").write_text(first)
    code, message = refusal(target, "", "--score", str(target / "text"))
    assert code == 65 and message.endswith("ValueError: it predicts logits that are not finite\n")


def test_graph_is_the_typed_struct(folder: Path) -> None:
    graph = msgspec.json.decode((folder / "graph.json").read_bytes(), type=ModelGraph)
    assert [state.name for state in graph.states] == ["layers.0.h", "layers.0.c"]
    assert msgspec.json.decode((folder / "config.json").read_bytes(), type=ExportedConfig)


# Documentation


def test_guide_has_parity_of_every_cell() -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "export.md").read_text()
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    parity = {row[0].removeprefix("| "): row[1:] for row in rows if len(row) == 5}
    assert list(parity)[1:] == CELL_NAMES
    assert load_script("export_parity").parity_row("rnn").split(" | ")[1] == parity["rnn"][0]
