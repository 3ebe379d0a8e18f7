"""Text generation: sampling one token at a time with carried state."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import TypedDict, Unpack

from charlm.data.corpus import Sources
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError
from charlm.evaluation.novelty import measure_novelty
from charlm.evaluation.sample_writer import (
    Sample,
    SampleWriter,
    describe_sample,
    iter_samples,
)
from charlm.evaluation.sampling import SamplingSettings, check_sampling
from charlm.execution.device import select_device
from charlm.models.char_lm import CharLM
from charlm.models.token_step import generation_kernel
from charlm.progress import NoProgress, Progress
from charlm.results.samples import GeneratedSample, Novelty
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run, open_run


class SamplingOptions(TypedDict, total=False):
    """Fields of `SamplingSettings` as keyword arguments."""

    allow: str | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    stop: tuple[str, ...]
    seed: int


def generate(
    run: Run | str | Path,
    prompt: str = "",
    num_chars: int = 500,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    allow: str | None = None,
    stop: str | Sequence[str] = (),
    seed: int = 0,
    sample_number: int = 0,
    checkpoint: CheckpointName = "best",
    kernel: str = "auto",
    device: str = "cpu",
    threads: int = 1,
) -> str:
    """Return text that follows a prompt, the prompt excluded.

    Args:
        run: Run with at least one checkpoint, or its directory.
        prompt: Text that the model reads first.
        num_chars: Tokens to generate: characters, or bytes if the vocabulary is of bytes.
        temperature: Divides the logits; 0 takes the most probable token.
        top_k: Sample from the k most probable tokens; 0: from all.
        top_p: Sample from the fewest tokens with this total probability.
        min_p: Sample from tokens with at least this share of the largest probability.
        allow: Characters that may be generated, in the notation of `tr`; None: all.
        stop: String, or strings, that end the text; they are no part of it.
        seed: Seed of the random numbers.
        sample_number: Samples of different numbers are independent.
        checkpoint: "best" on validation, or "last".
        kernel: Name of a kernel, or "auto" for the fastest one.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        threads: Threads on a CPU.

    Raises:
        ConfigError: An argument is out of range, or the model cannot write an allowed character or
            a stop string.
        DivergedError: The logits are not finite.
    """
    run = open_run(run)
    device, _ = select_device(device, threads)
    _, model = load_model(run, checkpoint, kernel, device, threads)
    pieces = iter_generated(
        model,
        run.vocabulary,
        prompt,
        num_chars,
        sample_number=sample_number,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        allow=allow,
        stop=_as_tuple(stop),
        seed=seed,
    )
    return b"".join(pieces).decode("utf-8", "replace")


def generate_samples(
    run: Run | str | Path,
    prompt: str = "",
    num_chars: int = 500,
    num_samples: int = 1,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    allow: str | None = None,
    stop: str | Sequence[str] = (),
    seed: int = 0,
    logprobs: int | None = None,
    novelty: bool = False,
    sources: Sources = (),
    checkpoint: CheckpointName = "best",
    kernel: str = "auto",
    device: str = "cpu",
    threads: int = 1,
    progress: Progress = NoProgress(),
) -> list[GeneratedSample]:
    """Return samples that follow a prompt, written side by side.

    Sample n has the text that `generate` returns for `sample_number=n`, to the last bit.

    Args:
        run: Run with at least one checkpoint, or its directory.
        prompt: Text that the model reads first.
        num_chars: Tokens of a sample: characters, or bytes if the vocabulary is of bytes.
        num_samples: Number of samples.
        temperature: Divides the logits; 0 takes the most probable token.
        top_k: Sample from the k most probable tokens; 0: from all.
        top_p: Sample from the fewest tokens with this total probability.
        min_p: Sample from tokens with at least this share of the largest probability.
        allow: Characters that may be generated, in the notation of `tr`; None: all.
        stop: String, or strings, that end a sample; they are no part of it.
        seed: Seed of the random numbers.
        logprobs: Number of most probable tokens to return for each token of a sample, with their
            log-probabilities in nats; None: no log-probabilities.
        novelty: Whether to measure what stands verbatim in the training text.
        sources: Where the training text is now, if it was moved.
        checkpoint: "best" on validation, or "last".
        kernel: Name of a kernel, or "auto" for the fastest one.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        threads: Threads on a CPU.
        progress: Receives numbers of bytes read, then of tokens compared.

    Raises:
        ConfigError: An argument is out of range, or the model cannot write an allowed character or
            a stop string.
        DivergedError: The logits are not finite.
        InputNotFoundError: The training text is wanted and cannot be found.
        DataError: It is not the text of the run.
    """
    run = open_run(run)
    settings = SamplingSettings(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        allow=allow,
        stop=_as_tuple(stop),
        seed=seed,
    )
    check_sampling(num_chars, settings)
    if num_samples < 0 or (logprobs or 0) < 0:
        raise ConfigError("cannot sample: numbers of samples and log-probabilities are 0 or more")
    device, _ = select_device(device, threads)
    _, model = load_model(run, checkpoint, kernel, device, threads)
    writes = generation_kernel(model)
    samples = list(
        iter_samples(model, run.vocabulary, prompt, num_chars, num_samples, settings, logprobs)
    )
    found: Iterable[Novelty | None] = repeat(None, len(samples))
    if novelty:
        found = measure_novelty(run, [sample.tokens for sample in samples], sources, progress)
    return [
        describe_sample(sample, prompt, writes.name, settings, overlap)
        for sample, overlap in zip(samples, found, strict=True)
    ]


def iter_generated(
    model: CharLM,
    vocabulary: Vocabulary,
    prompt: str,
    length: int,
    *,
    sample_number: int = 0,
    **options: Unpack[SamplingOptions],
) -> Iterator[bytes]:
    """Generate tokens that follow a prompt, one by one.

    The text depends on the arguments alone: sample `sample_number` is the same however many are
    generated. The unknown token is never generated.

    Args:
        model: Model that generates.
        vocabulary: Vocabulary of the model.
        prompt: Text that it reads first.
        length: Tokens to generate.
        sample_number: Samples of different numbers are independent.
        **options: Fields of `SamplingSettings`.

    Yields:
        The UTF-8 bytes of each character, or single bytes; what may become a stop string comes
        later, or not at all.

    Raises:
        ConfigError: An argument is out of range.
        DivergedError: The logits are not finite.
    """
    settings = SamplingSettings(**options)
    check_sampling(length, settings)
    writer = SampleWriter(model, vocabulary, settings)
    return _iter_pieces(writer, Sample(vocabulary, settings, sample_number), prompt, length)


def _iter_pieces(writer: SampleWriter, sample: Sample, prompt: str, length: int) -> Iterator[bytes]:
    writer.read(prompt)
    yield from writer.iter_pieces(sample, length)


def _as_tuple(stop: str | Sequence[str]) -> tuple[str, ...]:
    return (stop,) if isinstance(stop, str) else tuple(stop)
