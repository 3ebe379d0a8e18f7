"""Plan of a probing: its runs, probes and options, checked before anything is written."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from charlm.cells.names import cell_label
from charlm.config import FORMAT_VERSION
from charlm.data.corpus import Sources
from charlm.errors import ConfigError, DataError, OutputExistsError
from charlm.execution.device import available_cores, select_device
from charlm.execution.executor import LocalExecutor
from charlm.probes.base import Probe
from charlm.probes.runner import run_name, select_probes
from charlm.results.probes import ProbeMarker, ProbeRequest
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.creation import check_not_existing
from charlm.runs.run import Run, open_run
from charlm.storage.json_files import read_json

MARKER_FILE = "probes.json"
DEFAULT_DIRECTORY = "probes"  # in the directory of a run


class ProbePlan(NamedTuple):
    """Everything that determines a probing.

    Attributes:
        runs: Runs that read the same text.
        probes: Probes in the order of the report.
        request: Settings of the results.
        directory: Directory of the results.
        sources: Where the corpus of the runs is now, if it was moved.
        kernel: "auto" or the name of a kernel.
        executor: Where several runs are probed side by side.
        options: Options of the command that makes the same results.
    """

    runs: list[Run]
    probes: list[Probe]
    request: ProbeRequest
    directory: Path
    sources: Sources
    kernel: str
    executor: LocalExecutor
    options: list[str]

    @property
    def marker(self) -> ProbeMarker:
        """Return the marker that the directory of the results has.

        Results of one run are in the directory itself, those of several in a subdirectory each, so
        that further runs can be added.
        """
        return ProbeMarker(
            format=FORMAT_VERSION,
            request=self.request,
            run=run_name(self.runs[0]) if len(self.runs) == 1 else "",
            corpus_sha256=self.runs[0].record.text.digest.sha256,
        )

    def directory_of(self, run: Run) -> Path:
        """Return the directory of the results of a run."""
        return self.directory if len(self.runs) == 1 else self.directory / run_name(run)

    def check_directory(self) -> bool:
        """Return whether the directory is already marked as one of these results.

        Raises:
            OutputExistsError: It has other files, or results of other settings.
            DataError: It is in the run, and a link.
        """
        path = self.directory / MARKER_FILE
        run = self.runs[0].path
        if self.directory == run / DEFAULT_DIRECTORY and self.directory.is_symlink():
            raise DataError(
                f"cannot write to {self.directory}: it is a link, which a run that was sent may "
                "have. Choose another --out"
            )
        if not path.exists():
            check_not_existing(self.directory)
            return False
        if read_json(path, ProbeMarker) != self.marker:
            raise OutputExistsError(
                f"cannot write to {self.directory}: it has results of other settings or runs. "
                "Choose another --out"
            )
        return True


def plan_probing(
    runs: Run | str | Path | Sequence[Run | str | Path],
    probes: Sequence[str] = (),
    *,
    full: bool = False,
    split: str = "test",
    max_chars: int = 250_000,
    seed: int = 0,
    checkpoint: CheckpointName = "best",
    out: str | Path | None = None,
    sources: Sources = (),
    kernel: str = "auto",
    device: str = "auto",
    jobs: int = 0,
) -> ProbePlan:
    """Return the plan of a probing; the arguments are those of `charlm.probe`.

    Raises:
        ConfigError: A name is unknown or given beside `full`, or the runs read different texts or
            have the same name.
    """
    opened = [open_run(run) for run in ([runs] if isinstance(runs, Run | str | Path) else runs)]
    if max_chars < 1:
        raise ConfigError(f"cannot probe {max_chars} characters: --max-chars must be at least 1")
    selected = select_probes(probes, full)
    check_same_text(opened)
    if out is None and len(opened) > 1:
        raise ConfigError("cannot probe several runs without a directory of results. Try out=PATH")
    if split not in opened[0].record.text.splits:
        raise ConfigError(f"cannot probe split {split!r}: it does not exist. Try test or valid")
    device, _ = select_device(device, 1)
    names = [sources] if isinstance(sources, str | Path) else sources
    return ProbePlan(
        runs=opened,
        probes=selected,
        request=ProbeRequest(split=split, max_chars=max_chars, seed=seed, checkpoint=checkpoint),
        directory=opened[0].path / DEFAULT_DIRECTORY if out is None else Path(out),
        sources=sources,
        kernel=kernel,
        executor=LocalExecutor(jobs or (available_cores() if device == "cpu" else 1), device),
        options=[
            f"--split={split}",
            f"--max-chars={max_chars}",
            *(f"--corpus={name}" for name in names),
            f"--seed={seed}",
            f"--checkpoint={checkpoint}",
            f"--kernel={kernel}",
            f"--device={device}",
        ],
    )


def check_same_text(runs: Sequence[Run]) -> None:
    """Check that the results of these runs can be compared.

    Raises:
        ConfigError: There is none, they read different texts, or two runs or two different cells
            have the same name.
    """
    if not runs:
        raise ConfigError("cannot probe: no run is given. Name at least one run")
    first = runs[0]
    names = set()
    cell_digests: dict[str, str] = {}  # name of a cell -> SHA-256 of its file
    for run in runs:
        first_text, text = (
            (r.record.text.digest, r.record.text.splits, r.vocabulary) for r in (first, run)
        )
        if first_text != text:
            raise ConfigError(
                f"cannot probe {first.path} and {run.path} together: they read different texts. "
                "Probe them one by one"
            )
        if run_name(run) in names:
            raise ConfigError(
                f"cannot probe two runs with the name {run_name(run)}: rename one's directory"
            )
        names.add(run_name(run))
        cell, digest = cell_label(run.record.config.cell), run.record.cell_sha256
        if cell_digests.setdefault(cell, digest) != digest:
            raise ConfigError(
                f"cannot probe two different cells with the name {cell} together. "
                "Probe their runs one by one"
            )
