"""Agreement grammar: an artificial corpus of known entropy with long-distance dependencies.

In each sentence the verb agrees with the number of its subject, across any number of words. A
grammar is a set of states, each with a choice of texts. No text of a state is a prefix of another,
so a text determines its choices. Sentences are independent. The entropy per character is therefore
the entropy of a sentence divided by its mean length, and both are sums over choices.

After each word in between, the verb follows with the same probability. Hence the number is all that
has to be remembered for longer than a word. A model that forgets it pays its entropy once per
sentence, at the agreeing letter.
"""

import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from charlm.errors import ConfigError, DataError
from charlm.results.text import AgreementRecord, GrammarChoice
from charlm.storage import files
from charlm.storage.json_files import encode_json

NOUNS = ("bird", "boy", "cat", "dog", "farmer", "girl", "king", "painter")
VERBS = ("laugh", "run", "sing", "sleep", "smile", "swim", "wait", "work")
WORDS_BETWEEN = (
    *("a", "behind", "by", "garden", "green", "hill", "long", "near"),
    *("old", "quiet", "red", "river", "small", "stone", "the", "under"),
)
START = "start"
SINGULAR, PLURAL = "singular", "plural"
MAX_DISTANCE = 1_000_000  # characters
Grammar = Mapping[str, Sequence[GrammarChoice]]  # state -> choices


def agreement_grammar(distance: float) -> dict[str, tuple[GrammarChoice, ...]]:
    """Return a grammar with `distance` characters between subject and verb, in the mean.

    Raises:
        ConfigError: The distance is out of range.
    """
    if not 1 <= distance <= MAX_DISTANCE:
        raise ConfigError(
            f"cannot make a grammar with --distance {distance:g}. "
            f"Try 1 to {MAX_DISTANCE:,} characters"
        )
    words = [word + " " for word in WORDS_BETWEEN]
    word_length = sum(map(len, words)) / len(words)
    verb_probability = word_length / (distance + word_length)  # that the next word is the verb
    grammar: dict[str, tuple[GrammarChoice, ...]] = {START: ()}
    for number, noun_ending, verb_ending in ((SINGULAR, "", "s"), (PLURAL, "s", "")):
        grammar[START] += tuple(
            GrammarChoice(
                text=f"The {noun}{noun_ending} ", probability=0.5 / len(NOUNS), next_state=number
            )
            for noun in NOUNS
        )
        between = tuple(
            GrammarChoice(
                text=word, probability=(1 - verb_probability) / len(words), next_state=number
            )
            for word in words
        )
        verbs = tuple(
            GrammarChoice(
                text=f"{verb}{verb_ending}.\n",
                probability=verb_probability / len(VERBS),
                next_state=START,
                agreeing_index=len(verb),
            )
            for verb in VERBS
        )
        grammar[number] = between + verbs
    return grammar


def expected_visits(grammar: Grammar) -> dict[str, float]:
    """Return the mean number of visits of each state in a sentence."""
    states = list(grammar)
    transitions = np.zeros((len(states), len(states)))
    for state, choices in grammar.items():
        for choice in choices:
            if choice.next_state != START:
                source, target = states.index(state), states.index(choice.next_state)
                transitions[target, source] += choice.probability
    initial = np.array([float(state == START) for state in states])
    visits = np.linalg.solve(np.eye(len(states)) - transitions, initial)
    return dict(zip(states, visits.tolist(), strict=True))


def sentence_entropy(grammar: Grammar) -> tuple[float, float]:
    """Return the entropy of a sentence in bits and its mean length in characters."""
    bits = length = 0.0
    for state, visits in expected_visits(grammar).items():
        bits -= visits * sum(
            choice.probability * math.log2(choice.probability) for choice in grammar[state]
        )
        length += visits * sum(choice.probability * len(choice.text) for choice in grammar[state])
    return bits, length


def sample_sentences(grammar: Grammar, characters: int, seed: int) -> str:
    """Return whole random sentences, at least `characters` long together."""
    generator = random.Random(seed)
    probabilities = {
        state: [choice.probability for choice in choices] for state, choices in grammar.items()
    }
    texts, length, state = [], 0, START
    while length < characters or state != START:
        (choice,) = generator.choices(grammar[state], probabilities[state])
        texts.append(choice.text)
        length += len(choice.text)
        state = choice.next_state
    return "".join(texts)


def optimal_bits(grammar: Grammar, text: str) -> Iterator[tuple[float, bool]]:
    """Iterate over the cost of whole sentences under the grammar itself.

    Yields:
        For each character: its bits, and whether it agrees with the subject.

    Raises:
        DataError: The text is not of this grammar.
    """
    prefix_probability: dict[str, dict[str, float]] = {}  # state -> prefix of a text -> total
    for state, choices in grammar.items():
        prefixes = prefix_probability[state] = {}
        for choice in choices:
            for end in range(len(choice.text) + 1):
                prefix = choice.text[:end]
                prefixes[prefix] = prefixes.get(prefix, 0.0) + choice.probability
    patterns = {
        state: re.compile("|".join(re.escape(choice.text) for choice in choices))
        for state, choices in grammar.items()
    }
    choice_of = {
        state: {choice.text: choice for choice in choices} for state, choices in grammar.items()
    }
    position, state = 0, START
    while position < len(text):
        match = patterns[state].match(text, position)
        if match is None:
            raise DataError(
                f"cannot parse {text[position : position + 20]!r} at character {position}: "
                "it is not of this grammar. Try the text that was written with it"
            )
        choice, prefixes = choice_of[state][match[0]], prefix_probability[state]
        for index in range(len(choice.text)):
            probability = prefixes[choice.text[: index + 1]] / prefixes[choice.text[:index]]
            yield -math.log2(probability), index == choice.agreeing_index
        position, state = match.end(), choice.next_state


def describe_grammar(
    grammar: dict[str, tuple[GrammarChoice, ...]], distance: float, seed: int
) -> AgreementRecord:
    """Return a grammar with its entropy; `distance` and `seed` are recorded as given."""
    bits, length = sentence_entropy(grammar)
    singular = sum(choice.probability for choice in grammar[START] if choice.next_state == SINGULAR)
    number_bits = -sum(share * math.log2(share) for share in (singular, 1 - singular))
    return AgreementRecord(
        distance=distance,
        seed=seed,
        bits_per_char=bits / length,
        bits_per_char_without_agreement=(bits + number_bits) / length,
        number_bits=number_bits,
        bits_per_sentence=bits,
        characters_per_sentence=length,
        grammar=grammar,
    )


def write_agreement_corpus(
    path: Path, distance: float, characters: int, seed: int
) -> AgreementRecord:
    """Write a corpus of whole sentences, and its record beside it with the suffix .json.

    Args:
        path: Text file.
        distance: Mean number of characters between subject and verb.
        characters: Least length of the text.
        seed: Seed of the random numbers.

    Raises:
        ConfigError: The distance is out of range.
    """
    record = describe_grammar(agreement_grammar(distance), distance, seed)
    files.write_atomic(path, sample_sentences(record.grammar, characters, seed).encode())
    files.write_atomic(path.with_suffix(".json"), encode_json(record))
    return record
