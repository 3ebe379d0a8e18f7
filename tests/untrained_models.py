"""Untrained models with the score of a text, for the tests of evaluation."""

from pathlib import Path

import torch
from conftest import TINY, prose
from torch.nn.functional import cross_entropy

from charlm.config import validate_config
from charlm.data.corpus import load_corpus
from charlm.data.encoded_text import EncodedText, encode
from charlm.data.sources import resolve_sources
from charlm.data.vocabulary import Vocabulary
from charlm.evaluation.scoring import score_text
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.models.tensor_layout import carried_name
from charlm.results.run import Score
from charlm.runs.checkpoint import Tensors


def score_untrained(
    directory: Path, text: str | bytes, train: str = "", **settings: object
) -> tuple[Score, CharLM, Vocabulary]:
    """Return the score of a text by an untrained model, the model and its vocabulary."""
    (directory / "train.txt").write_text((train or prose(2000)) * 2)
    (directory / "text.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    config = validate_config({**TINY, **settings})
    vocabulary = load_corpus(directory / "train.txt", config).vocabulary
    model = build_char_lm(config, vocabulary.size, "loop", "cpu")
    torch.manual_seed(0)
    torch.nn.init.normal_(model.bias)
    encoding = encode_file(directory / "text.txt", vocabulary)
    return score_text(model, vocabulary, encoding, (0, encoding.size)), model, vocabulary


def checkpoint_tensors(model: CharLM, batch_size: int) -> Tensors:
    """Return what a checkpoint of a model has, whose optimizer has no averages yet."""
    with torch.no_grad():
        states = model.initial_state(batch_size)
    carried = {
        carried_name(layer, part): value
        for layer, state in enumerate(states)
        for part, value in enumerate(state)
    }
    return {"model": model.state_dict(), "training": carried}


def encode_file(path: Path, vocabulary: Vocabulary) -> EncodedText:
    """Encode a file with a given vocabulary."""
    return encode([resolve_sources([str(path)]).sources], vocabulary)


def nats_by_definition(model: CharLM, ids: list[int]) -> float:
    """Return nats of ids, one step at a time from the initial state, in float64."""
    model = model.double().eval()
    total = 0.0
    with torch.no_grad():
        state = model.initial_state(1)
        for token in ids:
            logits = model.next_token_logits(state)
            total += float(cross_entropy(logits, torch.tensor([token])))
            _, state = model(torch.tensor([[token]]), state)
    return total
