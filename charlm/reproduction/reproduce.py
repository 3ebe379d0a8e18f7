"""Measure anchors, and report ours beside the published numbers."""

import hashlib
import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from charlm.config import Config, validate_config
from charlm.data.catalog import corpus_names
from charlm.data.corpus import Corpus, load_corpus
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.execution.device import select_device
from charlm.execution.machine import current_environment
from charlm.progress import NoProgress, Progress
from charlm.reproduction import task_anchors, text_anchors
from charlm.reproduction.base import ANCHORS, Anchor, Claim, Measurement, Workspace, get_anchor
from charlm.results.reproduction import (
    AnchorList,
    AnchorResult,
    AnchorSummary,
    ClaimResult,
    ReproductionReport,
)
from charlm.results.run import Environment
from charlm.storage import files
from charlm.storage.json_files import read_sealed_json, seal_json

FORMAT = 3  # of report.json
DEFAULT_SEEDS = 3

logger = logging.getLogger("charlm")


def anchor_names() -> list[str]:
    """Return the names of all anchors: those that need no text first."""
    return [*task_anchors.NAMES, *text_anchors.NAMES]


def list_anchors() -> AnchorList:
    """Return all anchors, and what they need."""
    summaries = [
        AnchorSummary(
            name=name,
            title=ANCHORS[name].title,
            source=ANCHORS[name].source,
            text=ANCHORS[name].text,
            minutes=ANCHORS[name].minutes,
        )
        for name in anchor_names()
    ]
    return AnchorList(anchors=tuple(summaries))


def reproduce(
    names: Sequence[str] = (),
    out: str | Path = "anchors",
    *,
    seeds: int = DEFAULT_SEEDS,
    texts: Mapping[str, str | Path] | None = None,
    progress: Progress = NoProgress(),
) -> ReproductionReport:
    """Measure published numbers again; runs that are finished in `out` are not trained again.

    Each number is logged as soon as it is known, and the report written after each anchor.

    Args:
        names: Names of anchors; default: all that need no text.
        out: Directory of the runs and of report.json.
        seeds: Seeds of each number, from 1.
        texts: Anchor -> file with its text, instead of the corpus of that name.
        progress: Receiver of progress.

    Returns:
        All anchors. Those that were not named have what `out` has of them from before, if anything.

    Raises:
        UnknownNameError: There is no such anchor.
        InputNotFoundError: A text is missing.
        DataError: A text is not the one of the published number.
        ConfigError: There are no seeds, a text is given to an anchor that needs none, or `out` has
            a report of another format.
        Interrupted: A signal came. The same call continues.
    """
    directory, texts = Path(out), texts or {}
    if seeds < 1:
        raise ConfigError(f"cannot use {seeds} seeds. Try 1 or more")
    for name in (*names, *texts):
        get_anchor(name)
    for name in texts:
        if not ANCHORS[name].text:
            raise ConfigError(f"cannot use a text for {name}: it needs none. Leave it out")
    chosen = {*names, *texts} or {*task_anchors.NAMES}
    corpora = {
        name: _load_text(name, ANCHORS[name], texts.get(name), progress)
        for name in anchor_names()
        if name in chosen and ANCHORS[name].text
    }
    files.make_directory(directory)
    path = directory / "report.json"
    before = _measured_before(path)
    results = {
        name: before.get(name) or _without_numbers(name, ANCHORS[name]) for name in anchor_names()
    }
    device, _ = select_device(Config().device, 1, "fp32")
    environment = current_environment(device, 1)
    report = ReproductionReport(format=FORMAT, anchors=tuple(results.values()))
    for name in (name for name in anchor_names() if name in chosen):
        anchor, corpus = ANCHORS[name], corpora.get(name)
        claims = _measure(name, anchor, Workspace(directory / name, corpus, progress), seeds)
        known = before.get(name)  # with equal claims, seconds included: nothing was trained
        results[name] = _result(
            name,
            anchor,
            claims,
            environment=known.environment if known and known.claims == claims else environment,
            text_sha256=_text_sha256(corpus, texts.get(name)) if corpus else "",
        )
        report = msgspec.structs.replace(report, anchors=tuple(results.values()))
        files.write_atomic(path, seal_json(report))
    return report


class _AnyReport(msgspec.Struct):
    """A report of any format."""

    format: int


