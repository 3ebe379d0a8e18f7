"""A corpus whose entropy is known: sentences in which the verb repeats the number of its subject,
however many words stand between.

    python scripts/grammar.py write corpus.txt --distance 50 --characters 2000000
    charlm train corpus.txt --cell lstm --run runs/grammar
    python scripts/grammar.py measure runs/grammar corpus.json

A grammar is states, and in each a choice of texts, none of which begins another: so a text says
which choices were made. Sentences are independent. Therefore the entropy of a character is that of
a sentence divided by its mean length, and both are sums over the choices that a sentence makes.
After each word between, the verb comes with the same probability: nothing but the number has to be
remembered for longer than a word. Who forgets it pays its entropy once a sentence, at the letter
that agrees.
"""

import argparse
import json
import math
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from charlm.data.corpus import reload_corpus
from charlm.evaluation.scoring import iter_token_nll
from charlm.runs.restore import load_model
from charlm.runs.run import Run
from charlm.storage import files

NOUNS = ("bird", "boy", "cat", "dog", "farmer", "girl", "king", "painter")
VERBS = ("laugh", "run", "sing", "sleep", "smile", "swim", "wait", "work")
BETWEEN = (
    *("a", "behind", "by", "garden", "green", "hill", "long", "near"),
    *("old", "quiet", "red", "river", "small", "stone", "the", "under"),
)
START = "start"
FARTHEST = 1_000_000  # characters


class Choice(NamedTuple):
    """One of the texts that can stand here."""

    text: str
    share: float  # of the times that the state is met
    next: str  # state
    agrees: int = -1  # which of its characters is decided by agreement


Grammar = dict[str, list[Choice]]


def agreement(distance: float) -> Grammar:
    """Subject and verb with about so many characters between them, in the mean."""
    if not 1 <= distance <= FARTHEST:
        raise SystemExit(f"--distance {distance:g}: from 1 to {FARTHEST:,} characters")
    words = [word + " " for word in BETWEEN]
    length = sum(map(len, words)) / len(words)
    last = length / (distance + length)  # how often the next word is the verb
    grammar: Grammar = {START: []}
    for number, noun_ending, verb_ending in (("one", "", "s"), ("many", "s", "")):
        for noun in NOUNS:
            text = f"The {noun}{noun_ending} "
            grammar[START].append(Choice(text, 0.5 / len(NOUNS), number))
        grammar[number] = [Choice(word, (1 - last) / len(words), number) for word in words]
        for verb in VERBS:
            text = f"{verb}{verb_ending}.\n"
            grammar[number].append(Choice(text, last / len(VERBS), START, len(verb)))
    return grammar


def visits(grammar: Grammar) -> dict[str, float]:
    """How often each state is met in a sentence, in the mean."""
    states = list(grammar)
    onward = np.zeros((len(states), len(states)))
    for state, choices in grammar.items():
        for choice in choices:
            if choice.next != START:
                onward[states.index(choice.next), states.index(state)] += choice.share
    once = np.array([float(state == START) for state in states])
    met = np.linalg.solve(np.eye(len(states)) - onward, once)
    return dict(zip(states, met.tolist(), strict=True))


def sentence(grammar: Grammar) -> tuple[float, float]:
    """The entropy of a sentence in bits, and its mean length in characters."""
    bits = length = 0.0
    for state, met in visits(grammar).items():
        bits -= met * sum(choice.share * math.log2(choice.share) for choice in grammar[state])
        length += met * sum(choice.share * len(choice.text) for choice in grammar[state])
    return bits, length


def text(grammar: Grammar, characters: int, seed: int) -> str:
    """Whole sentences, at least so many characters."""
    draw = random.Random(seed)
    shares = {state: [choice.share for choice in grammar[state]] for state in grammar}
    written, length, state = [], 0, START
    while length < characters or state != START:
        (choice,) = draw.choices(grammar[state], shares[state])
        written.append(choice.text)
        length += len(choice.text)
        state = choice.next
    return "".join(written)


