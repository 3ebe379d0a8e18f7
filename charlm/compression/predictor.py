"""Model that predicts a file token by token, and what decides the bits of its probabilities.

Floating-point numbers depend on the kernel, on libraries and on the instruction set. Encoder and
decoder must agree in every bit, so both use the same steps of one token, and a hash of
probabilities is compared before anything is decoded.
"""

import hashlib
import platform
from importlib.metadata import version
from typing import NamedTuple

import msgspec
import torch

from charlm import __version__
from charlm.compression.coder import TokenDistribution
from charlm.compression.container import SHORT_HASH, short_hash
from charlm.execution.device import select_device
from charlm.kernels.single_step import make_token_reader
from charlm.models.char_lm import CharLM
from charlm.models.documents import reset_after_separator
from charlm.models.token_step import TokenStep
from charlm.results.compression import Build
from charlm.runs.checkpoint import CheckpointName
from charlm.runs.restore import load_model
from charlm.runs.run import Run

CHECKED_TOKENS = 256  # steps whose probabilities are hashed
STRIDE = 7919  # between the ids of these tokens: a prime, so that all of a vocabulary are read


class Predictor:
    """Model that reads one stream token by token, and gives the distribution of the next one."""

    def __init__(self, model: CharLM) -> None:
        """Start from the initial state; the model is set to evaluation mode."""
        step = TokenStep(model.eval())
        state = step.initial_state(1)
        reader = make_token_reader(model.kernel, step, step.table, state)
        self._read = reset_after_separator(reader, model, state)
        self._logits = state[0][0].numpy()

    def distribution(self) -> TokenDistribution:
        """Return the distribution of the next token.

        Raises:
            DivergedError: The logits are not finite.
        """
        return TokenDistribution(self._logits)

    def advance(self, token: int) -> None:
        """Read a token."""
        self._logits = self._read([token])[0].numpy()


class Codec(NamedTuple):
    """Model of a run, prepared for compression, with its identity."""

    model: CharLM
    weights_sha256: str
    vocabulary_hash: bytes
    arithmetic_hash: bytes
    build: Build


def load_codec(run: Run, checkpoint: CheckpointName, kernel: str) -> Codec:
    """Load a model on the CPU, with one thread, and measure its arithmetic.

    Args:
        run: Run with at least one checkpoint.
        checkpoint: "best" on validation, or "last".
        kernel: Name of a kernel, or "auto" for the fastest one.
    """
    device, _ = select_device("cpu", 1)
    weights, model = load_model(run, checkpoint, kernel, device, 1)
    return Codec(
        model=model,
        weights_sha256=weights.sha256,
        vocabulary_hash=short_hash(msgspec.json.encode(run.vocabulary)),
        arithmetic_hash=hash_arithmetic(model, run.vocabulary.size),
        build=current_build(model.kernel),
    )


def current_build(kernel: str) -> Build:
    """Return the versions and the processor that compute here."""
    return Build(
        charlm=__version__,
        torch=str(torch.__version__),
        numpy=version("numpy"),
        constriction=version("constriction"),
        processor=f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        kernel=kernel,
    )


@torch.inference_mode()
def hash_arithmetic(model: CharLM, vocabulary_size: int) -> bytes:
    """Return a hash of every bit of the distributions after each of some tokens."""
    predictor, digest = Predictor(model), hashlib.sha256()
    for position in range(CHECKED_TOKENS):
        distribution = predictor.distribution()
        digest.update(distribution.scores.tobytes())
        digest.update(distribution.weights.tobytes())
        predictor.advance(position * STRIDE % vocabulary_size)
    return digest.digest()[:SHORT_HASH]
