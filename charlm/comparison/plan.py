"""Which runs make a fair comparison, and what they came to together."""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from charlm.cells.loader import loaded_cell_sha256
from charlm.cells.names import cell_label
from charlm.comparison.budget_matching import BudgetMatch
from charlm.config import FORMAT_VERSION, Config, option_metadata, to_argv, validate_config
from charlm.data.sources import CHUNK_BYTES
from charlm.errors import DataError, OutputExistsError
from charlm.execution.jobs import Job, JobProgress
from charlm.models.cost import count_parameters_and_state, flops_per_character
from charlm.results.text import CorpusRecord
from charlm.runs.run import Run, is_run
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes

PRECREATED_FILES = {"lock", "logs", "standard-input.txt", "seconds.json"}  # a comparison begins
METRICS_TAIL_BYTES = 2**20  # bytes of a run's metrics: enough to hold a validation


@dataclass(frozen=True)
class PlannedRun:
    """One run of a comparison, and where it is kept: named by what decides it."""

    config: Config
    path: Path
    parameters: int
    state_size: int
    flops_per_character: int

    def job(self, corpus: Sequence[str]) -> Job:
        """`charlm train` on these texts; where it was begun, it goes on."""
        words = ["train", *to_argv(self.config), "--run", str(self.path), "--resume"]
        words += ["--log-every", "60", "--", *corpus]
        name = f"{cell_label(self.config.cell)} seed {self.config.seed}"
        return Job(name, self.path, words, self.progress)

    def progress(self) -> JobProgress:
        """How far the run is, from its directory."""
        if not is_run(self.path):
            return JobProgress()
        run = Run(self.path)
        record = run.record
        if run_directory_name(self.config, record.cell_sha256, record.text) != self.path.name:
            raise DataError(
                f"{self.path} has read another text, or has another cell, than this comparison: "
                "have the same files, and for a named corpus the same Python, on every machine; "
                "then remove it"
            )
        updates = record.max_steps
        ended = "done" if run.report else "diverged" if run.diverged else ""
        try:
            with (run.path / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - METRICS_TAIL_BYTES))
                lines = file.read().splitlines()[1:-1]  # the last may be half written
        except FileNotFoundError:
            lines = []
        done = msgspec.json.decode(lines[-1])["step"] if lines else 0
        looked = [line for line in lines if b'"valid_bits"' in line][-1:]
        bits = [msgspec.json.decode(line)["valid_bits"] for line in looked]
        said = [f"{one:.3f} bits" if one < 1000 else f"{one:.0e} bits" for one in bits]
        return JobProgress(ended, updates if run.report else done, updates, "".join(said))


def check_comparison_dir(place: Path, kind: str) -> None:
    """A directory that has anything else than a comparison of this kind (text, task or runs), or
    than what is left of one that did not begin, is left alone."""
    path = place / "comparison.json"
    if path.exists():
        older = "task" if (place / "climbs").exists() else "text"
        there = decode_json(read_bytes(path), dict[str, Any], path).get("kind", older)
        if there != kind:
            raise OutputExistsError(
                f"{place} has a comparison of another kind, {there}: name another --out"
            )
    elif place.is_dir() and {file.name for file in place.iterdir()} - PRECREATED_FILES:
        raise OutputExistsError(
            f"{place} exists, and is no comparison: name another place with --out"
        )
    elif place.exists() and not place.is_dir():
        raise OutputExistsError(f"{place} is a file: name another place with --out")


def initialize_comparison_dir(place: Path, kind: str) -> None:
    """Marks the directory as ours; what is compared is in report.json, when it is done."""
    path = place / "comparison.json"
    files.write_atomic(path, encode_json({"format": FORMAT_VERSION, "kind": kind}))


def save_stdin(names: Sequence[str], place: Path) -> list[str]:
    """The names, standard input laid down as a file: workers must read it too, now and later."""
    if "-" not in names:
        return list(names)
    kept = place / "standard-input.txt"
    with files.AtomicFileWriter(kept) as copy:
        while sys.stdin is not None and (chunk := sys.stdin.buffer.read(CHUNK_BYTES)):
            copy.write(chunk)
        if copy.size or not kept.exists():
            copy.commit()
    return [str(kept) if name == "-" else name for name in names]


def matched_configs(settings: dict[str, Any], seeds: int, footing: BudgetMatch) -> list[Config]:
    """The settings of each cell and seed, on equal footing. Seeds go round first."""
    configs = []
    for seed in range(seeds):
        for cell, units in footing.hidden.items():
            width = {"embedding_dim": units} if settings.get("tie_weights") else {}
            own = {**width, "cell": cell, "hidden_size": units, "seed": seed}
            configs.append(validate_config({**settings, **own}))
    return configs


def shared_settings(configs: Sequence[Config], without: Sequence[str] = ()) -> dict[str, Any]:
    """The settings that all of these have alike and that decide what comes of a run, but for those
    by which cells and seeds differ."""
    first, *others = map(msgspec.to_builtins, configs)
    own = ("cell", "hidden_size", "seed", "embedding_dim" if first["tie_weights"] else "", *without)
    return {
        name: value
        for name, value in first.items()
        if name not in own
        and not option_metadata(name).can_change
        and all(other[name] == value for other in others)
    }


def directory_name(config: Config, decides: Any) -> str:
    """A directory's name: of the cell, the seed, and a hash of all that decides what is in it."""
    digest = hashlib.sha256(msgspec.json.encode(decides)).hexdigest()
    return f"{cell_label(config.cell)}-s{config.seed}-{digest[:8]}"


def run_directory_name(config: Config, cell_sha256: str, text: CorpusRecord) -> str:
    """The name of a run's directory. Wherever a cell's file and the texts are now."""
    cell = cell_label(config.cell), cell_sha256
    settings = to_argv(config, with_changeable=False, exclude=("cell",))
    return directory_name(config, (cell, settings, text.digest, text.splits))


def run_path(config: Config, text: CorpusRecord, place: Path) -> Path:
    """Where in `place` the run with these settings is."""
    return place / run_directory_name(config, loaded_cell_sha256(config.cell), text)


def plan_runs(
    settings: dict[str, Any],
    seeds: int,
    footing: BudgetMatch,
    text: CorpusRecord,
    symbols: int,
    place: Path,
) -> list[PlannedRun]:
    """The runs of a comparison: a pure function of its arguments."""
    planned = []
    for config in matched_configs(settings, seeds, footing):
        path = run_path(config, text, place / "runs")
        flops = flops_per_character(config, symbols)
        planned.append(
            PlannedRun(config, path, *count_parameters_and_state(config, symbols), flops)
        )
    return planned


def finished_runs(planned: Sequence[PlannedRun]) -> list[Run]:
    """Those that are finished, and did not diverge."""
    runs = [Run(one.path) for one in planned]
    return [run for run in runs if run.report]


def group_by_cell(planned: Sequence[Any]) -> dict[str, list[Any]]:
    """What a cell is called -> its runs or climbs, one a seed."""
    cells: dict[str, list[Any]] = {}
    for one in planned:
        cells.setdefault(cell_label(one.config.cell), []).append(one)
    return cells
