"""Generation: samples follow the scored distribution and depend on the arguments alone."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from untrained_models import score_untrained

from charlm.errors import ConfigError, DivergedError
from charlm.evaluation.generation import generate, iter_generated, sample_token
from charlm.evaluation.scoring import iter_token_nll
from charlm.runs.run import load_run


def sampled_tokens(logits: list[float], **options: float) -> set[int]:
    generator = torch.Generator().manual_seed(0)
    arguments = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **options}
    return {
        sample_token(torch.tensor(logits), **arguments, generator=generator)  # type: ignore[arg-type]
        for _ in range(300)
    }


def test_sampling_follows_the_softmax() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -torch.inf])
    generator = torch.Generator().manual_seed(0)
    counts = np.bincount(
        [sample_token(logits, 1.0, 0, 1.0, generator) for _ in range(20000)], minlength=4
    )
    probabilities = logits.softmax(0).numpy()
    assert counts[3] == 0
    assert np.abs(counts / 20000 - probabilities).max() < 0.01


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_diverged_logits_are_refused(value: float) -> None:
    with pytest.raises(DivergedError, match="logits are not finite"):
        sampled_tokens([0.0, value])


def test_temperature_top_k_and_top_p_limit_the_tokens() -> None:
    logits = [3.0, 2.0, 1.0, 0.0]  # probabilities .644, .237, .087, .032
    assert sampled_tokens(logits) == {0, 1, 2, 3}
    assert sampled_tokens(logits, temperature=0.0) == {0}
    assert sampled_tokens(logits, temperature=1e-300) == {0}  # and nothing overflows
    assert sampled_tokens([1e30, 0.0], temperature=1e-30) == {0}
    assert sampled_tokens(logits, top_k=2) == {0, 1}
    assert sampled_tokens(logits, top_k=1) == {0}
    assert sampled_tokens(logits, top_k=99) == {0, 1, 2, 3}
    assert sampled_tokens(logits, top_p=0.6) == {0}
    assert sampled_tokens(logits, top_p=0.65) == {0, 1}
    assert sampled_tokens(logits, top_p=0.0) == {0}
    assert sampled_tokens(logits, top_p=0.9, top_k=2) == {0, 1}
    assert sampled_tokens(logits, top_p=0.72, top_k=2) == {0}  # of what top_k leaves


def test_sample_carries_the_state_and_avoids_unk(tmp_path: Path) -> None:
    """Greedy text is the argmax of the logits after all that was read and generated."""
    _, model, vocabulary = score_untrained(tmp_path, "The", hidden_size=16)
    assert vocabulary.unk_id is not None
    with torch.no_grad():
        model.bias[vocabulary.unk_id] = 100.0
    prompt = "The 漢 dog\n"
    pieces = iter_generated(model, vocabulary, prompt, 30, temperature=0.0)
    text = b"".join(pieces).decode()
    assert len(text) == 30  # the prompt is not counted
    ids = vocabulary.encode(prompt + text)
    logits, _ = model(torch.tensor(ids)[:, None], model.initial_state(1))
    logits[..., vocabulary.unk_id] = -torch.inf
    expected = logits[len(prompt) - 1 : -1, 0].argmax(-1)
    assert vocabulary.encode(text) == expected.tolist()


def test_sample_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    _, model, vocabulary = score_untrained(tmp_path, "The")

    def text(**options: int) -> bytes:
        return b"".join(iter_generated(model, vocabulary, "", 50, **options))  # type: ignore[arg-type]

    assert text(seed=1) == text(seed=1) != text(seed=2)
    assert text(seed=1, sample_number=1) == text(seed=1, sample_number=1) != text(seed=1)
    assert b"\n" in text(seed=1) + text(seed=2) + text(seed=3)


def test_gradients_stay_enabled_between_iterations(tmp_path: Path) -> None:
    _, model, vocabulary = score_untrained(tmp_path, "The")
    for iterator in (
        iter_token_nll(model, np.zeros((5000, 1), dtype=np.uint8), vocabulary),
        iter_generated(model, vocabulary, "The", 3),
    ):
        for _ in iterator:
            assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize(
    ("option", "value"),
    [("temperature", math.nan), ("temperature", -1.0), ("top_p", 1.5), ("top_k", -1)],
)
def test_option_out_of_range_is_refused(tmp_path: Path, option: str, value: float) -> None:
    _, model, vocabulary = score_untrained(tmp_path, "The")
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')}"):
        iter_generated(model, vocabulary, "", 3, **{option: value})  # type: ignore[arg-type]


def test_generate_returns_text_of_a_run(trained: Path) -> None:
    run = load_run(trained)
    text = generate(run, "The ", 20, temperature=0.8, seed=3)
    assert len(text) == 20 and text == generate(run, "The ", 20, temperature=0.8, seed=3)
    assert text != generate(run, "The ", 20, temperature=0.8, seed=3, sample_number=1)
