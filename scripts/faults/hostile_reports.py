"""Hostile records of comparisons, tasks and probes, whose hashes are right, read as commands do."""

import os
import random
import resource
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, get_args

import msgspec

from charlm.__main__ import describe_error, is_out_of_memory
from charlm.comparison.curricula import PlannedCurriculum, best_rate
from charlm.comparison.directory import MARKER, REPORT_FILE, TIMING_FILE
from charlm.comparison.finished import load_comparison
from charlm.comparison.loaded_runs import load_runs
from charlm.comparison.task_report import compare_survival, mean_minutes, summarize_cell
from charlm.config import FORMAT_VERSION, Config
from charlm.errors import CharlmError
from charlm.probes.cache import read_answer
from charlm.probes.report import read_report
from charlm.reporting.html.comparison import render_comparison
from charlm.reporting.html.probes import render_probes
from charlm.reporting.html.tasks import render_tasks
from charlm.reporting.paper_files import render_paper_files
from charlm.reporting.tables.formats import ReportFormat
from charlm.reporting.tables.render import render_report
from charlm.results.baselines import BaselineCache
from charlm.results.comparison import ComparisonMarker, ComparisonResult
from charlm.results.comparison_plan import PlannedBudget, TimedSizes
from charlm.results.probes import Measured, ProbeAnswer, ProbeCacheKey
from charlm.results.tasks import LevelResult, TaskScore, TaskValidation
from charlm.storage.json_files import encode_json, read_sealed_json, seal_json
from charlm.tasks.curriculum_files import initialize_curriculum_dir
from faults.hazard import Hazard
from faults.hostile_files import bare, sealed_like
from faults.hostile_values import mutate_json

TESTS = Path(__file__).parents[2] / "tests"
TRIALS = 4_000
MEMORY_BYTES = 2**31  # that all trials may need at most: figures of 1,700 rows need 0.1 GiB
PAGES_EVERY, FIGURES_EVERY = 4, 100  # reports: figures as SVG, PDF and PNG take a second
FORMATS: tuple[ReportFormat, ...] = get_args(ReportFormat)
LENGTHS = (10, 20)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Target(NamedTuple):
    """A directory, the files in it that are changed, and what reads them."""

    name: str
    directory: Path
    files: tuple[str, ...]
    read: Callable[[Path, int], object]


class Watch:
    """Record of what this process writes outside of a directory, or starts, while it is on."""

    def __init__(self, directory: Path) -> None:
        """Begin to listen; a hook of Python cannot be removed."""
        self.directory, self.is_on = str(directory), False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        is_write = event in ("os.remove", "os.rename", "os.mkdir", "os.symlink", "os.link")
        if event == "open":
            is_write = bool(isinstance(arguments[2], int) and arguments[2] & WRITING)
        if is_write and not str(arguments[0]).startswith(self.directory):
            self.seen.append(f"{event} {arguments[0]}")
        if event in ("subprocess.Popen", "socket.connect", "os.system", "os.exec"):
            self.seen.append(event)


