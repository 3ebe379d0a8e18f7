"""Every probe asked of a run, or of several: answers are kept as they come, and put together."""

import hashlib
import math
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import safetensors.torch

from charlm import (
    __version__,
    probes,  # noqa: F401 (registers)
)
from charlm.cells.names import cell_label, parse_custom_cell
from charlm.config import FORMAT_VERSION
from charlm.data.corpus import Corpus
from charlm.errors import ConfigError, OutputExistsError
from charlm.evaluation.scoring import map_unknown
from charlm.execution.jobs import Job, JobProgress
from charlm.progress import ProgressCallback
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.probes.base import PROBES, Probe, ProbeContext, ProbeNotApplicable
from charlm.reporting.html import probes as page
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.run import Run
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes

ProgressFactory = Callable[
    [str], AbstractContextManager[ProgressCallback]
]  # what is being done -> its progress


class ProbeRequest(NamedTuple):
    """What a run is asked about: decides every answer, and so names it."""

    split: str
    characters: int
    seed: int


def text_span(corpus: Corpus, asked: ProbeRequest) -> tuple[int, int]:
    """The beginning of the split, as long as was asked for or as there is."""
    start, end = corpus.record.splits[asked.split]
    return start, min(end, start + asked.characters)


def describe_run(
    run: Run, corpus: Corpus, weights: Checkpoint, asked: ProbeRequest
) -> dict[str, Any]:
    """What a page says of a run, and what tells whether two runs may stand side by side."""
    record, (start, end) = run.record, text_span(corpus, asked)
    score = (run.report or {}).get("score") or {}
    return {
        **record.summary(),
        "name": run_name(run),
        "path": str(run.path),
        "cell": cell_label(record.config.cell),
        "bits_per_char": score.get("bits_per_char"),
        "weights_sha256": weights.sha256,
        "step": weights.progress.step,
        "text": {
            "corpus_sha256": record.text.digest.sha256,
            "text_sha256": corpus.encoding.sha256(start, end, run.vocabulary.kind),
            "split": asked.split,
            "characters": end - start,
            "symbols": run.vocabulary.kind,
        },
    }


def build_probe_context(
    run: Run, corpus: Corpus, model: CharLM, asked: ProbeRequest, tick: ProgressCallback
) -> ProbeContext:
    """The model in front of the text."""
    start, end = text_span(corpus, asked)
    model.eval()

    def fresh() -> CharLM:
        device = str(model.bias.device)
        return build_char_lm(run.record.config, run.vocabulary.size, model.kernel, device).eval()

    return ProbeContext(
        model=model,
        ids=map_unknown(corpus.encoding.ids[start:end], run.vocabulary),
        vocabulary=run.vocabulary,
        train_ids=corpus.split("train"),
        seed=asked.seed,
        tick=tick,
        char_lm=model,
        make_untrained_model=fresh,
    )


def select_probes(names: Sequence[str]) -> list[Probe]:
    """The probes of these names, all if there are none; those that others need come with them."""
    wanted = [PROBES[name] for name in names] or list(PROBES.values())
    needed = {name for one in wanted for name in (one.name, one.depends_on) if name}
    return [one for one in PROBES.values() if one.name in needed]


def probe_run(
    run: Run,
    corpus: Corpus,
    told: dict[str, Any],
    model: CharLM,
    asked: ProbeRequest,
    wanted: Sequence[Probe],
    place: Path,
    shown: ProgressFactory,
) -> None:
    """Asks a run (`told` is what `about` says of it) what was not asked before; each answer is kept
    in `place` as soon as it is there.

    The answers are the run's alone: what a group of runs is asked is for `together`.
    """
    decides = [FORMAT_VERSION, __version__, told["weights_sha256"], told["text"], asked.seed]
    decided = msgspec.to_builtins(decides)
    for one in wanted:
        if one.measure is None or is_cached(place, one.name, decided):
            continue
        began = time.perf_counter()
        with shown(f"{told['name']}: {one.name}") as tick:
            found, kept = evaluate_probe(one, build_probe_context(run, corpus, model, asked, tick))
        tensors = safetensors.torch.save(kept)
        files.write_atomic(place / f"{one.name}.safetensors", tensors)
        said = {
            "decided": decided,
            "seconds": round(time.perf_counter() - began, 3),
            "kept_sha256": hashlib.sha256(tensors).hexdigest(),
            "found": found,
        }
        files.write_atomic(place / f"{one.name}.json", encode_json(said))


def evaluate_probe(one: Probe, reading: ProbeContext) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a probe found, as it is written down; and what it keeps for the group."""
    assert one.measure is not None
    try:
        found = one.measure(reading)
    except ProbeNotApplicable as why:
        return {"not_measurable": str(why)}, {}
    told = msgspec.to_builtins(msgspec.structs.replace(found, artifacts={}))
    if not all_finite(told):
        why_not = "the model's numbers are not finite: its training had gone astray"
        return {"not_measurable": why_not}, {}
    return told, {name: tensor.contiguous() for name, tensor in found.artifacts.items()}


def is_cached(place: Path, name: str, decided: Any) -> bool:
    """Whether this probe's answer to the same question is there, and all that it kept."""
    path, tensors = place / f"{name}.json", place / f"{name}.safetensors"
    if not (path.exists() and tensors.exists()):
        return False
    said = decode_json(read_bytes(path), dict[str, Any], path)
    kept = hashlib.sha256(read_bytes(tensors)).hexdigest()
    return said.get("decided") == decided and said.get("kept_sha256") == kept


