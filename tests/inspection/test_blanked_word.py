"""A word of the text that is replaced: its place, its replacements, and what they change."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from inspected_models import open_model

from charlm.data.vocabulary import BYTE_VOCABULARY, Vocabulary
from charlm.errors import ConfigError, DataError
from charlm.evaluation.scoring import iter_token_nll
from charlm.inspection.blanked_word import blank_word, draw_replacements, find_place
from charlm.progress import ignore

TEXT = "The cat and the category. The cat sleeps under the tree.\n"


def test_place_is_a_word_of_its_own_if_there_is_one() -> None:
    assert find_place(TEXT, "cat", 1)[:] == (4, 7, 2)
    assert find_place(TEXT, "cat", 2).start == 30
    assert find_place(TEXT, "categ", 1)[:] == (16, 21, 1)  # else anywhere
    with pytest.raises(ConfigError, match=r"--occurrence 3: 'cat' stands .* 2 times.*Try .* 2"):
        find_place(TEXT, "cat", 3)
    with pytest.raises(DataError, match="'dog': it is not in the 57 characters"):
        find_place(TEXT, "dog", 1)
    with pytest.raises(DataError, match="no text follows it"):
        find_place("The cat", "cat", 1)
    with pytest.raises(ConfigError, match="cannot blank nothing"):
        find_place("The cat", "", 1)


def test_replacements_have_the_form_and_length_of_the_word() -> None:
    training = "The cat, the dog; a Cat 123 cows cat éléphant, été ape."
    vocabulary = Vocabulary("chars", tuple(map(ord, dict.fromkeys(training))))
    assert draw_replacements(training, "fox", [vocabulary], has_form=True) == [
        *("cat", "the", "dog", "été", "ape")
    ]
    assert draw_replacements(training, "cat", [vocabulary], has_form=True)[0] == "the"
    assert draw_replacements(training, "fox", [vocabulary, BYTE_VOCABULARY], has_form=True) == [
        *("cat", "the", "dog", "ape")  # of as many bytes
    ]
    small = Vocabulary("chars", tuple(map(ord, "catdog")))
    assert draw_replacements(training, "fox", [vocabulary, small], has_form=True) == ["cat", "dog"]
    passages = draw_replacements(training, "my pet", [vocabulary], has_form=False)
    assert "a Cat 123"[:5] not in passages and "123 cows"[:6] not in passages
    assert all(len(passage) == 6 for passage in passages)
    many = draw_replacements(" ".join(f"w{n:03}" for n in range(500)), "a111", [vocabulary], True)
    assert len(many) == len(set(many)) <= 32


def test_changes_are_means_of_costs_with_replacements_less_those_without(
    tmp_path: Path, book: Path
) -> None:
    run, corpus, model = open_model(tmp_path, book)
    model.eval()
    text = TEXT.replace("category", "tree")
    blanked = blank_word([run, run], [model, model], [None, None], corpus, text, "cat", 1, ignore)
    assert (blanked.start, blanked.end, blanked.occurrences) == (4, 7, 2)
    assert blanked.replaced_by == "words" and "dog" in blanked.replacements
    assert "cat" not in blanked.replacements and set(map(len, blanked.replacements)) == {3}

    def costs(text: str) -> np.ndarray:
        ids = np.array(run.vocabulary.encode(text))[:, None]
        return torch.cat(list(iter_token_nll(model, ids, run.vocabulary))).numpy()[:, 0]

    changes = np.array(
        [costs(text[:4] + word + text[7:]) - costs(text) for word in blanked.replacements]
    ) / math.log(2)
    changes[:, :7] = 0
    first, second = blanked.models
    assert first == second
    assert first.changes == pytest.approx(changes.mean(0), abs=1e-3)
    error = changes.std(0, ddof=1) / math.sqrt(len(changes))
    assert first.errors == pytest.approx(error, abs=1e-3)
    assert first.change == pytest.approx(changes.sum(1).mean(), abs=1e-2)
    assert sum(part.change for part in first.by_distance) == pytest.approx(first.change, abs=1e-2)
    ranges = [(part.first, part.last) for part in first.by_distance]
    assert ranges == [(1, 4), (5, 16), (17, len(text) - 7)]
    assert all(each.index >= 7 and each.change >= 0.1 for each in first.characters)


def test_model_without_memory_depends_on_the_next_character_alone(
    tmp_path: Path, book: Path
) -> None:
    run, corpus, model = open_model(tmp_path, book, cell="rnn")
    model.cells[0].U.weight.data.zero_()
    model.eval()
    blanked = blank_word([run], [model], [None], corpus, TEXT[:12] + "old tree.", "cat", 1, ignore)
    (change,) = blanked.models
    assert change.changes[7] != 0 and not any(change.changes[8:])
    assert {each.index for each in change.characters} <= {7}


def test_word_without_replacement_is_an_error(tmp_path: Path, book: Path) -> None:
    run, corpus, model = open_model(tmp_path, book)
    word = "x" * 6000
    with pytest.raises(DataError, match="nothing of its length to replace it"):
        blank_word([run], [model], [None], corpus, f"{word} and", word, 1, ignore)
