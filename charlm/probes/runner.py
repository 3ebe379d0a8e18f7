"""Run probes on one run, and cache each result on disk."""

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors.torch

from charlm import __version__
from charlm.cells.names import cell_label
from charlm.config import FORMAT_VERSION
from charlm.data.corpus import Corpus
from charlm.errors import DataError
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.probes.base import (
    PROBES,
    Artifacts,
    GroupProbe,
    Probe,
    ProbeContext,
    ProbeNotApplicableError,
    RunProbe,
)
from charlm.progress import Progress, ProgressCallback
from charlm.results.probes import (
    Measured,
    NotApplicable,
    Outcome,
    ProbeAnswer,
    ProbeCacheKey,
    ProbedRun,
    ProbedText,
    ProbeRequest,
    ProbeResult,
)
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.run import Run
from charlm.storage import files
from charlm.storage.json_files import decode_json, encode_json, read_bytes


def select_probes(names: Sequence[str]) -> list[Probe]:
    """Return the probes of these names and those that they depend on, in order of their names.

    Without names, return all probes.

    Raises:
        ConfigError: A name is unknown.
    """
    if not names:
        return list(PROBES.values())
    requested = [PROBES[name] for name in names]
    needed = [PROBES[probe.depends_on] for probe in requested if isinstance(probe, GroupProbe)]
    by_name = {probe.name: probe for probe in (*requested, *needed)}
    return [by_name[name] for name in sorted(by_name)]


def probe_run(
    run: Run,
    corpus: Corpus,
    description: ProbedRun,
    model: CharLM,
    request: ProbeRequest,
    probes: Sequence[Probe],
    directory: Path,
    progress: Progress,
) -> None:
    """Run the probes that are not cached, and cache each result as soon as it is there.

    Group probes are left out: they need the results of all runs.

    Args:
        run: The run.
        corpus: Its corpus.
        description: Result of `describe_run` for it.
        model: The model with the run's weights.
        request: Settings.
        probes: Probes in the order of the report.
        directory: Directory of the cached results.
        progress: Receiver of progress.
    """
    key = ProbeCacheKey(
        format=FORMAT_VERSION,
        charlm=__version__,
        weights_sha256=description.weights_sha256,
        text=description.text,
        seed=request.seed,
    )
    for probe in probes:
        if not isinstance(probe, RunProbe) or is_cached(directory, probe.name, key):
            continue
        start_time = time.perf_counter()
        with progress.counter(f"{description.name}: {probe.name}") as tick:
            context = build_probe_context(run, corpus, model, request, tick)
            outcome, artifacts = evaluate_probe(probe, context)
        tensors = safetensors.torch.save(dict(artifacts))
        answer = ProbeAnswer(
            cache_key=key,
            seconds=round(time.perf_counter() - start_time, 3),
            artifacts_sha256=hashlib.sha256(tensors).hexdigest(),
            outcome=outcome,
        )
        files.write_atomic(directory / f"{probe.name}.safetensors", tensors)
        files.write_atomic(directory / f"{probe.name}.json", encode_json(answer))


def evaluate_probe(probe: RunProbe, context: ProbeContext) -> tuple[Outcome, Artifacts]:
    """Run a probe and return its outcome and its artifacts."""
    try:
        output = probe.measure(context)
    except ProbeNotApplicableError as error:
        return NotApplicable(str(error)), {}
    if not is_finite(output.result):
        return NotApplicable("the model's outputs are not finite, its training diverged"), {}
    artifacts = {name: tensor.contiguous() for name, tensor in output.artifacts.items()}
    return Measured(output.result), artifacts


def is_finite(result: ProbeResult) -> bool:
    """Return whether all numbers of a result are finite or None."""
    values = [result.chance]
    for curve in result.curves:
        values += [*curve.x, *curve.y, *(curve.error or ())]
    for number in result.numbers:
        values += [number.value, number.low, number.high]
    return all(value is None or math.isfinite(value) for value in values) and all(
        map(is_finite, result.panels)
    )


def is_cached(directory: Path, name: str, key: ProbeCacheKey) -> bool:
    """Return whether the result of a probe is cached for this key, with intact artifacts."""
    path, tensors = directory / f"{name}.json", directory / f"{name}.safetensors"
    if not (path.exists() and tensors.exists()):
        return False
    try:
        answer = read_answer(directory, name)
    except DataError:  # written by another version
        return False
    digest = hashlib.sha256(read_bytes(tensors)).hexdigest()
    return answer.cache_key == key and answer.artifacts_sha256 == digest


def read_answer(directory: Path, name: str) -> ProbeAnswer:
    """Read the cached result of a probe."""
    path = directory / f"{name}.json"
    return decode_json(read_bytes(path), ProbeAnswer, path)


def read_artifacts(directory: Path, name: str) -> Artifacts:
    """Read the cached artifacts of a probe."""
    return safetensors.torch.load(read_bytes(directory / f"{name}.safetensors"))


def text_span(corpus: Corpus, request: ProbeRequest) -> tuple[int, int]:
    """Return the first token of the probed text and one past its last."""
    start, end = corpus.record.splits[request.split]
    return start, min(end, start + request.max_chars)


def describe_run(run: Run, corpus: Corpus, weights: Checkpoint, request: ProbeRequest) -> ProbedRun:
    """Return the description of a run in a report of probes."""
    record, config, report = run.record, run.record.config, run.report
    start, end = text_span(corpus, request)
    return ProbedRun(
        name=run_name(run),
        path=str(run.path),
        cell=cell_label(config.cell),
        hidden_size=config.hidden_size,
        num_layers=config.num_layers,
        parameters=record.parameters,
        state_size=record.state_size,
        seed=config.seed,
        bits_per_char=report.score.bits_per_char if report and report.score else None,
        weights_sha256=weights.sha256,
        step=weights.progress.step,
        text=ProbedText(
            corpus_sha256=record.text.digest.sha256,
            text_sha256=corpus.encoding.sha256(start, end, run.vocabulary.kind),
            split=request.split,
            characters=end - start,
            vocabulary_kind=run.vocabulary.kind,
        ),
    )


def run_name(run: Run) -> str:
    """Return the name of a run: that of its directory."""
    return run.path.resolve().name


def build_probe_context(
    run: Run, corpus: Corpus, model: CharLM, request: ProbeRequest, tick: ProgressCallback
) -> ProbeContext:
    """Return the input of a probe: the model in eval mode, and the text."""
    start, end = text_span(corpus, request)
    model.eval()

    def make_untrained_model() -> CharLM:
        device = str(model.bias.device)
        return build_char_lm(run.record.config, run.vocabulary.size, model.kernel, device).eval()

    return ProbeContext(
        model=model,
        ids=corpus.encoding.ids[start:end].astype(np.int64),
        vocabulary=run.vocabulary,
        train_ids=corpus.split("train"),
        seed=request.seed,
        tick=tick,
        char_lm=model,
        make_untrained_model=make_untrained_model,
    )
