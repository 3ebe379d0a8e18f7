"""Choice of tokens: the distribution, its limits, their order, allowed characters."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from charlm.data.vocabulary import BYTE_VOCABULARY, Vocabulary
from charlm.errors import ConfigError, DivergedError
from charlm.evaluation.allowed_characters import allowed_mask
from charlm.evaluation.sampling import SamplingSettings, TokenSampler, random_numbers

FOUR = Vocabulary("chars", tuple(map(ord, "abcd")))


def sample_many(logits: list[float], times: int = 300, **options: object) -> NDArray[np.integer]:
    """Return how often each of the four tokens was chosen."""
    sampler = TokenSampler(FOUR, SamplingSettings(**options))  # type: ignore[arg-type]
    rows = np.tile([*logits, 50.0], (times, 1))  # the unknown token is by far the most probable
    numbers = random_numbers(0, 0)
    return np.bincount(sampler.choose(rows, [numbers] * times), minlength=5)


def sampled_tokens(logits: list[float], **options: object) -> str:
    return "".join("abcd?"[index] for index in sample_many(logits, **options).nonzero()[0])


def test_sampling_follows_the_softmax() -> None:
    counts = sample_many([2.0, 1.0, 0.0, -math.inf], 20_000)
    probabilities = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
    assert counts[3] == counts[4] == 0
    assert np.abs(counts[:3] / 20_000 - probabilities).max() < 0.01


def test_random_numbers_depend_on_seed_and_sample_alone() -> None:
    def first(seed: int, number: int) -> list[float]:
        numbers = random_numbers(seed, number)
        return [next(numbers) for _ in range(600)]

    assert first(1, 0) == first(1, 0) != first(1, 1)
    assert first(2, 0) != first(1, 0) and len(set(first(1, 0))) == 600
    assert all(0 <= number < 1 for number in first(1, 0))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_diverged_logits_are_refused(value: float) -> None:
    with pytest.raises(DivergedError, match="logits are not finite"):
        sample_many([0.0, value, 0.0, 0.0])


def test_settings_limit_the_tokens() -> None:
    logits = [3.0, 2.0, 1.0, 0.0]  # probabilities .644, .237, .087, .032
    assert sampled_tokens(logits) == "abcd"
    assert sampled_tokens(logits, temperature=0.0) == "a"
    assert sampled_tokens(logits, temperature=1e-300) == "a"  # and nothing overflows
    assert sampled_tokens([1e30, 0.0, 0.0, 0.0], temperature=1e-30) == "a"
    assert sampled_tokens(logits, top_k=2) == "ab"
    assert sampled_tokens(logits, top_k=1) == "a"
    assert sampled_tokens([1.0, 1.0, 0.0, 0.0], top_k=1) == "ab"  # ties
    assert sampled_tokens(logits, top_k=99) == "abcd"
    assert sampled_tokens(logits, top_p=0.6) == "a"
    assert sampled_tokens(logits, top_p=0.65) == "ab"
    assert sampled_tokens(logits, top_p=0.0) == "a"
    assert sampled_tokens(logits, min_p=0.36) == "ab"  # .237 / .644 = .368
    assert sampled_tokens(logits, min_p=0.37) == "a"
    assert sampled_tokens(logits, min_p=1.0) == "a"
    assert sampled_tokens(logits, min_p=0.04) == "abcd"


def test_settings_apply_in_their_documented_order() -> None:
    logits = [3.0, 2.0, 1.0, 0.0]
    assert sampled_tokens(logits, top_p=0.9, top_k=2) == "ab"
    assert sampled_tokens(logits, top_p=0.72, top_k=2) == "a"  # of what top_k leaves
    assert sampled_tokens(logits, min_p=0.36, temperature=2.0) == "abc"  # of the heated ones
    assert sampled_tokens(logits, top_p=0.7, min_p=0.3) == "ab"  # top_p of all four
    # First of all, so that something is always left.
    assert sampled_tokens(logits, allow="cd") == "cd"
    assert sampled_tokens(logits, allow="cd", top_k=1) == "c"
    assert sampled_tokens(logits, allow="d", top_p=0.1, min_p=1.0) == "d"
    assert sampled_tokens(logits, allow="bd", temperature=0.0) == "b"


def allowed(text: str, allow: str | None, kind: str = "chars") -> str:
    vocabulary = BYTE_VOCABULARY
    if kind == "chars":
        vocabulary = Vocabulary("chars", tuple(map(ord, text)))
    mask = allowed_mask(vocabulary, allow)
    assert len(mask) == vocabulary.size and not mask[len(vocabulary.tokens) :].any()
    return "".join(chr(vocabulary.tokens[index]) for index in mask.nonzero()[0])


def test_allowed_characters_are_written_as_in_tr() -> None:
    text = "aBc\u00e9 \n\t5.-[]\\:"
    assert allowed(text, None) == text
    assert allowed(text, "a") == "a"
    assert allowed(text, "a-z") == "ac"  # those of the range that the model knows
    assert allowed(text, "[:alpha:]") == "aBc\u00e9"
    assert allowed(text, "[:upper:][:digit:]") == "B5"
    assert allowed(text, "[:space:]") == " \n\t"
    assert allowed(text, "[:punct:]") == ".-[]\\:"
    assert allowed(text, "\\n ") == " \n"
    assert allowed(text, "-a") == "a-" and allowed(text, "a-") == "a-"
    assert allowed(text, "a\\-c") == "ac-"
    assert allowed(text, "[]:\\\\") == "[]\\:"
    assert allowed("", "[:alpha:]", "bytes").isascii()
    assert allowed("", "a-\u00ff", "bytes")[:3] == "abc"


@pytest.mark.parametrize(
    ("allow", "pattern"),
    [
        ("a#\u6f22", "does not know '#' .U.0023., .* .U.6F22."),
        ("[:vowel:]", r"no such class. Try one of \[:alpha:\]"),
        ("x-z", "knows no such character"),
        ("c-a", "reversed. Try a-c"),
        ("\\d", "no such escape"),
        ("a\\", "no such escape"),
    ],
)
def test_wrong_notation_is_refused(allow: str, pattern: str) -> None:
    with pytest.raises(ConfigError, match=pattern):
        allowed("abc", allow)


def test_character_of_several_bytes_cannot_be_allowed() -> None:
    with pytest.raises(ConfigError, match="several tokens"):
        allowed("", "\u00e9", "bytes")


def test_stop_string_that_cannot_come_is_refused() -> None:
    for stop, allow, pattern in (
        ("ab#", None, "does not know '#'"),
        ("a\\n", None, "In bash, a line end is"),
        ("ab", "ac", "--allow leaves a character"),
    ):
        with pytest.raises(ConfigError, match=pattern):
            TokenSampler(FOUR, SamplingSettings(stop=(stop,), allow=allow))
