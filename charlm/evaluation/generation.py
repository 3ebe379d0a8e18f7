"""Text generation: sampling one token at a time with carried state."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DivergedError
from charlm.execution.device import select_device
from charlm.kernels.single_step import make_token_reader
from charlm.models.char_lm import CharLM
from charlm.models.token_step import TokenStep
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run, open_run
from charlm.seeding import derive_seed


def generate(
    run: Run | str | Path,
    prompt: str = "",
    num_chars: int = 500,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
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
        seed: Seed of the random numbers.
        sample_number: Samples of different numbers are independent.
        checkpoint: "best" on validation, or "last".
        kernel: Name of a kernel, or "auto" for the fastest one.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        threads: Threads on a CPU.

    Raises:
        ConfigError: An argument is out of range.
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
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        sample_number=sample_number,
    )
    return b"".join(pieces).decode("utf-8", "replace")


def iter_generated(
    model: CharLM,
    vocabulary: Vocabulary,
    prompt: str,
    length: int,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    sample_number: int = 0,
) -> Iterator[bytes]:
    """Generate tokens that follow a prompt, one by one.

    The text depends on the arguments alone: sample `sample_number` is the same however many are
    generated. The unknown token is never generated.

    Yields:
        The UTF-8 bytes of each character, or single bytes.

    Raises:
        ConfigError: An argument is out of range.
        DivergedError: The logits are not finite.
    """
    check_sampling(length, temperature, top_k, top_p)
    return _iter_generated(
        model,
        vocabulary,
        vocabulary.encode(prompt),
        length,
        (temperature, top_k, top_p),
        torch.Generator().manual_seed(derive_seed(seed, "sample", sample_number)),
    )


@torch.inference_mode()  # in the generator only, not in the code that iterates over it
def _iter_generated(
    model: CharLM,
    vocabulary: Vocabulary,
    prompt_ids: list[int],
    length: int,
    sampling: tuple[float, int, float],
    generator: torch.Generator,
) -> Iterator[bytes]:
    token_bytes = [vocabulary.decode(np.array([index])) for index in range(len(vocabulary.tokens))]
    decoder = IncrementalDecoder(model)
    logits = decoder.next_logits
    for token in prompt_ids:
        logits = decoder.advance(token)
    for _ in range(length):
        if vocabulary.unk_id is not None:
            logits[vocabulary.unk_id] = -torch.inf
        token = sample_token(logits, *sampling, generator)
        yield token_bytes[token]
        logits = decoder.advance(token)


def check_sampling(length: int, temperature: float, top_k: int, top_p: float) -> None:
    """Raise ConfigError if an argument of `generate` is out of range."""
    if length < 0:
        raise ConfigError(f"cannot generate {length} tokens. Try 0 or more")
    if not 0 <= temperature < math.inf:
        raise ConfigError(
            f"cannot sample at --temperature {temperature}: it is a finite number. Try 0 or more"
        )
    if top_k < 0:
        raise ConfigError(f"cannot sample with --top-k {top_k}. Try 0 or more")
    if not 0 <= top_p <= 1:
        raise ConfigError(f"cannot sample with --top-p {top_p}: it is a share. Try 0 to 1")


def sample_token(
    logits: Tensor, temperature: float, top_k: int, top_p: float, generator: torch.Generator
) -> int:
    """Sample a token from logits, (vocabulary size,), in float64.

    Args:
        logits: Unnormalized log-probabilities.
        temperature: Divides the logits; 0 takes the most probable token.
        top_k: Sample from the k most probable tokens, ties included; 0: from all.
        top_p: Sample from the fewest tokens with this total probability.
        generator: Source of the random number.

    Raises:
        DivergedError: The logits are not finite.

    Source:
        top_p: Holtzman et al. (2020), "The Curious Case of Neural Text Degeneration".
    """
    scores = logits.cpu().double().numpy()
    largest = scores.max()
    if not math.isfinite(largest):
        raise DivergedError(
            "cannot generate text: the logits are not finite, since training diverged. "
            "Try --checkpoint best, or train again with a lower --learning-rate"
        )
    if temperature == 0:
        return int(scores.argmax())
    # The largest becomes 0 before the division, which therefore cannot overflow.
    weights = np.exp((scores - largest) / temperature)
    if 0 < top_k < len(weights):
        weights[weights < np.partition(weights, -top_k)[-top_k]] = 0
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        probabilities = weights[order] / weights.sum()
        is_excess = np.cumsum(probabilities) - probabilities >= top_p
        is_excess[0] = False  # the most probable token always stays
        weights[order[is_excess]] = 0
    cumulative = np.cumsum(weights)
    threshold = torch.rand((), generator=generator, dtype=torch.float64).item() * cumulative[-1]
    # side="right": a threshold of exactly 0 must not select a token of weight 0
    token = int(np.searchsorted(cumulative, threshold, side="right"))
    return token if token < len(cumulative) else int(weights.nonzero()[0][-1])  # rounded up


class IncrementalDecoder:
    """Model that reads one stream token by token and predicts the next.

    Attributes:
        next_logits: Logits of the token that follows what was read, (vocabulary size,).
    """

    def __init__(self, model: CharLM) -> None:
        """Start from the initial state; the model is set to evaluation mode."""
        step = TokenStep(model.eval())
        state = step.initial_state(1)
        self.read_token = make_token_reader(model.kernel, step, step.table, state)
        self.next_logits = state[0][0]

    def advance(self, token: int) -> Tensor:
        """Read a token; return the logits of the next one, (vocabulary size,)."""
        self.next_logits = self.read_token(token)[0]
        return self.next_logits
