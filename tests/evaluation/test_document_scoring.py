"""Tests of exact scores with documents: each is scored as a text of its own."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, charlm, prose

import charlm as api
from charlm.compression.predictor import Predictor
from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.evaluation.dynamic import iter_dynamic_nll, measure_update_scales
from charlm.evaluation.evaluate import evaluate
from charlm.evaluation.sample_writer import TokenStreams
from charlm.evaluation.scoring import iter_token_nll, score_split, validation_bpc
from charlm.exporting.export_run import export
from charlm.inspection.inspect_run import inspect
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.results.costs import DynamicSettings
from charlm.runs.run import Run, load_run

SEPARATOR = ".\n"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(prose(6000))
    return path


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a trained run, whose documents are sentences."""
    settings = {"documents": SEPARATOR, "initial_state": "learned", "cell": "lstm"}
    config = validate_config({**TINY, **settings, "max_steps": 20, "branches": "1/2"})
    return api.train(str(text), config, tmp_path_factory.mktemp("runs") / "run")


def split_documents(text: str) -> list[str]:
    """Return the sentences of a text, each with its separator."""
    return [part for part in text.replace(SEPARATOR, SEPARATOR + "\0").split("\0") if part]


def nats_of_separate_texts(model: CharLM, run: Run, documents: Sequence[str]) -> torch.Tensor:
    """Return the nats of all tokens; each document is read alone, as plain ids."""
    nats = [
        torch.cat(list(iter_token_nll(model, ids, run.vocabulary)))[:, 0]
        for ids in (np.array(run.vocabulary.encode(one))[:, None] for one in documents)
    ]
    return torch.cat(nats)


def test_score_is_the_sum_of_separate_documents(run: Run, text: Path) -> None:
    corpus = api.load_corpus(str(text), run.record.config)
    start, end = corpus.record.splits["test"]
    whole = text.read_text()
    edges = np.cumsum([len(part) for part in split_documents(whole)]).tolist()
    cuts = [start, *(edge for edge in edges if start < edge < end), end]
    documents = [whole[first:last] for first, last in pairwise(cuts)]
    assert len(documents) > 5
    bits = float(nats_of_separate_texts(run.model(), run, documents).sum()) / math.log(2)
    score = score_split(run.model(), corpus, "test")
    assert score.bits_per_char == pytest.approx(bits / (end - start), rel=1e-6)
    assert run.report and run.report.score
    assert run.report.score.bits_per_char == pytest.approx(score.bits_per_char, rel=1e-5)
    assert score.protocol == run.report.score.protocol == "by-document"
    whole = nats_of_separate_texts(run.model(), run, ["".join(documents)])
    assert abs(float(whole.sum()) / math.log(2) - bits) > 0.1  # it matters


