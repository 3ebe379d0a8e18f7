"""The Python API: names, lazy import, and the example of docs/guides/python.md."""

import inspect
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import torch
from conftest import prose
from forked import run_script
from test_docs import load_script

import charlm
from charlm.errors import DataError
from charlm.probes.base import PROBES
from charlm.results import comparison, run
from charlm.results.jobs import JobState
from charlm.results.training import CheckpointSaved, StepMetrics, TrainingEvent
from charlm.storage.append_only_log import unseal_line
from charlm.storage.json_files import read_sealed_json, unseal_json

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "guides" / "python.md").read_text()
(EXAMPLE,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.S | re.M)
NAMES = {
    *(
        "Config",
        "Corpus",
        "load_corpus",
        "train",
        "verify",
        "Run",
        "load_run",
        "evaluate",
        "generate",
        "generate_samples",
    ),
    *(
        "probe",
        "compare",
        "compress",
        "decompress",
        "diff",
        "inspect",
        "list_cells",
        "get_cell",
        "register_cell",
        "Cell",
    ),
    *("load_comparison", "render_report", "load_metrics", "reproduce"),
    *("LinearCell", "check_cell", "export", "__version__"),
}
TINY = {"hidden_size": 8, "embedding_dim": 4, "batch_size": 4, "seq_len": 8, "max_steps": 6}


# Names


def test_all_has_every_public_name() -> None:
    assert set(charlm.__all__) == NAMES
    assert set(charlm.__all__) <= set(dir(charlm))


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__"}))
def test_public_name_resolves_and_has_docstring(name: str) -> None:
    value = getattr(charlm, name)
    assert (inspect.getdoc(value) or "").strip()
    assert getattr(charlm, name) is value


def test_unknown_name_is_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        charlm.no_such_name  # noqa: B018


def test_documentation_lists_every_public_name() -> None:
    table = PAGE[PAGE.index("## Names") : PAGE.index("## Resuming")]
    assert set(re.findall(r"`(\w+)`", table)) >= NAMES


def test_import_of_package_loads_no_torch() -> None:
    code = (
        "import sys, charlm; charlm.Config(); charlm.__version__; dir(charlm);"
        "print(*{'torch', 'numpy', 'rich', 'matplotlib', 'typer'} & sys.modules.keys())"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (process.returncode, process.stdout.strip()) == (0, ""), process.stderr


def test_package_ships_type_hints() -> None:
    """py.typed is in the package, and hatch puts the whole package into the wheel."""
    assert (Path(charlm.__file__).parent / "py.typed").exists()
    project = (ROOT / "pyproject.toml").read_text()
    assert '[tool.hatch.build.targets.wheel]\npackages = ["charlm"]' in project
    assert "py.typed" not in (ROOT / ".gitignore").read_text()


# Functions


class RecordedProgress:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.events: list[TrainingEvent] = []
        self.max_steps = 0

    @contextmanager
    def counter(self, description: str) -> Iterator[Callable[[int], object]]:
        def advance(number: int) -> None:
            self.counts[description] = self.counts.get(description, 0) + number

        yield advance

    @contextmanager
    def training(
        self, max_steps: int, tokens_per_step: int, best_bits: float | None
    ) -> Iterator[Callable[[TrainingEvent], object]]:
        self.max_steps = max_steps
        assert tokens_per_step == TINY["batch_size"] * TINY["seq_len"] and best_bits is None
        yield self.events.append

    @contextmanager
    def jobs(self) -> Iterator[Callable[[Sequence[JobState]], object]]:
        yield lambda states: None


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, RecordedProgress]:
    """Return a tiny run, and the progress of its training."""
    directory = tmp_path_factory.mktemp("api")
    (directory / "book.txt").write_text(prose(3000))
    progress = RecordedProgress()
    corpus = charlm.load_corpus(directory / "book.txt", progress=progress)
    config = charlm.Config(cell="gru", **TINY)  # type: ignore[arg-type]
    return charlm.train(corpus, config, directory / "run", progress=progress), progress


def test_training_reports_progress(trained: tuple[Any, RecordedProgress]) -> None:
    _, progress = trained
    steps = [event.step for event in progress.events if isinstance(event, StepMetrics)]
    assert steps == [1, 2, 3, 4, 5, 6] and progress.max_steps == 6
    assert any(isinstance(event, CheckpointSaved) for event in progress.events)
    assert sum(progress.counts.values()) > 3000


def test_functions_print_nothing(
    trained: tuple[Any, RecordedProgress], capfd: pytest.CaptureFixture[str]
) -> None:
    model_run, _ = trained
    charlm.evaluate(model_run)
    charlm.generate(model_run, num_chars=5)
    assert capfd.readouterr() == ("", "")


def test_evaluation_is_typed_and_equals_report(trained: tuple[Any, RecordedProgress]) -> None:
    model_run, _ = trained
    score = charlm.evaluate(model_run, split="test")
    assert isinstance(score, run.EvaluationReport)
    assert model_run.report.score.bits_per_char == score.bits_per_char
    assert charlm.evaluate(charlm.load_run(model_run.path)) == score
    (row,) = score.to_dicts()
    assert row["bits_per_char"] == score.bits_per_char and "block_bits" not in row
    assert (
        repr(model_run) == f"Run({str(model_run.path)!r}, {model_run.report.cell}, "
        f"{model_run.report.steps} steps)"
    )


def test_generated_text_is_reproducible(trained: tuple[Any, RecordedProgress]) -> None:
    model_run, _ = trained
    texts = [charlm.generate(model_run, prompt="a", num_chars=20, seed=seed) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2] and len(texts[0]) == 20


