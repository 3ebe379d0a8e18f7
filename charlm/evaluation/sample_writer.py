"""Samples that grow token by token, side by side, each as it would be alone."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from charlm.data.vocabulary import Vocabulary
from charlm.evaluation.sampling import (
    SamplingSettings,
    Scores,
    TokenSampler,
    log_probabilities,
    random_numbers,
)
from charlm.evaluation.stop_strings import StopStrings
from charlm.kernels.single_step import make_token_reader
from charlm.models.char_lm import CharLM
from charlm.models.documents import reset_after_separator
from charlm.models.token_step import TokenStep
from charlm.results.samples import GeneratedSample, Novelty, TokenAlternative, TokenLogprob

STREAMS = 32  # samples side by side: more gain little, and let the first ones wait


class TokenStreams:
    """Model that reads streams token by token and predicts the next token of each.

    What it predicts for a stream does not depend on the streams beside it, to the last bit.

    Attributes:
        next_logits: Logits of the token that follows what was read, (streams, vocabulary size).
    """

    def __init__(self, model: CharLM) -> None:
        """Start one stream from the initial state; the model is set to evaluation mode."""
        step = TokenStep(model.eval())
        state = step.initial_state(1)
        reader = make_token_reader(model.kernel, step, step.table, state)
        self._read = reset_after_separator(reader, model, state)
        self.next_logits = state[0]

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """Read a token of each stream; return the logits of the next ones."""
        self.next_logits = self._read(tokens)
        return self.next_logits

    def select(self, streams: Sequence[int]) -> None:
        """Continue with copies of these streams."""
        self.next_logits = self.next_logits[list(streams)]
        self._read.select(streams)

    def scores(self) -> Scores:
        """Return the logits of the next tokens, (streams, vocabulary size), float64."""
        logits: Scores = self.next_logits.cpu().double().numpy()
        return logits


class Sample:
    """A sample as it grows.

    Attributes:
        number: Number of the sample.
        random: Its random numbers.
        tokens: Ids of its tokens, without those of a stop string.
        data: Its bytes, as far as they cannot be part of a stop string.
        logprobs: Log-probabilities of its tokens; None if they are not wanted.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        settings: SamplingSettings,
        number: int,
        *,
        has_logprobs: bool = False,
    ) -> None:
        """Start with an empty text."""
        self.number = number
        self.random = random_numbers(settings.seed, number)
        self.tokens: list[int] = []
        self.data = bytearray()
        self.logprobs: list[TokenLogprob] | None = [] if has_logprobs else None
        self._vocabulary = vocabulary
        self._strings = StopStrings(settings.stop)

    @property
    def stop(self) -> str | None:
        """The stop string that ended it, or None."""
        return self._strings.found

    def add(self, token: int, piece: bytes) -> bytes:
        """Add a token; return the bytes that are certain to be part of the text."""
        self.tokens.append(token)
        released = self._strings.add(piece)
        self.data += released
        if self.stop is not None:
            kept = len(self.tokens) - len(self._vocabulary.encode(self.stop))
            del self.tokens[kept:]
            if self.logprobs is not None:
                del self.logprobs[kept:]
        return released

    def finish(self) -> bytes:
        """End the text; return the bytes that were held back."""
        released = self._strings.finish()
        self.data += released
        return released


