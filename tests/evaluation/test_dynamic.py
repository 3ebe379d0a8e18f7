"""Dynamic evaluation: scored before it is learnt, decay, and a run that does not change."""

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from conftest import make_run, prose

from charlm.errors import ConfigError, DivergedError
from charlm.evaluation.dynamic import iter_dynamic_nll, measure_update_scales
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.scoring import iter_token_nll
from charlm.models.build import build_char_lm
from charlm.results.costs import DynamicSettings
from charlm.runs.run import load_run

SETTINGS = DynamicSettings(rate=0.003, decay=0.01, segment=16)


def dynamic_nats(run_path: Path, ids: np.ndarray, **settings: float) -> torch.Tensor:
    run = load_run(run_path)
    model, vocabulary = run.model(), run.vocabulary
    chosen = msgspec.structs.replace(SETTINGS, **settings)
    train = np.array(vocabulary.encode(prose(5400)))
    scales = measure_update_scales(model, train, vocabulary, chosen.segment)
    return torch.cat(list(iter_dynamic_nll(model, ids, vocabulary, scales, chosen)))[:, 0]


def test_text_is_scored_before_it_is_learnt(trained: Path) -> None:
    """Later text never changes the cost of a segment; the first costs what it costs always."""
    run = load_run(trained)
    text = prose(160, seed=9)
    ids = np.array(run.vocabulary.encode(text))
    nats = dynamic_nats(trained, ids)
    other = np.array(run.vocabulary.encode(text[:96] + prose(64, seed=10)))
    assert torch.equal(dynamic_nats(trained, other)[:96], nats[:96])
    static = torch.cat(list(iter_token_nll(run.model(), ids[:, None], run.vocabulary)))[:, 0]
    assert torch.allclose(nats[:16], static[:16], rtol=1e-6)
    assert not torch.allclose(nats[16:], static[16:], rtol=1e-3)
    still = dynamic_nats(trained, ids, rate=1e-12)
    assert torch.allclose(still, static, rtol=1e-4, atol=1e-5)  # the state is carried


def test_updates_equal_their_definition(tmp_path: Path, book: Path) -> None:
    """Two segments: the weights after the first are recomputed parameter by parameter."""
    run, corpus, config = make_run(tmp_path / "r", book, cell="rnn", dropout=0.5)
    model = build_char_lm(config, run.vocabulary.size, "loop", "cpu").double()
    train, ids = corpus.split("train"), corpus.split("test")[:32]
    scales = measure_update_scales(model, train, run.vocabulary, 16)
    means = torch.cat([scale.flatten() for scale in scales.scales])
    assert float(means.mean()) == pytest.approx(1) and scales.segments == 256
    found = torch.cat(list(iter_dynamic_nll(model, ids, run.vocabulary, scales, SETTINGS)))[:, 0]
    tensor = torch.from_numpy(ids.astype(np.int64))[:, None]
    model.eval()
    logits, state = model(tensor[:16], model.initial_state(1))
    first = torch.cat((model.next_token_logits(model.initial_state(1))[None], logits[:-1]))
    loss = torch.nn.functional.cross_entropy(first[:, 0], tensor[:16, 0])
    loss.backward()
    assert float(found[:16].mean()) == pytest.approx(float(loss.detach()), rel=1e-9)
    with torch.no_grad():
        for parameter, scale in zip(model.parameters(), scales.scales, strict=True):
            assert parameter.grad is not None
            parameter -= 0.003 * parameter.grad / (scales.mean * (scale + 0.3))
        state = tuple(tuple(part.detach() for part in layer) for layer in state)
        logits, _ = model(tensor[16:], state)
        second = torch.cat((model.next_token_logits(state)[None], logits[:-1]))
        expected = torch.nn.functional.cross_entropy(second[:, 0], tensor[16:, 0])
    assert float(found[16:].mean()) == pytest.approx(float(expected), rel=1e-7)


def test_decay_of_one_returns_to_the_static_weights(trained: Path) -> None:
    run = load_run(trained)
    ids = np.array(run.vocabulary.encode(prose(160, seed=9)))
    static = torch.cat(list(iter_token_nll(run.model(), ids[:, None], run.vocabulary)))[:, 0]
    free = (dynamic_nats(trained, ids, decay=0.0) - static).abs().mean()
    held = (dynamic_nats(trained, ids, decay=0.9) - static).abs().mean()
    assert held < 0.6 * free


def test_score_is_labelled_and_the_run_stays_as_it_is(trained: Path, tmp_path: Path) -> None:
    """On a text of repeated new words, learning helps; the exact score is the same as without."""
    (tmp_path / "new.txt").write_text("zebra quokka xylophone\n" * 60)
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    report = evaluate(trained, text=tmp_path / "new.txt", dynamic=DynamicSettings())
    assert report.dynamic is not None and report.dynamic.protocol == "dynamic"
    assert report.bits_per_char is not None and report.dynamic.bits_per_char is not None
    assert report.dynamic.bits_per_char < report.bits_per_char
    assert report.protocol == "one-stream" and report.dynamic.rate == DynamicSettings().rate
    plain = evaluate(trained, text=tmp_path / "new.txt")
    assert plain == msgspec.structs.replace(report, dynamic=None)
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_every_kernel_learns_alike(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(prose(64, seed=3))
    bits = [
        evaluate(trained, text=tmp_path / "t.txt", dynamic=SETTINGS, kernel=kernel).dynamic
        for kernel in ("loop", "native", "compiled")
    ]
    values = [score.bits_per_char for score in bits if score is not None]
    assert values == pytest.approx([values[0]] * 3, rel=1e-4)


def test_wrong_settings_and_divergence_are_errors(trained: Path) -> None:
    for settings in (
        {"rate": 0.0},
        {"decay": 1.0},
        {"segment": 0},
        {"rate": math.nan},
        {"rate": math.inf},
    ):
        with pytest.raises(ConfigError, match="dynamic"):
            evaluate(trained, dynamic=msgspec.structs.replace(SETTINGS, **settings))
    with pytest.raises(DivergedError, match="lower --dynamic-rate"):
        evaluate(trained, dynamic=msgspec.structs.replace(SETTINGS, rate=1e30))


def test_diverged_run_is_not_blamed_on_the_dynamic_rate(tmp_path: Path, book: Path) -> None:
    run, corpus, config = make_run(tmp_path / "r", book, cell="rnn")
    model = build_char_lm(config, run.vocabulary.size, "loop", "cpu")
    train = corpus.split("train")[:200]
    scales = measure_update_scales(model, train, run.vocabulary, 16)
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, math.nan)
    message = "training of the run diverged.*Try to train again with a lower --learning-rate"
    with pytest.raises(DivergedError, match=message):
        measure_update_scales(model, train, run.vocabulary, 16)
    with pytest.raises(DivergedError, match=message):
        list(iter_dynamic_nll(model, train, run.vocabulary, scales, SETTINGS))
