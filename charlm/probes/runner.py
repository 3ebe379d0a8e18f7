"""Run probes on one run, and cache each result on disk."""

import hashlib
import math
import time
from collections.abc import Sequence
from pathlib import Path

import safetensors.torch

from charlm.cells.names import cell_label
from charlm.data.corpus import Corpus
from charlm.errors import ConfigError
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.probes.base import (
    DEFAULT_PROBES,
    PROBES,
    Artifacts,
    Probe,
    ProbeContext,
    ProbeNotApplicableError,
)
from charlm.probes.cache import is_cached, probe_cache_key
from charlm.progress import Progress, ProgressCallback
from charlm.results.probe_limits import NotFinite
from charlm.results.probes import (
    Measured,
    NotApplicable,
    Outcome,
    ProbeAnswer,
    ProbedRun,
    ProbedText,
    ProbeRequest,
    ProbeResult,
)
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.run import Run
from charlm.storage import files
from charlm.storage.json_files import seal_json

WHOLE = 1000  # steps of the progress of a run


def select_probes(names: Sequence[str], full: bool = False) -> list[Probe]:
    """Return the probes of these names; without names the default ones, or all if `full`.

    They are in order of their names.

    Raises:
        ConfigError: A name is unknown, or all are asked for beside names.
    """
    if names and full:
        raise ConfigError(
            "cannot measure all probes and only some of them. Try --full or --probes alone"
        )
    if names:
        return [PROBES[name] for name in sorted(set(names))]
    return list(PROBES.values()) if full else [PROBES[name] for name in DEFAULT_PROBES]


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

    Args:
        run: The run.
        corpus: Its corpus.
        description: Result of `describe_run` for it.
        model: The model with the run's weights.
        request: Settings.
        probes: Probes in the order of the report.
        directory: Directory of the cached results.
        progress: Receiver of progress: thousandths of the work.
    """
    key = probe_cache_key(description, request)
    missing = [probe for probe in probes if not is_cached(directory, probe.name, key)]
    if not missing:
        return
    with progress.counter(f"probing {description.name}", WHOLE) as tick:
        work = WorkMeter([probe.cost for probe in missing], tick)
        context = build_probe_context(run, corpus, model, request, work)
        for probe in missing:
            start_time = time.process_time()
            outcome, artifacts = evaluate_probe(probe, context)
            work.finish_probe()
            tensors = safetensors.torch.save(dict(artifacts))
            answer = ProbeAnswer(
                cache_key=key,
                seconds=round(time.process_time() - start_time, 3),
                artifacts_sha256=hashlib.sha256(tensors).hexdigest(),
                artifacts_bytes=len(tensors),
                outcome=outcome,
            )
            files.write_atomic(directory / f"{probe.name}.safetensors", tensors)
            files.write_atomic(directory / f"{probe.name}.json", seal_json(answer))


class WorkMeter:
    """The share of the work of several probes that is done, in thousandths.

    Each probe has a share of the whole by its cost, and fills it with the tokens that it reads out
    of those that it expects to read. The share never falls, and ends at the whole.
    """

    def __init__(self, costs: Sequence[float], tick: ProgressCallback) -> None:
        """Create a meter that reports to `tick`; costs: of the probes, in their order."""
        self.costs, self.tick = costs, tick
        self.finished = 0  # probes
        self.expected = self.read = self.shown = 0

    def expect(self, tokens: int) -> None:
        """Note the number of tokens that the current probe will read."""
        self.expected = tokens

    def advance(self, tokens: int) -> None:
        """Note tokens that the current probe has read since."""
        self.read += tokens
        self._show(min(1.0, self.read / self.expected) if self.expected else 0.0)

    def finish_probe(self) -> None:
        """Note the end of the current probe."""
        self._show(1.0)
        self.finished += 1
        self.expected = self.read = 0

    def _show(self, share: float) -> None:
        """Report the share of the whole, given that of the current probe."""
        done = sum(self.costs[: self.finished]) + share * self.costs[self.finished]
        thousandths = round(WHOLE * done / sum(self.costs))
        if thousandths > self.shown:
            self.tick(thousandths - self.shown)
            self.shown = thousandths


def evaluate_probe(probe: Probe, context: ProbeContext) -> tuple[Outcome, Artifacts]:
    """Run a probe and return its outcome and its artifacts."""
    try:
        output = probe.measure(context)
    except ProbeNotApplicableError as error:
        return NotApplicable(error.reason), {}
    if not is_finite(output.result):
        return NotApplicable(NotFinite()), {}
    artifacts = {name: tensor.contiguous() for name, tensor in output.artifacts.items()}
    return Measured(output.result), artifacts


def is_finite(result: ProbeResult) -> bool:
    """Return whether all numbers of a result are finite or None."""
    values = [result.chance, result.ceiling]
    for curve in result.curves:
        values += [*curve.x, *curve.y, *(curve.error or ())]
    for number in result.numbers:
        values += [number.value, number.low, number.high]
    if entry := result.profile:
        values += [entry.value, entry.low, entry.high, entry.chance, entry.ceiling]
    return all(value is None or math.isfinite(value) for value in values) and all(
        map(is_finite, result.panels)
    )


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
    run: Run, corpus: Corpus, model: CharLM, request: ProbeRequest, work: WorkMeter
) -> ProbeContext:
    """Return the input of the probes of a run: the model in eval mode, and the text."""
    start, end = text_span(corpus, request)
    units = corpus.units(request.split, end - start)
    ids = corpus.encoding.ids.span(start, end)
    model.eval()

    def make_untrained_model() -> CharLM:
        device = str(model.bias.device)
        return build_char_lm(run.record.config, run.vocabulary.size, model.kernel, device).eval()

    return ProbeContext(
        model=model,
        ids=ids[:],
        vocabulary=run.vocabulary,
        train_ids=corpus.stored_split("train"),
        unit_edges=units.edges,
        unit_kind=units.kind,
        window=run.record.config.seq_len,
        starts=ids.documents.mark(ids, 0, len(ids)) if ids.documents else None,
        seed=request.seed,
        expect=work.expect,
        tick=work.advance,
        char_lm=model,
        make_untrained_model=make_untrained_model,
    )
