"""Counterfactual of a word: what the text behind it costs if another word stands in its place.

A fair replacement is text that could stand there. Spaces or underscores would also surprise the
model by themselves. So the word is replaced by many others of its form from the training text, one
at a time, and the changes are averaged.

Source: Khandelwal et al. (2018), "Sharp Nearby, Fuzzy Far Away", who perturb the context of a
trained model and measure the loss. Replacing one word by words of its form is an addition.
"""

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from charlm.data.corpus import Corpus
from charlm.data.documents import Documents
from charlm.data.vocabulary import Vocabulary
from charlm.errors import ConfigError, DataError
from charlm.evaluation.scoring import iter_token_nll
from charlm.inspection.model_comparison import character_costs
from charlm.inspection.text_choice import display_characters, encode_bytes, read_span
from charlm.models.char_lm import CharLM
from charlm.progress import ProgressCallback
from charlm.results.inspection import (
    BlankedWord,
    ChangeByDistance,
    DependentCharacter,
    ModelChange,
)
from charlm.runs.run import Run

MAX_REPLACEMENTS = 32
MIN_REPLACEMENTS = 3  # words of its form; with fewer, passages of its length are taken
TRAINING_TOKENS = 200_000  # of the training text, where replacements are looked for
DISTANCES = (1, 5, 17, 65, 257)  # first characters of the ranges behind the word
MAX_CHARACTERS = 12  # that are listed
MIN_CHANGE, MIN_ERRORS = 0.1, 3.0  # bits, and standard errors, of a character that depends on it
DECIMALS = 4


class Place(NamedTuple):
    """Range of the characters of a word in a text."""

    start: int
    end: int
    occurrences: int  # of the word in the text


def blank_word(
    runs: Sequence[Run],
    models: Sequence[CharLM],
    rules: Sequence[Documents | None],
    corpus: Corpus,
    text: str,
    word: str,
    occurrence: int,
    tick: ProgressCallback,
) -> BlankedWord:
    """Replace a word of a text by others, and return what that changes behind it.

    Args:
        runs: The runs.
        models: The model of each, in eval mode.
        rules: Where documents begin at which the state of each is reset; None: nowhere.
        corpus: Corpus of the first run, whose training text has the replacements.
        text: Text that the runs read.
        word: Word or passage of it.
        occurrence: Which of several, from 1.
        tick: Gets the number of tokens read since.

    Raises:
        ConfigError: There is no such occurrence.
        DataError: The text has not the word, or ends with it, or the training text has no
            replacement.
    """
    place = find_place(text, word, occurrence)
    vocabularies = [run.vocabulary for run in runs]
    training, _ = read_span(
        corpus.encoding, *corpus.record.splits["train"], TRAINING_TOKENS, vocabularies[0].kind
    )
    by_words = draw_replacements(training, word, vocabularies, has_form=True)
    has_words = len(by_words) >= MIN_REPLACEMENTS
    replacements = (
        by_words if has_words else draw_replacements(training, word, vocabularies, has_form=False)
    )
    if len(replacements) < 2:  # no standard error
        raise DataError(
            f"cannot blank {word!r}: the training text has nothing of its length to replace it. "
            "Try a shorter word"
        )
    texts = [text, *(text[: place.start] + other + text[place.end :] for other in replacements)]
    return BlankedWord(
        word="".join(display_characters(word)),
        start=place.start,
        end=place.end,
        occurrence=occurrence,
        occurrences=place.occurrences,
        replaced_by="words" if has_words else "passages",
        replacements=["".join(display_characters(other)) for other in replacements],
        characters=display_characters(text),
        models=[
            measure_change(run, model, rule, texts, place.end, tick)
            for run, model, rule in zip(runs, models, rules, strict=True)
        ],
    )


def find_place(text: str, word: str, occurrence: int) -> Place:
    """Return where a word stands: as a word of its own if it does, else anywhere.

    Args:
        text: Text that is read.
        word: Word or passage of it.
        occurrence: Which of several, from 1.

    Raises:
        ConfigError: There are fewer occurrences.
        DataError: The text has not the word, or nothing stands behind it.
    """
    if not word:
        raise ConfigError("cannot blank nothing: name a word of the text. Try --blank WORD")
    left = r"(?<!\w)" if word[0].isalnum() else ""
    right = r"(?!\w)" if word[-1].isalnum() else ""
    starts = [match.start() for match in re.finditer(left + re.escape(word) + right, text)]
    starts = starts or [match.start() for match in re.finditer(re.escape(word), text)]
    if not starts:
        raise DataError(
            f"cannot blank {word!r}: it is not in the {len(text):,} characters that are read. "
            "Try a word of them, or another text with --text or --file"
        )
    if occurrence > len(starts):
        raise ConfigError(
            f"cannot use --occurrence {occurrence}: {word!r} stands in the text "
            f"{len(starts)} time{'s' * (len(starts) > 1)}. Try --occurrence {len(starts)}"
        )
    start = starts[occurrence - 1]
    end = start + len(word)
    if end == len(text):
        raise DataError(
            f"cannot blank {word!r}: no text follows it that could depend on it. "
            "Try a longer text, or a word before the last"
        )
    return Place(start, end, len(starts))