def run(scale: float) -> Hazard:
    """Change reports and records, and read them as commands do."""
    warnings.simplefilter("ignore")  # as the command line does
    failures: list[str] = []
    trials = max(10, round(TRIALS * scale))
    with TemporaryDirectory() as folder, limited_memory():
        targets = make_targets(Path(folder))
        watch = Watch(Path(folder))
        for number in range(trials):
            target = targets[number % len(targets)]
            problem = attempt(target, number // len(targets), watch)
            if problem:
                failures.append(f"trial {number}: {target.name}: {problem}")
        watch.is_on = False
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Hazard(
        name="hostile reports",
        method=(
            "values, types and structure of reports, times, caches, curricula and probe results "
            "are changed, with right hashes, and read as by report, compare-cells, probe and tasks"
        ),
        trials=trials,
        failures=tuple(failures),
        seconds=sum(usage.ru_utime + usage.ru_stime for usage in used),
    )


@contextmanager
def limited_memory() -> Iterator[None]:
    """Let what would fill the memory fail in the block: the system would end this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def attempt(target: Target, number: int, watch: Watch) -> str:
    """Change a file of a target, read it, and put the file back; return what did not hold."""
    path = target.directory / target.files[number % len(target.files)]
    sound = path.read_bytes()
    rng = random.Random(f"{target.name} {number}")
    changed = mutate_json(bare(sound).splitlines()[0] if is_log(path) else bare(sound), number, rng)
    path.write_bytes(changed + b"\n" if is_log(path) else sealed_like(sound, changed))
    watch.seen.clear()
    watch.is_on = True
    problem = ""
    try:
        target.read(target.directory, number)
    except BaseException as error:
        code, message = describe_error(error)
        # A size that is refused is no failure; memory that was asked for, and not there, is one.
        fills = is_out_of_memory(error) and not isinstance(error, CharlmError)
        if code == CharlmError.code or fills or "\n" in message:
            problem = f"{path.name}: {type(error).__name__}: {message}"[:300]
    watch.is_on = False
    path.write_bytes(sound)
    return problem or "; ".join(watch.seen[:3])


def is_log(path: Path) -> bool:
    """Return whether a file has a value per line."""
    return path.suffix == ".jsonl"


def make_targets(folder: Path) -> list[Target]:
    """Write sound directories of each kind."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    example_reports: Any = import_module("example_reports")

    text = write(folder / "text", example_reports.comparison_result("a", ("gru", "lstm")), "text")
    task = write(folder / "task", example_reports.task_result("a"), "task")
    probes = write_probes(folder / "probes", example_reports.probes_report("a"))
    curriculum = write_curriculum(folder / "curriculum")
    caches = write_caches(folder / "caches")
    return [
        Target("report", text, (REPORT_FILE,), show),
        Target("report on a task", task, (REPORT_FILE,), show),
        Target("times and marker", text, (TIMING_FILE, MARKER), show),
        Target("runs of a comparison", text, (REPORT_FILE, MARKER), lambda p, _: load_runs([p])),
        Target("probe results", probes, ("places.json", REPORT_FILE), show_probes),
        Target("curriculum", curriculum, tuple(sorted(os.listdir(curriculum))), show_curriculum),
        Target("caches", caches, tuple(CACHES), show_cache),
    ]


def write(directory: Path, result: Any, kind: Any) -> Path:
    """Write marker, report and times of a comparison."""
    directory.mkdir()
    marker = ComparisonMarker(format=FORMAT_VERSION, kind=kind)
    (directory / MARKER).write_bytes(encode_json(marker))
    (directory / REPORT_FILE).write_bytes(seal_json(result.report))
    (directory / TIMING_FILE).write_bytes(seal_json(result.timing))
    return directory


def show(directory: Path, number: int) -> None:
    """Do what `charlm report` does, and make the page."""
    result = load_comparison(directory)
    for name in FORMATS:
        render_report(result.report, name, result.timing)
    if number % PAGES_EVERY == 0:
        if isinstance(result, ComparisonResult):
            render_comparison(result)
        else:
            render_tasks(result)
    if number % FIGURES_EVERY == 0:
        render_paper_files(result)


def write_probes(directory: Path, report: Any) -> Path:
    """Write the cached result of a probe, and a report."""
    directory.mkdir()
    (directory / REPORT_FILE).write_bytes(seal_json(report))
    outcome = next(
        outcome
        for summary in report.probes.values()
        for outcome in summary.outcomes.values()
        if isinstance(outcome, Measured)
    )
    key = ProbeCacheKey(
        format=FORMAT_VERSION, charlm="0", weights_sha256="ab" * 32, text=report.text, seed=0
    )
    answer = ProbeAnswer(
        cache_key=key,
        seconds=1.0,
        artifacts_sha256="ab" * 32,
        artifacts_bytes=900,
        outcome=outcome,
    )
    (directory / "places.json").write_bytes(seal_json(answer))
    return directory


def show_probes(directory: Path, number: int) -> None:
    """Draw the page of a report of probes, one of whose outcomes is cached."""
    report = read_report(directory)
    outcome = read_answer(directory, "places").outcome
    probes = {
        name: msgspec.structs.replace(
            summary, outcomes={**summary.outcomes, report.runs[0].name: outcome}
        )
        for name, summary in report.probes.items()
    }
    render_probes(msgspec.structs.replace(report, probes=probes) if number % 2 else report)


def write_curriculum(directory: Path) -> Path:
    """Write a finished curriculum."""
    directory.mkdir()
    initialize_curriculum_dir(directory, "copy", Config(max_steps=5))
    for length in LENGTHS:
        level = LevelResult(
            length=length,
            is_solved=True,
            steps=50,
            seconds=1.5,
            kernel="loop",
            chance=TaskScore(2.0, 0.1),
            test=TaskScore(0.1, 1.0),
            extrapolation={"2": 0.5, "4": 0.25},
        )
        line = msgspec.json.encode(TaskValidation(50, 1.5, 0.1, 1.0)) + b"\n"
        (directory / f"length-{length}.json").write_bytes(seal_json(level))
        (directory / f"length-{length}.jsonl").write_bytes(line)
    return directory


def show_curriculum(directory: Path, _: int) -> None:
    """Continue a comparison of which this is a curriculum, up to its report."""
    initialize_curriculum_dir(directory, "copy", Config(max_steps=5))
    planned = PlannedCurriculum("copy", LENGTHS, Config(max_steps=5), directory, 900, 64, 10)
    longer = PlannedCurriculum("copy", (*LENGTHS, 40), Config(), directory, 900, 64, 10)
    for curriculum in (planned, longer):
        curriculum.progress()
    best_rate([planned, planned])
    row = summarize_cell("gru", [planned, planned], 0.0)
    compare_survival([row, msgspec.structs.replace(row, name="lstm")])
    mean_minutes([planned])


CACHES: Mapping[str, Any] = {
    "budget.json": PlannedBudget(minutes=1, entries=("gru 900",), seeds=1, characters=900),
    "time_matching.json": TimedSizes(()),
    "baselines.json": BaselineCache(results=()),
}


def write_caches(directory: Path) -> Path:
    """Write what a comparison measures once."""
    directory.mkdir()
    for name, value in CACHES.items():
        (directory / name).write_bytes(seal_json(value))
    return directory


def show_cache(directory: Path, _: int) -> None:
    """Read what a comparison measures once."""
    for name, value in CACHES.items():
        read_sealed_json(directory / name, type(value))
