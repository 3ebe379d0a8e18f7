"""Generation: samples follow the scored distribution and depend on the arguments alone."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from untrained_models import score_untrained

from charlm.cells.base import CELLS
from charlm.config import validate_config
from charlm.data.vocabulary import BYTE_VOCABULARY, Vocabulary
from charlm.errors import ConfigError
from charlm.evaluation.generation import generate, generate_samples, iter_generated
from charlm.evaluation.sample_writer import STREAMS, Sample, SampleWriter, iter_samples
from charlm.evaluation.sampling import SamplingSettings
from charlm.evaluation.scoring import iter_token_nll
from charlm.evaluation.session import WritingSession
from charlm.kernels.registry import supported_kernels
from charlm.models.char_lm import CharLM
from charlm.runs.run import load_run


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
    [
        *(("temperature", math.nan), ("temperature", -1.0), ("top_p", 1.5), ("top_k", -1)),
        *(("min_p", 1.01), ("stop", ("",)), ("stop", ("\u6f22",)), ("allow", ""), ("allow", "#")),
    ],
)
def test_option_out_of_range_is_refused(tmp_path: Path, option: str, value: float) -> None:
    _, model, vocabulary = score_untrained(tmp_path, "The")
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')}"):
        iter_generated(model, vocabulary, "", 3, **{option: value})  # type: ignore[misc]


def random_model(cell: str, kernel: str, vocabulary: Vocabulary, **settings: object) -> CharLM:
    """Return a model with random weights, large enough for varied texts."""
    sizes = {"num_layers": 2, "hidden_size": 16, "embedding_dim": 8}
    torch.manual_seed(0)
    model = CharLM(
        validate_config({"cell": cell, **sizes, **settings}), vocabulary.size, kernel
    ).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


LETTERS = Vocabulary("chars", (10, *range(97, 97 + 19)))  # the vectors of C have a remainder


@pytest.mark.parametrize("cell", ["lstm", "mingru", "matrix-lstm"])
def test_sample_is_the_same_beside_others_and_alone(cell: str) -> None:
    """To the last bit, on every kernel, also where samples end before others."""
    settings = SamplingSettings(temperature=1.5, top_p=0.95, seed=7, stop=("\n", "cc", "k"))
    options = {"temperature": 1.5, "top_p": 0.95, "seed": 7, "stop": ("\n", "cc", "k")}
    for kernel in supported_kernels(CELLS[cell](8, 16), "cpu"):
        model = random_model(cell, kernel, LETTERS)
        together = list(iter_samples(model, LETTERS, "abc", 40, 6, settings, 2))
        assert len({len(sample.tokens) for sample in together}) > 1  # some were stopped
        for sample in together:
            writer = SampleWriter(model, LETTERS, settings, 2)
            writer.read("abc")
            alone = Sample(LETTERS, settings, sample.number, has_logprobs=True)
            writer.write_together([alone], 40)
            assert sample.logprobs == alone.logprobs, kernel  # equal numbers, not close ones
            pieces = iter_generated(
                model,
                LETTERS,
                "abc",
                40,
                sample_number=sample.number,
                **options,  # type: ignore[arg-type]
            )
            assert b"".join(pieces) == sample.data, kernel


def test_more_samples_than_are_written_at_once_are_numbered_on() -> None:
    model = random_model("gru", "compiled", LETTERS)
    settings = SamplingSettings()
    samples = list(iter_samples(model, LETTERS, "", 5, STREAMS + 2, settings))
    assert [sample.number for sample in samples] == list(range(STREAMS + 2))
    assert len({bytes(sample.data) for sample in samples}) > STREAMS
    (alone,) = iter_samples(model, LETTERS, "", 5, 1, settings)
    assert alone.data == samples[0].data
    assert list(iter_samples(model, LETTERS, "a", 0, 2, settings))[1].data == b""


def test_stop_string_ends_a_sample_and_is_no_part_of_it() -> None:
    """In the generated text alone: one that the prompt has begun does not count."""
    for vocabulary in (LETTERS, BYTE_VOCABULARY):
        model = random_model("gru", "loop", vocabulary)
        whole = b"".join(iter_generated(model, vocabulary, "ab", 40, seed=1)).decode("latin-1")
        stop = whole[10:13]
        if vocabulary.kind == "bytes":
            stop = whole[10:13].encode("latin-1").decode("utf-8", "surrogateescape")
        options = {"seed": 1, "stop": (stop,)}
        settings = SamplingSettings(**options)  # type: ignore[arg-type]
        pieces = list(iter_generated(model, vocabulary, "ab", 40, **options))  # type: ignore[arg-type]
        end = whole.index(whole[10:13])
        assert b"".join(pieces).decode("latin-1") == whole[:end]
        (sample,) = iter_samples(model, vocabulary, "ab", 40, 1, settings, 0)
        assert sample.stop == stop and len(sample.tokens) == len(sample.logprobs or ()) == end
        prompted = "ab" + stop
        assert b"".join(iter_generated(model, vocabulary, prompted, 5, **options))  # type: ignore[arg-type]


def test_log_probabilities_are_those_of_the_model_itself() -> None:
    """Whatever temperature, allowed characters and truncation are; with the unknown token."""
    model = random_model("lstm", "loop", LETTERS)
    settings = SamplingSettings(temperature=0.5, top_k=3, allow="a-h", seed=2)
    (sample,) = iter_samples(model, LETTERS, "cab", 12, 1, settings, 20)
    ids = [*LETTERS.encode("cab"), *sample.tokens]
    with torch.no_grad():
        logits, _ = model(torch.tensor(ids)[:, None], model.initial_state(1))
    expected = logits[2:-1, 0].double().log_softmax(-1)
    assert sample.logprobs is not None and len(sample.logprobs) == 12
    for row, token, found in zip(expected, sample.tokens, sample.logprobs, strict=True):
        assert found.text == chr(LETTERS.tokens[token]) and found.text in "abcdefgh"
        assert math.isclose(found.logprob, row[token].item(), abs_tol=1e-5)
        values = [one.logprob for one in found.top]
        assert values == sorted(values, reverse=True) and len(values) == 20
        by_text = {one.text: one.logprob for one in found.top}
        assert by_text[found.text] == found.logprob
    assert any(one.text is None for found in sample.logprobs for one in found.top)


def test_session_carries_the_state_and_can_forget() -> None:
    model = random_model("gru", "compiled", LETTERS)
    session = WritingSession(model, LETTERS, "ab", 12, SamplingSettings(seed=3))
    first = b"".join(session.write("cd")).decode()
    assert first == b"".join(iter_generated(model, LETTERS, "abcd", 12, seed=3)).decode()
    second = b"".join(session.write("ef")).decode()
    text = f"abcd{first}ef"
    expected = iter_generated(model, LETTERS, text, 12, seed=3, sample_number=1)
    assert second == b"".join(expected).decode()
    session.reset()
    session.change(length=7, temperature=0.0)
    expected = iter_generated(model, LETTERS, "abgh", 7, temperature=0.0)
    assert b"".join(session.write("gh")) == b"".join(expected)
    for options in ({"length": -1}, {"temperature": math.inf}):
        with pytest.raises(ConfigError):
            session.change(**options)  # type: ignore[arg-type]
    assert session.length == 7


def test_generate_returns_text_of_a_run(trained: Path) -> None:
    run = load_run(trained)
    options = {"temperature": 0.8, "seed": 3}
    text = generate(run, "The ", 20, **options)  # type: ignore[arg-type]
    assert len(text) == 20 and text == generate(run, "The ", 20, **options)  # type: ignore[arg-type]
    other = generate(run, "The ", 20, sample_number=1, **options)  # type: ignore[arg-type]
    samples = generate_samples(run, "The ", 20, 2, novelty=True, logprobs=1, **options)  # type: ignore[arg-type]
    assert [sample.text for sample in samples] == [text, other] and text != other
    assert all(len(sample.logprobs or ()) == sample.tokens == 20 for sample in samples)
    train = Path(run.record.text.sources[0]).read_text()[:5400]
    for sample in samples:
        assert sample.finish_reason == "length" and sample.novelty is not None
        longest = sample.novelty.longest
        assert longest is not None and longest.text in train and longest.text in sample.text
        assert train.index(longest.text) == longest.offset
        assert longest.line == 1 + train[: longest.offset].count("\n")
        assert longest.file == Path(run.record.text.sources[0]).name
    assert generate(run, "The ", 40, stop="e", allow="[:lower:] ").isprintable()
    with pytest.raises(ConfigError):
        generate_samples(run, num_samples=-1)
