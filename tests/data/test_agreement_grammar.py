"""Agreement grammar: its entropy against brute force and against its own predictions."""

import math
from itertools import pairwise
from pathlib import Path

import pytest

from charlm.data.agreement_grammar import (
    PLURAL,
    SINGULAR,
    START,
    Grammar,
    agreement_grammar,
    describe_grammar,
    optimal_bits,
    sample_sentences,
    sentence_entropy,
    write_agreement_corpus,
)
from charlm.errors import ConfigError, DataError
from charlm.results.text import AgreementRecord, GrammarChoice
from charlm.storage.json_files import decode_json


def choice(text: str, probability: float, next_state: str) -> GrammarChoice:
    return GrammarChoice(text=text, probability=probability, next_state=next_state)


def small_grammar() -> Grammar:
    """Two subjects, one of them more probable, any number of words between, two verbs."""
    verbs = {SINGULAR: ("is.", "has."), PLURAL: ("are.", "have.")}
    grammar = {START: [choice("I ", 0.7, SINGULAR), choice("We two ", 0.3, PLURAL)]}
    for number, (be, have) in verbs.items():
        grammar[number] = [choice("so ", 0.25, number), choice(be, 0.5, START)]
        grammar[number].append(choice(have, 0.25, START))
    return grammar


def all_sentences(grammar: Grammar, state: str, depth: int) -> list[tuple[str, float]]:
    """All ends of a sentence with at most `depth` choices, and their probabilities."""
    sentences = []
    for option in grammar[state]:
        ends = [("", 1.0)] if option.next_state == START else []
        if depth > 1 and option.next_state != START:
            ends = all_sentences(grammar, option.next_state, depth - 1)
        sentences += [(option.text + text, option.probability * share) for text, share in ends]
    return sentences


def test_sentence_entropy_equals_brute_force() -> None:
    sentences = all_sentences(small_grammar(), START, 30)
    assert len(dict(sentences)) == len(sentences)  # no sentence has two derivations
    assert math.fsum(share for _, share in sentences) == pytest.approx(1, abs=1e-12)
    bits = -math.fsum(share * math.log2(share) for _, share in sentences)
    length = math.fsum(share * len(text) for text, share in sentences)
    assert sentence_entropy(small_grammar()) == pytest.approx((bits, length), abs=1e-9)


def test_optimal_bits_equal_prefix_probabilities() -> None:
    grammar = small_grammar()
    sentences = all_sentences(grammar, START, 24)
    text = "We two so so have."
    mass = [
        math.fsum(share for sentence, share in sentences if sentence.startswith(text[:end]))
        for end in range(len(text) + 1)
    ]
    expected = [math.log2(before / after) for before, after in pairwise(mass)]
    bits = [cost for cost, _ in optimal_bits(grammar, text * 2)]
    assert bits == pytest.approx(expected * 2, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("distance", [10, 60])
def test_long_sample_has_the_entropy_rate_and_distance(distance: int) -> None:
    grammar = agreement_grammar(distance)
    text = sample_sentences(grammar, 300_000, 1)
    bits, is_agreeing = zip(*optimal_bits(grammar, text), strict=True)
    record = describe_grammar(grammar, distance, 1)
    assert math.fsum(bits) / len(bits) == pytest.approx(record.bits_per_char, rel=0.005)
    assert all(cost == 0 for cost, agrees in zip(bits, is_agreeing, strict=True) if agrees)
    sentences = text.splitlines()
    assert sum(is_agreeing) == len(sentences)
    between = [len(sentence.split(" ", 2)[2].rpartition(" ")[0]) for sentence in sentences]
    spaces = sum(length > 0 for length in between)  # the one before the verb
    assert (sum(between) + spaces) / len(sentences) == pytest.approx(distance, rel=0.05)
    for sentence in sentences:
        assert sentence.split()[1].endswith("s") != sentence.endswith("s.")


def test_forgetting_the_number_costs_its_entropy() -> None:
    """Score as a reader that weighs both numbers anew at each word."""
    grammar = agreement_grammar(20)
    text = sample_sentences(grammar, 200_000, 2)
    total = 0.0
    for line in text.splitlines(keepends=True):
        the, noun, rest = line.split(" ", 2)
        subject = f"{the} {noun} "
        total -= math.log2(next(c.probability for c in grammar[START] if c.text == subject))
        for word in rest.replace(" ", " |").split("|"):
            shares = [
                option.probability
                for state in (SINGULAR, PLURAL)
                for option in grammar[state]
                if option.text == word
            ]
            total -= math.log2(sum(shares) / 2)
    optimum = describe_grammar(grammar, 20, 2).bits_per_char_without_agreement
    assert total / len(text) == pytest.approx(optimum, rel=0.005)


@pytest.mark.parametrize("distance", [0.0, -5.0, math.nan, 1e300])
def test_impossible_distance_is_refused(distance: float, tmp_path: Path) -> None:
    message = r"--distance \S+\. Try 1 to 1,000,000 characters$"
    with pytest.raises(ConfigError, match=message):
        write_agreement_corpus(tmp_path / "corpus.txt", distance, 1000, 0)
    assert not list(tmp_path.iterdir())


def test_corpus_has_its_record_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "corpus.txt"
    record = write_agreement_corpus(path, 10, 2000, 0)
    data = (tmp_path / "corpus.json").read_bytes()
    assert decode_json(data, AgreementRecord, path) == record
    assert len(path.read_text()) >= 2000


def test_text_of_another_grammar_is_refused() -> None:
    with pytest.raises(DataError, match="cannot parse 'are.' at character 2"):
        list(optimal_bits(small_grammar(), "I are."))