class SampleWriter:
    """Writer of samples that follow the same text.

    Attributes:
        streams: The model; between two calls it has read all that was written.
    """

    def __init__(
        self,
        model: CharLM,
        vocabulary: Vocabulary,
        settings: SamplingSettings,
        alternatives: int = 0,
    ) -> None:
        """Start with nothing read.

        Args:
            model: Model that writes.
            vocabulary: Its vocabulary.
            settings: Choice of tokens.
            alternatives: Number of most probable tokens that log-probabilities have.

        Raises:
            ConfigError: The model cannot write an allowed character or a stop string.
        """
        self.vocabulary, self.alternatives = vocabulary, alternatives
        self.use(settings)
        ids = range(len(vocabulary.tokens))
        self._bytes = [vocabulary.decode(np.array([index])) for index in ids]
        self._names = [_token_name(data) for data in self._bytes]
        with torch.inference_mode():
            self.streams = TokenStreams(model)

    def use(self, settings: SamplingSettings) -> None:
        """Write with these settings from now on.

        Raises:
            ConfigError: The model cannot write an allowed character or a stop string.
        """
        self._sampler = TokenSampler(self.vocabulary, settings)

    @torch.inference_mode()
    def read(self, text: str) -> None:
        """Read a text. Unknown characters are read as the unknown token."""
        for token in self.vocabulary.encode(text):
            self.streams.advance([token])

    @torch.inference_mode()
    def write_token(self, samples: Sequence[Sample]) -> list[bytes]:
        """Write a token of each sample; return what became certain of each text."""
        logits = self.streams.scores()
        tokens = self._sampler.choose(logits, [sample.random for sample in samples])
        if any(sample.logprobs is not None for sample in samples):
            for sample, row, token in zip(samples, log_probabilities(logits), tokens, strict=True):
                if sample.logprobs is not None:
                    sample.logprobs.append(self._describe(row, token))
        self.streams.advance(tokens)
        return [
            sample.add(token, self._bytes[token])
            for sample, token in zip(samples, tokens, strict=True)
        ]

    def iter_pieces(self, sample: Sample, length: int) -> Iterator[bytes]:
        """Write a sample; yield its bytes as soon as they are certain."""
        for _ in range(length):
            (piece,) = self.write_token([sample])
            if piece:
                yield piece
            if sample.stop is not None:
                return
        if piece := sample.finish():
            yield piece

    def write_together(self, samples: Sequence[Sample], length: int) -> None:
        """Write samples side by side. The streams cannot be used afterwards."""
        self.streams.select([0] * len(samples))
        running = list(samples)
        for _ in range(length):
            self.write_token(running)
            rows = [row for row, sample in enumerate(running) if sample.stop is None]
            if len(rows) < len(running):
                running = [running[row] for row in rows]
                if not running:
                    break
                self.streams.select(rows)
        for sample in running:
            sample.finish()

    def _describe(self, logprobs: Scores, token: int) -> TokenLogprob:
        """Return a token with the most probable ones in its place."""
        order = np.argsort(-logprobs, kind="stable")[: self.alternatives]
        return TokenLogprob(
            text=self._names[token],
            logprob=float(logprobs[token]),
            top=tuple(
                TokenAlternative(
                    text=self._names[index] if index < len(self._names) else None,
                    logprob=float(logprobs[index]),
                )
                for index in order
            ),
        )


def iter_samples(
    model: CharLM,
    vocabulary: Vocabulary,
    prompt: str,
    length: int,
    num_samples: int,
    settings: SamplingSettings,
    alternatives: int | None = None,
) -> Iterator[Sample]:
    """Yield samples that follow a prompt. Each has the text that it would have alone.

    Args:
        model: Model that writes.
        vocabulary: Its vocabulary.
        prompt: Text that it reads first.
        length: Tokens of a sample.
        num_samples: Number of samples, numbered from 0.
        settings: Choice of tokens.
        alternatives: Number of most probable tokens in the log-probabilities; None: no
            log-probabilities.

    Raises:
        ConfigError: The model cannot write an allowed character or a stop string.
        DivergedError: The logits are not finite.
    """
    for start in range(0, num_samples, STREAMS):
        numbers = range(start, min(start + STREAMS, num_samples))
        has_logprobs = alternatives is not None
        samples = [
            Sample(vocabulary, settings, number, has_logprobs=has_logprobs) for number in numbers
        ]
        writer = SampleWriter(model, vocabulary, settings, alternatives or 0)
        writer.read(prompt)
        writer.write_together(samples, length)
        yield from samples


def describe_sample(
    sample: Sample,
    prompt: str,
    kernel: str,
    settings: SamplingSettings,
    novelty: Novelty | None = None,
) -> GeneratedSample:
    """Return the result of a sample that has ended.

    Args:
        sample: The sample.
        prompt: Text that it follows.
        kernel: Kernel of the model.
        settings: Choice of its tokens.
        novelty: Its overlap with the training text, if it was measured.
    """
    return GeneratedSample(
        prompt=prompt.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
        text=sample.data.decode("utf-8", "replace"),
        tokens=len(sample.tokens),
        sample=sample.number,
        seed=settings.seed,
        kernel=kernel,
        finish_reason="length" if sample.stop is None else "stop",
        stop=sample.stop,
        logprobs=None if sample.logprobs is None else tuple(sample.logprobs),
        novelty=novelty,
    )


def _token_name(data: bytes) -> str:
    r"""Return the character of a token; a byte outside of ASCII is written \xNN."""
    return data.decode("utf-8", "backslashreplace")