def draw_replacements(
    training: str, word: str, vocabularies: Sequence[Vocabulary], has_form: bool
) -> list[str]:
    """Return different passages of a word's length, spread evenly over those that there are.

    A passage begins and ends with whole words if the word does.

    Args:
        training: Training text.
        word: What they replace. They have as many tokens as it has in every vocabulary.
        vocabularies: They have no character that one of these does not know.
        has_form: Whether they consist of the same kinds of characters: capital letters, other
            letters, digits, white space and others.
    """
    kinds = {character: character_kind(character) for character in {*training, *word}}
    form = "".join(kinds[character] for character in word)
    forms = "".join(map(kinds.__getitem__, training))
    left = "(?<![Aa0])(?=[Aa0])" if form[0] in "Aa0" else ""
    right = "(?<=[Aa0])(?![Aa0])" if form[-1] in "Aa0" else ""
    middle = re.escape(form) if has_form else f".{{{len(form)}}}"
    pattern = re.compile(f"{left}(?={middle}{right})", re.DOTALL)
    starts = [match.start() for match in pattern.finditer(forms)]
    characters = "".join(kinds)
    unknown = {each for vocabulary in vocabularies for each in vocabulary.find_unknown(characters)}
    reads_bytes = any(vocabulary.kind == "bytes" for vocabulary in vocabularies)
    allowed = [
        passage
        for passage in dict.fromkeys(training[start : start + len(word)] for start in starts)
        if passage != word
        and unknown.isdisjoint(passage)
        and (not reads_bytes or len(encode_bytes(passage)) == len(encode_bytes(word)))
    ]
    count = min(MAX_REPLACEMENTS, len(allowed))
    return [allowed[(2 * number + 1) * len(allowed) // (2 * count)] for number in range(count)]


def character_kind(character: str) -> str:
    """Return the kind of a character: A, a, 0, white space as it is, or a full stop."""
    if character.isspace():
        return character
    if character.isalpha():
        return "A" if character.isupper() else "a"
    return "0" if character.isdigit() or character == "_" else "."


def measure_change(
    run: Run,
    model: CharLM,
    documents: Documents | None,
    texts: Sequence[str],
    end: int,
    tick: ProgressCallback,
) -> ModelChange:
    """Return the cost of the characters behind a word with replacements, less that with the word.

    Args:
        run: The run.
        model: Its model, in eval mode.
        documents: Where documents begin at which its state is reset; None: nowhere.
        texts: The text, then the texts with a replacement, with equally many tokens.
        end: Index of the first character behind the word.
        tick: Gets the number of tokens read since.
    """
    vocabulary = run.vocabulary
    ids = np.array([vocabulary.encode(each) for each in texts], np.int64).T
    starts = None
    if documents:
        starts = np.stack([documents.mark(column, 0, len(column)) for column in ids.T], axis=1)
    nats = torch.cat(list(iter_token_nll(model, ids, vocabulary, tick, starts))).numpy()
    costs = np.array(
        [character_costs(column, texts[0], vocabulary.kind) for column in nats.T / math.log(2)]
    )
    changes = costs[1:] - costs[0]
    changes[:, :end] = 0  # the word itself is another one
    means, errors = mean_and_error(changes)
    total, total_error = mean_and_error(changes.sum(1))
    order = np.argsort(-means, kind="stable")
    depends = (means >= MIN_CHANGE) & (means > MIN_ERRORS * errors)
    characters = display_characters(texts[0])
    length = len(characters)
    firsts = [first for first in DISTANCES if end + first <= length]
    lasts = [*(first - 1 for first in firsts[1:]), length - end]
    by_distance = []
    for first, last in zip(firsts, lasts, strict=True):
        change, error = mean_and_error(changes[:, end + first - 1 : end + last].sum(1))
        by_distance.append(
            ChangeByDistance(first=first, last=last, change=rounded(change), error=rounded(error))
        )
    return ModelChange(
        run=run.path.resolve().name,
        change=rounded(total),
        error=rounded(total_error),
        changes=list(map(rounded, means)),
        errors=list(map(rounded, errors)),
        by_distance=by_distance,
        num_dependent=int(depends.sum()),
        characters=[
            DependentCharacter(
                index=int(index),
                character=characters[index],
                change=rounded(means[index]),
                error=rounded(errors[index]),
            )
            for index in order[depends[order]][:MAX_CHARACTERS]
        ],
    )


def mean_and_error(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard error over the first axis, of two values or more."""
    return values.mean(0), np.asarray(values.std(0, ddof=1) / math.sqrt(len(values)))


def rounded(value: object) -> float:
    """Return a number with four decimals, without a negative zero."""
    return round(float(value), DECIMALS) + 0.0  # type: ignore[arg-type]