def test_another_text_has_the_same_documents(run: Run, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.txt").write_text(prose(300, seed=number + 5))
    joined = prose(300, seed=5) + prose(300, seed=6)
    bits = float(nats_of_separate_texts(run.model(), run, split_documents(joined)).sum())
    report = evaluate(run, text=tmp_path)
    assert report.nats_per_char == pytest.approx(bits / len(joined), rel=1e-5)


def test_files_are_scored_as_separate_texts(run: Run, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text(prose(400 + number, seed=number))
    names = sorted(tmp_path.iterdir())
    config = validate_config({**TINY, "documents": "file", "split_ratios": "40/20/40"})
    corpus = load_corpus(tmp_path, config)
    start, end = corpus.record.splits["test"]
    edges = np.cumsum([0, *(len(name.read_text()) for name in names)])
    cuts = [start, *(int(edge) for edge in edges if start < edge < end), end]
    joined = "".join(name.read_text() for name in names)
    torch.manual_seed(0)
    model = build_char_lm(config, corpus.vocabulary.size, "loop", "cpu")
    nats = []
    for first, last in pairwise(cuts):
        ids = np.array(corpus.vocabulary.encode(joined[first:last]))[:, None]
        nats += [w.sum() for w in iter_token_nll(model, ids, corpus.vocabulary)]
    score = score_split(model, corpus, "test")
    assert score.nats_per_char == pytest.approx(float(sum(nats)) / (end - start), rel=1e-6)
    assert len(cuts) > 3


def test_validation_resets_each_stream_at_its_documents(run: Run, text: Path) -> None:
    """One stream reads the whole split: it is the exact score."""
    corpus = api.load_corpus(str(text), run.record.config)
    ids = corpus.stored_split("valid").span(0, 100)
    assert len(ids) < 2 * 64
    (nats,) = iter_token_nll(run.model(), ids.column(), run.vocabulary)
    bits = validation_bpc(run.model(), ids, run.vocabulary)
    assert bits == pytest.approx(float(nats.mean()) / math.log(2), rel=1e-6)
    plain = validation_bpc(run.model(), ids[:], run.vocabulary)
    assert abs(plain - bits) > 1e-4


def test_dynamic_score_starts_each_document_afresh(run: Run, text: Path) -> None:
    """At a learning rate of almost 0 it is the exact score, whatever a segment is."""
    corpus = api.load_corpus(str(text), run.record.config)
    ids, model = corpus.stored_split("test"), run.model()
    settings = DynamicSettings(rate=1e-12, decay=0.0, segment=16)
    scales = measure_update_scales(model, corpus.stored_split("train"), run.vocabulary, 16)
    found = torch.cat(list(iter_dynamic_nll(model, ids, run.vocabulary, scales, settings)))
    exact = torch.cat(list(iter_token_nll(model, ids.column(), run.vocabulary)))
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)


def token_nats(model: CharLM, run: Run, text: str) -> Iterator[float]:
    """Yield the nats of each token, read one by one as a sample is written."""
    streams = TokenStreams(model)
    streams.select([0, 0])
    for token in run.vocabulary.encode(text):
        yield -float(streams.next_logits[1].double().log_softmax(-1)[token])
        streams.advance([0, token])


@pytest.mark.parametrize("kernel", ["loop", "compiled"])
def test_samples_and_compression_start_afresh_after_a_separator(run: Run, kernel: str) -> None:
    text = prose(200, seed=3)
    model = load_run(run.path).model(kernel=kernel)
    expected = nats_of_separate_texts(model, run, split_documents(text))
    with torch.inference_mode():
        written = list(token_nats(model, run, text))
        predictor, coded = Predictor(model), []
        for token in run.vocabulary.encode(text):
            coded.append(predictor.distribution().bits(token) * math.log(2))
            predictor.advance(token)
    assert written == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)
    assert math.fsum(coded) == pytest.approx(float(expected.sum()), rel=1e-3)


def test_command_line_trains_the_same_run_as_python(run: Run, text: Path, tmp_path: Path) -> None:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]
    options += [f"--documents={SEPARATOR}", "--initial-state=learned", "--cell=lstm"]
    done = charlm(
        "train", text, *options, "--max-steps=20", "--branches=1/2", f"--run={tmp_path}/r"
    )
    assert done.returncode == 0, done.stderr
    files = [path / "metrics.jsonl" for path in (run.path, tmp_path / "r")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_inspected_text_starts_afresh_at_each_document(run: Run) -> None:
    """Neither the cost nor the activations of one depend on the one before."""
    first, second = "The cat sees the dog.\n", "The dog runs.\n"
    report = inspect(run, text=first + second, blank="cat", units=[(1, 1)])
    nats = nats_of_separate_texts(run.model(), run, [first, second])
    assert report.bits == pytest.approx((nats / math.log(2)).tolist(), abs=1e-3)
    assert report.protocol == "by-document"
    assert report.blanked and report.survey
    changes = report.blanked.models[0].changes
    assert any(changes[: len(first)]) and not any(changes[len(first) :])
    alone = inspect(run, text=second, units=[(1, 1)])
    for whole, trace in zip(report.units[0].traces, alone.units[0].traces, strict=True):
        assert whole.values[len(first) :] == pytest.approx(trace.values, abs=1e-3)


def test_card_of_an_exported_model_says_that_its_reader_has_no_documents(
    run: Run, tmp_path: Path
) -> None:
    export(run, tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "the state starts anew at each document, as `char_lm.py` does not do" in card
