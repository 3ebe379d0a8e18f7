"""Models with known or random weights, and their inspection on a string."""

from pathlib import Path

import torch
from conftest import make_run

from charlm.data.corpus import Corpus
from charlm.inspection.inspect_run import inspect_model, make_report
from charlm.inspection.text_span import span_from_string
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.progress import ignore
from charlm.results.inspection import InspectedText, InspectionReport
from charlm.runs.run import Run


def open_model(path: Path, book: Path, **settings: object) -> tuple[Run, Corpus, CharLM]:
    """A run, its corpus, and a model whose weights are not the initial ones."""
    # With "auto" a kernel would be compiled, which the loop of an inspection does not use.
    run, corpus, config = make_run(path / "run", book, kernel="loop", **settings)
    model = build_char_lm(config, corpus.vocabulary.size, "loop", "cpu")
    torch.manual_seed(2)
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)
    return run, corpus, model


def inspect_string(
    run: Run, corpus: Corpus, model: CharLM, text: str, *units: tuple[int, int]
) -> InspectionReport:
    span = span_from_string(text, run.vocabulary)
    inspected = inspect_model(run, "0" * 64, model, corpus, span, units, ignore)
    return make_report(inspected, InspectedText(source="string"), "one-stream")