def _measured_before(path: Path) -> dict[str, AnchorResult]:
    """Return the anchors that an earlier report has measured, by name."""
    if not path.exists():
        return {}
    found = read_sealed_json(path, _AnyReport).format
    if found != FORMAT:
        raise ConfigError(
            f"cannot continue {path}: it has format {found}, and this charlm {FORMAT}. Try another "
            "--out, or delete the file: finished runs are kept"
        )
    report = read_sealed_json(path, ReproductionReport)
    return {anchor.name: anchor for anchor in report.anchors if not anchor.not_measured}


def _load_text(name: str, anchor: Anchor, given: str | Path | None, progress: Progress) -> Corpus:
    if not given and anchor.text not in corpus_names():
        raise InputNotFoundError(
            f"cannot reproduce {name} without {anchor.text}, which is no standard corpus. "
            f"Try --text {name}=FILE"
        )
    corpus = load_corpus(str(given or anchor.text), validate_config(anchor.text_settings), progress)
    found = _text_sha256(corpus, given)
    if anchor.text_sha256 and found != anchor.text_sha256:
        shown = given or "the corpus of that name"
        raise DataError(
            f"cannot reproduce {name} with {shown}: it is not {anchor.text}, whose SHA-256 is "
            f"{anchor.text_sha256[:16]}…, but a text with {found[:16]}…. Try the right file"
        )
    return corpus


def _text_sha256(corpus: Corpus, given: str | Path | None) -> str:
    """Return the SHA-256 of a file as it is, or of a corpus in the order in which it is read."""
    if given and Path(given).is_file():
        with Path(given).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return corpus.record.digest.sha256


def _measure(
    name: str, anchor: Anchor, workspace: Workspace, seeds: int
) -> tuple[ClaimResult, ...]:
    """Measure all numbers of an anchor with each seed, and log each."""
    count = seeds if anchor.is_random else 1
    results = []
    for index, claim in enumerate(anchor.claims):
        measured: list[Measurement] = []
        for seed in range(1, count + 1):
            done = f"{index * count + seed} of {count * len(anchor.claims)}"
            logger.info("%s, %s: %s with seed %d", name, done, claim.name, seed)
            measured.append(claim.measure(workspace, seed))
            value = measured[-1].value
            shown = "diverged" if value is None else f"{value:.4g}"
            logger.info("%s, %s: %s with seed %d: %s", name, done, claim.name, seed, shown)
        results.append(_judge(claim, measured))
    return tuple(results)


def _judge(claim: Claim, measured: Sequence[Measurement]) -> ClaimResult:
    """Return our numbers, and whether their median meets the claim."""
    values = tuple(each.value for each in measured)
    numbers = [value for value in values if value is not None]
    median = statistics.median(numbers) if len(numbers) == len(values) else None
    seconds = sum(each.seconds for each in measured)
    return _claim_result(claim, values, claim.is_met(median), seconds)


def _claim_result(
    claim: Claim,
    values: tuple[float | None, ...] = (),
    met: bool | None = None,
    seconds: float = 0.0,
) -> ClaimResult:
    return ClaimResult(
        name=claim.name,
        published=claim.published,
        criterion=claim.criterion,
        bound=claim.bound,
        values=values,
        met=met,
        seconds=seconds,
    )


def _result(
    name: str,
    anchor: Anchor,
    claims: tuple[ClaimResult, ...],
    *,
    environment: Environment | None = None,
    text_sha256: str = "",
    not_measured: str = "",
) -> AnchorResult:
    return AnchorResult(
        name=name,
        title=anchor.title,
        source=anchor.source,
        unit=anchor.unit,
        published_setting=anchor.published_setting,
        our_setting=anchor.our_setting,
        known=anchor.known,
        text=anchor.text,
        text_source=anchor.text_source,
        is_random=anchor.is_random,
        text_sha256=text_sha256 or anchor.text_sha256,
        not_measured=not_measured,
        environment=environment,
        claims=claims,
    )


def _without_numbers(name: str, anchor: Anchor) -> AnchorResult:
    claims = tuple(map(_claim_result, anchor.claims))
    needs = f"it needs the text {anchor.text}" if anchor.text else "it was not named"
    reason = f"{needs}; about {anchor.minutes:g} minutes per seed"
    return _result(name, anchor, claims, not_measured=reason)