def test_loaded_model_is_callable_module(trained: tuple[Any, RecordedProgress]) -> None:
    model_run, _ = trained
    model = model_run.model()
    assert isinstance(model, torch.nn.Module) and not model.training
    ids = torch.tensor(model_run.vocabulary.encode("the"))[:, None]
    logits, _ = model(ids, model.initial_state(1))
    assert logits.shape == (3, 1, model_run.vocabulary.size)


def test_finished_run_is_returned_by_resuming(trained: tuple[Any, RecordedProgress]) -> None:
    model_run, _ = trained
    config = model_run.record.config
    again = charlm.train(model_run.path.parent / "book.txt", config, model_run.path, resume=True)
    assert again.report == model_run.report


def test_cells_are_listed_and_checked() -> None:
    cells = charlm.list_cells(hidden_size=16, cells=("rnn",))
    assert {row["cell"] for row in cells.to_dicts()} == {"rnn"}
    assert len(cells) == 1 and [cell.cell for cell in cells] == ["rnn"] == [cells[0].cell]
    assert issubclass(charlm.get_cell("gru"), charlm.Cell)
    assert issubclass(charlm.get_cell("mingru"), charlm.LinearCell)


def test_rows_of_report_are_flat_dicts() -> None:
    """As pandas and polars take them: every row has the same keys, and no nested dictionary."""
    path = ROOT / "docs" / "explanation" / "comparison" / "report.json"
    rows = read_sealed_json(path, comparison.ComparisonReport).to_dicts()
    assert all(list(row) == list(rows[0]) for row in rows)
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    assert columns["name"] == ["gru", "lstm", "rnn"]
    assert columns["quality.verdict.label"] == ["reference", "worse", "worse"]
    assert columns["bits_per_char.mean"] == sorted(columns["bits_per_char.mean"])
    assert not any(isinstance(value, dict) for values in columns.values() for value in values)


def test_snippets_of_documentation_run(
    trained: tuple[Any, RecordedProgress], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the indented snippets; the run that is resumed comes first."""
    model_run, _ = trained
    monkeypatch.chdir(tmp_path)
    names = {
        "charlm": charlm,
        "torch": torch,
        "pandas": SimpleNamespace(DataFrame=list),
        "corpus": charlm.load_corpus(model_run.path.parent / "book.txt"),
        "config": model_run.record.config,
        "report": charlm.list_cells(hidden_size=16, cells=["rnn"]),
    }
    snippets = re.findall(r"(?:^    .*\n|^\n(?=    ))+", PAGE[PAGE.index("## Resuming") :], re.M)
    order = ["import TerminalProgress", "resume=True", "run.model()", "pandas"]
    for words in order:
        (snippet,) = (code for code in snippets if words in code)
        exec(dedent(snippet), names)
    assert len(snippets) == len(order)
    assert names["logits"].shape[:2] == (4, 1) and len(names["frame"]) == 1


# The example


@pytest.fixture(scope="module")
def example_dir(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the example of docs/guides/python.md in small; return its directory and its output."""
    directory = tmp_path_factory.mktemp("example")
    code = EXAMPLE.replace("seeds=2", "seeds=1")
    # Without runs at twice and half of the rate.
    code = code.replace('"max_steps": 30', '"max_steps": 30, "learning_rate": 0.01')
    assert code.count("seeds=1") == code.count("learning_rate") == 1
    (directory / "example.py").write_text(code)
    done = run_script(directory / "example.py", cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory, done.stdout.decode()


@pytest.mark.slow
def test_example_prints_scores_and_verdicts(example_dir: tuple[Path, str]) -> None:
    _, output = example_dir
    match = re.search(r"^(\d\.\d{3}) bits per character on ([\d,]+) characters$", output, re.M)
    assert match and 0 < float(match[1]) < math.log2(256)
    rows = re.findall(r"^(rnn|gru|lstm) \d+ \d\.\d+ (\w+)$", output, re.M)
    assert {name for name, _ in rows} == {"rnn", "gru", "lstm"}
    assert [name for name, label in rows if label == "reference"] == ["gru"]
    assert "context-shuffle" in output


@pytest.mark.slow
def test_every_json_file_of_example_is_in_reference(example_dir: tuple[Path, str]) -> None:
    """Each file that was written is of a documented struct, byte for byte."""
    directory, _ = example_dir
    structs_by_pattern = [
        (file.name.replace("PROBE", probe), file.structs)
        for kind in load_script("reference_files").DIRECTORIES
        for file in kind.files
        for probe in (PROBES if "PROBE" in file.name else [""])
        if file.name != "*.json"  # the cache, which is elsewhere
    ]
    paths = [path for path in directory.rglob("*.json*") if path.is_file()]
    assert {path.name for path in paths} >= {
        *("run.json", "vocabulary.json", "metrics.jsonl", "events.jsonl", "report.json"),
        *("progress.json", "manifest.json", "comparison.json", "timing.json"),
        *("probes.json", "context-shuffle.json"),
    }
    for path in paths:
        candidates = [
            struct
            for pattern, structs in structs_by_pattern
            if fnmatch(str(path), f"*/{pattern}")
            for struct in structs
        ]
        assert candidates, path
        lines = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
        for line in lines:
            assert any(has_exact_keys(line, struct) for struct in candidates), (path, line[:200])


def has_exact_keys(data: bytes, struct: type[msgspec.Struct]) -> bool:
    """Return whether these bytes are a struct, with no key that the struct does not have."""
    with suppress(DataError):
        data = unseal_json(data, Path("file"))
    data = unseal_line(data + b"\n") or data
    try:
        value = msgspec.json.decode(data, type=struct)
    except msgspec.ValidationError:
        return False
    keys = json.loads(data).keys()
    return set(keys) <= {*value.__struct_encode_fields__, "status"}