def all_finite(value: Any) -> bool:
    """Whether every number in it is one."""
    if isinstance(value, dict):
        return all(all_finite(one) for one in value.values())
    if isinstance(value, list | tuple):
        return all(all_finite(one) for one in value)
    return not isinstance(value, float) or math.isfinite(value)


def build_report(
    told: Sequence[dict[str, Any]],
    places: Sequence[Path],
    wanted: Sequence[Probe],
    words: Sequence[str],
) -> dict[str, Any]:
    """The report of these runs, whose answers lie in `places`, and of the group they make."""
    names = [one["name"] for one in told]
    report: dict[str, Any] = {
        "format": FORMAT_VERSION,
        "kind": "probes",
        "charlm": __version__,
        "command": shlex.join(words),
        "text": told[0]["text"],
        "runs": list(told),
        "probes": {},
    }
    for one in wanted:
        if one.measure is not None:
            paths = [place / f"{one.name}.json" for place in places]
            answers = [decode_json(read_bytes(path), dict[str, Any], path) for path in paths]
            found = {name: a["found"] for name, a in zip(names, answers, strict=True)}
            seconds = {name: a["seconds"] for name, a in zip(names, answers, strict=True)}
        else:
            began = time.perf_counter()
            found = {"group": evaluate_group_probe(one, dict(zip(names, places, strict=True)))}
            seconds = {"group": round(time.perf_counter() - began, 3)}
        report["probes"][one.name] = {**one.documentation, "seconds": seconds, "found": found}
    return report


def evaluate_group_probe(one: Probe, places: dict[str, Path]) -> dict[str, Any]:
    """What a group's probe makes of what its runs have kept."""
    assert one.compare is not None
    kept = {
        n: safetensors.torch.load(read_bytes(p / f"{one.depends_on}.safetensors"))
        for n, p in places.items()
    }
    try:
        silent = [name for name, tensors in kept.items() if not tensors]
        if silent:
            raise ProbeNotApplicable(f"{one.depends_on} was not measurable for {', '.join(silent)}")
        found: dict[str, Any] = msgspec.to_builtins(one.compare(kept))
    except ProbeNotApplicable as why:
        return {"not_measurable": str(why)}
    return found


def check_same_text(runs: Sequence[Run]) -> None:
    """Runs are probed together only on the same text: else no number of theirs is comparable."""
    first = runs[0]
    names = set()
    cells: dict[str, str] = {}  # what they are called -> SHA-256 of their file
    for run in runs:
        one, other = (
            (r.record.text.digest, r.record.text.splits, r.vocabulary) for r in (first, run)
        )
        if one != other:
            raise ConfigError(
                f"{first.path} and {run.path} read different texts, so their numbers do not "
                "compare: probe them one by one"
            )
        if run_name(run) in names:
            raise ConfigError(
                f"two runs are called {run_name(run)}: give one's directory another name"
            )
        names.add(run_name(run))
        cell, digest = cell_label(run.record.config.cell), run.record.cell_sha256
        if cells.setdefault(cell, digest) != digest:
            raise ConfigError(f"two different cells are called {cell}: probe their runs one by one")


def run_name(run: Run) -> str:
    return run.path.resolve().name


def initialize_output_dir(
    place: Path, runs: Sequence[Run], asked: ProbeRequest, checkpoint: str
) -> None:
    """Marks the directory as ours; one with answers to another question is left alone.

    One run's answers lie in it, those of several in a directory for each: others can be added.
    """
    mark = place / "probes.json"
    name = run_name(runs[0]) if len(runs) == 1 else ""
    corpus = runs[0].record.text.digest.sha256
    question = {"run": name, **asked._asdict(), "checkpoint": checkpoint, "corpus": corpus}
    said = {"format": FORMAT_VERSION, "asked": question}
    if not mark.exists():
        files.write_atomic(mark, encode_json(said))
    elif decode_json(read_bytes(mark), dict[str, Any], mark) != said:
        raise OutputExistsError(
            f"{place} has answers to other questions, or of other runs: name another --out"
        )


def is_probe_dir(place: Path) -> bool:
    return (place / "probes.json").exists()


def probe_job(run: Run, place: Path, words: Sequence[str], wanted: Sequence[Probe]) -> Job:
    """One run of several: probed by a process of its own, in a directory of its own in `place`."""
    kept = place / run_name(run)
    names = [one.name for one in wanted if one.measure is not None]

    def look() -> JobProgress:
        done = sum((kept / f"{name}.json").exists() for name in names)
        return JobProgress("", done, len(names))

    cell = run.record.config.cell
    named = [f"--cell={cell}"] if parse_custom_cell(cell) else []
    words = ["probe", str(run.path), f"--out={kept}", "--log-every=60", *named, *words]
    return Job(run_name(run), kept, words, look)


def load_run_summary(place: Path) -> dict[str, Any]:
    """What the report of a single run says of it."""
    path = place / "report.json"
    told: dict[str, Any] = decode_json(read_bytes(path), dict[str, Any], path)["runs"][0]
    return told


def write_report(report: dict[str, Any], place: Path) -> None:
    """The report for programs and for people."""
    files.write_atomic(place / "report.json", encode_json(report))
    files.write_atomic(place / "report.html", page.render(report))
