"""Estimates of what the probes of a run take: time and disk, before any has started."""

from collections.abc import Sequence
from time import perf_counter, process_time

from charlm.data.corpus import Corpus
from charlm.evaluation.scoring import validation_bpc
from charlm.models.char_lm import CharLM
from charlm.probes.base import MEMORY_PROBES, PROBES, Probe

# What the memory probes of a run read, in parallel streams: so much on the default text, and less
# on a shorter one, of which each token is read about as often.
PROBED_TOKENS = 2_100_000
PROBE_READINGS = 9
PROBE_DISK_BYTES = 1 << 15  # of the result of a probe, at most
REPORT_DISK_BYTES = 1 << 19  # of report.json and report.html
TIMED_TOKENS = 8192


def measure_reading_speed(model: CharLM, corpus: Corpus, split: str) -> float:
    """Return the seconds that a model takes to read a token, in parallel streams.

    On a CPU these are CPU seconds of one thread, as other programs may run meanwhile.
    """
    clock = process_time if model.bias.device.type == "cpu" else perf_counter
    ids = corpus.stored_split(split)[:TIMED_TOKENS]
    validation_bpc(model, ids[: TIMED_TOKENS // 16], corpus.vocabulary)  # includes one-time work
    start = clock()
    validation_bpc(model, ids, corpus.vocabulary)
    return (clock() - start) / len(ids)


def memory_probe_seconds(seconds_per_token: float, tokens: int) -> float:
    """Return about how many seconds the memory probes of a run take.

    Args:
        seconds_per_token: Time to read a token, in parallel streams.
        tokens: Length of the probed text.
    """
    return min(PROBED_TOKENS, PROBE_READINGS * tokens) * seconds_per_token


def estimate_seconds(probes: Sequence[Probe], seconds_per_token: float, tokens: int) -> list[float]:
    """Return about how many seconds each probe takes.

    Those of memory are estimated by the tokens that they read, and the others relative to them.

    Args:
        probes: The probes.
        seconds_per_token: Time to read a token, in parallel streams.
        tokens: Length of the probed text.
    """
    per_cost = memory_probe_seconds(seconds_per_token, tokens)
    per_cost /= sum(PROBES[name].cost for name in MEMORY_PROBES)
    return [probe.cost * per_cost for probe in probes]