def optimal(grammar: Grammar, read: str) -> Iterator[tuple[float, bool]]:
    """What each character of whole sentences costs who knows the grammar, in bits; and whether it
    is one that agrees."""
    beginnings: dict[str, dict[str, float]] = {}  # of a state's texts: how often it is met
    for state, choices in grammar.items():
        beginnings[state] = {}
        for choice in choices:
            for end in range(len(choice.text) + 1):
                begun = choice.text[:end]
                beginnings[state][begun] = beginnings[state].get(begun, 0.0) + choice.share
    found = {s: re.compile("|".join(re.escape(c.text) for c in grammar[s])) for s in grammar}
    made = {s: {choice.text: choice for choice in grammar[s]} for s in grammar}
    at, state = 0, START
    while at < len(read):
        match = found[state].match(read, at)
        if match is None:
            raise SystemExit(f"character {at} is not of this grammar: {read[at : at + 20]!r}")
        choice, met = made[state][match[0]], beginnings[state]
        for index in range(len(choice.text)):
            likely = met[choice.text[: index + 1]] / met[choice.text[:index]]
            yield -math.log2(likely), index == choice.agrees
        at, state = match.end(), choice.next


def facts(grammar: Grammar) -> dict[str, Any]:
    """All that is known of a corpus before it is written."""
    bits, length = sentence(grammar)
    number = sum(choice.share for choice in grammar[START] if choice.next == "one")
    forgotten = -sum(share * math.log2(share) for share in (number, 1 - number))
    return {
        "bits_per_char": bits / length,
        "bits_per_char_without_agreement": (bits + forgotten) / length,
        "bits_of_the_number": forgotten,
        "sentence": {"bits": bits, "characters": length},
    }


def write(path: Path, distance: float, characters: int, seed: int) -> dict[str, Any]:
    """The corpus, and beside it what is known of it, as .json."""
    grammar = agreement(distance)
    known = {"distance": distance, "seed": seed, **facts(grammar), "grammar": grammar}
    files.write_atomic(path, text(grammar, characters, seed).encode())
    files.write_atomic(path.with_suffix(".json"), json.dumps(known, indent=1).encode() + b"\n")
    return known


def measure(path: Path, known: dict[str, Any]) -> dict[str, Any]:
    """How far a run is from the optimum, on the whole sentences of its test split."""
    grammar = {state: [Choice(*c) for c in choices] for state, choices in known["grammar"].items()}
    run = Run(path)
    _, model = load_model(run, "best", "auto", "cpu", 1)
    corpus = reload_corpus(run.record.config, run.record.text)
    ids = corpus.split("test")
    read = "".join(chr(corpus.encoding.metadata.tokens[i]) for i in ids.tolist())
    begin, end = read.find("\n") + 1, read.rfind("\n") + 1
    if begin == end:
        raise SystemExit(f"{path}: its test split has no whole sentence: write a longer corpus")
    spent = torch.cat(list(iter_token_nll(model, ids[:, None], run.vocabulary)))[:, 0] / math.log(2)
    best, agrees = zip(*optimal(grammar, read[begin:end]), strict=True)
    over = spent[begin:end] - torch.tensor(best, dtype=torch.float64)
    agreeing = torch.tensor(agrees)
    return {
        "characters": end - begin,
        "bits_per_char": spent[begin:end].mean().item(),
        "optimum_here": math.fsum(best) / len(best),
        "optimum": known["bits_per_char"],
        "over": over.mean().item(),
        "over_by_agreement": over[agreeing].sum().item() / len(over),
        "bits_at_agreement": over[agreeing].mean().item(),
        "bits_of_the_number": known["bits_of_the_number"],
        "agreements": int(agreeing.sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write", help="a corpus, and what is known of it")
    writing.add_argument("corpus", type=Path)
    writing.add_argument("--distance", type=float, default=50.0, help="characters between, mean")
    writing.add_argument("--characters", type=int, default=2_000_000)
    writing.add_argument("--seed", type=int, default=0)
    measuring = commands.add_parser("measure", help="a run's distance to the optimum")
    measuring.add_argument("run", type=Path)
    measuring.add_argument("grammar", type=Path, help="the .json beside the corpus")
    asked = parser.parse_args()
    if asked.command == "write":
        told = write(asked.corpus, asked.distance, asked.characters, asked.seed)
        del told["grammar"]
    else:
        told = measure(asked.run, json.loads(asked.grammar.read_text()))
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
