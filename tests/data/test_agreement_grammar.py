"""The grammar of known entropy: against brute force, and against its own predictions."""

import json
import math
import sys
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import charlm

SCRIPT = Path(__file__).parent.parent / "scripts" / "grammar.py"


@pytest.fixture(scope="module")
def grammar() -> ModuleType:
    spec = spec_from_file_location("grammar", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["grammar"] = module
    spec.loader.exec_module(module)
    return module


def small(grammar: ModuleType) -> Any:
    """Two subjects, one of them likelier, one word between or none, two verbs."""
    choice = grammar.Choice
    verbs = {"one": ("is.", "has."), "many": ("are.", "have.")}
    made = {"initial_state": [choice("I ", 0.7, "one"), choice("We two ", 0.3, "many")]}
    for number, (be, have) in verbs.items():
        made[number] = [choice("so ", 0.25, number), choice(be, 0.5, "start")]
        made[number].append(choice(have, 0.25, "start"))
    return made


def every(made: Any, state: str, deep: int) -> list[tuple[str, float]]:
    """All ends of a sentence from here on of at most so many choices, and their probabilities."""
    found = []
    for choice in made[state]:
        rest = [("", 1.0)] if choice.next == "start" else []
        if deep > 1 and choice.next != "initial_state":
            rest = every(made, choice.next, deep - 1)
        found += [(choice.text + text, choice.share * share) for text, share in rest]
    return found


def test_the_entropy_of_a_sentence_is_that_of_all_sentences_counted_one_by_one(
    grammar: ModuleType,
) -> None:
    sentences = every(small(grammar), "start", 30)
    assert len(dict(sentences)) == len(sentences)  # no sentence is made in two ways
    assert math.fsum(share for _, share in sentences) == pytest.approx(1, abs=1e-12)
    bits = -math.fsum(share * math.log2(share) for _, share in sentences)
    length = math.fsum(share * len(text) for text, share in sentences)
    assert grammar.sentence(small(grammar)) == pytest.approx((bits, length), abs=1e-9)


def test_a_characters_cost_is_its_probability_among_all_sentences_that_begin_so(
    grammar: ModuleType,
) -> None:
    made = small(grammar)
    sentences = every(made, "start", 24)
    text = "We two so so have."
    mass = [
        math.fsum(share for one, share in sentences if one.startswith(text[:end]))
        for end in range(len(text) + 1)
    ]
    brute = [math.log2(before / after) for before, after in pairwise(mass)]
    costs = [bits for bits, _ in grammar.optimal(made, text * 2)]
    assert costs == pytest.approx(brute * 2, abs=1e-9)


@pytest.mark.parametrize("distance", [10, 60])
def test_a_long_sample_costs_the_entropy_rate_and_agrees_at_the_distance(
    grammar: ModuleType, distance: int
) -> None:
    made = grammar.agreement(distance)
    text = grammar.text(made, 300_000, 1)
    bits, agrees = zip(*grammar.optimal(made, text), strict=True)
    known = grammar.facts(made)
    assert math.fsum(bits) / len(bits) == pytest.approx(known["bits_per_char"], rel=0.005)
    assert all(cost == 0 for cost, here in zip(bits, agrees, strict=True) if here)
    sentences = text.splitlines()
    assert sum(agrees) == len(sentences)
    between = [len(one.split(" ", 2)[2].rpartition(" ")[0]) for one in sentences]
    spaces = sum(length > 0 for length in between)  # the one before the verb
    assert (sum(between) + spaces) / len(sentences) == pytest.approx(distance, rel=0.05)
    for one in sentences:
        assert one.split()[1].endswith("s") != one.endswith("s.")


def test_who_forgets_the_number_pays_what_is_said(grammar: ModuleType) -> None:
    """One who weighs both numbers anew at each word: half of the texts of each."""
    made = grammar.agreement(20)
    text = grammar.text(made, 200_000, 2)
    total = 0.0
    for line in text.splitlines(keepends=True):
        the, noun, rest = line.split(" ", 2)
        subject = f"{the} {noun} "
        total -= math.log2(next(c.share for c in made["initial_state"] if c.text == subject))
        for word in rest.replace(" ", " |").split("|"):
            shares = [c.share for state in ("one", "many") for c in made[state] if c.text == word]
            total -= math.log2(sum(shares) / 2)
    known = grammar.facts(made)["bits_per_char_without_agreement"]
    assert total / len(text) == pytest.approx(known, rel=0.005)


@pytest.mark.parametrize("distance", ["0", "-5", "nan", "1e300"])
def test_a_distance_that_no_grammar_has_is_refused_in_a_line(
    grammar: ModuleType, distance: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["grammar.py", "write", str(tmp_path / "corpus.txt"), "--distance", distance]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match=r"^--distance \S+: from 1 to 1,000,000 characters$"):
        grammar.main()
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_whole_sentence_to_test_is_refused_in_a_line(
    grammar: ModuleType, tmp_path: Path
) -> None:
    known = grammar.write(tmp_path / "corpus.txt", 60, 2_000, 0)
    words = [
        "--hidden-size",
        8,
        "--batch-size",
        2,
        "--seq-len",
        8,
        "--max-steps",
        1,
        "--split-ratios",
        "98/1/1",
    ]
    done = charlm("train", tmp_path / "corpus.txt", *words, "--run", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    with pytest.raises(SystemExit, match="^.*run: its test split has no whole sentence"):
        grammar.measure(tmp_path / "run", known)


def test_a_run_is_measured_against_the_optimum(grammar: ModuleType, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    written = grammar.write(corpus, 10, 60_000, 0)
    kept = json.loads((tmp_path / "corpus.json").read_text())
    words = [
        "--hidden-size",
        32,
        "--embedding-dim",
        8,
        "--batch-size",
        8,
        "--seq-len",
        64,
        "--max-steps",
        150,
    ]
    done = charlm("train", corpus, *words, "--lr", 0.02, "--run", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    scored = json.loads(done.stdout)["score"]["bits_per_char"]
    found = grammar.measure(tmp_path / "run", kept)
    assert found["bits_per_char"] == pytest.approx(scored, rel=0.02)  # of whole sentences only
    assert found["over"] == pytest.approx(found["bits_per_char"] - found["optimum_here"])
    assert found["optimum"] == written["bits_per_char"]
    assert 0 < found["over_by_agreement"] < found["over"]
    each = found["over_by_agreement"] * found["characters"] / found["agreements"]
    assert found["bits_at_agreement"] == pytest.approx(each)
    # It has learnt words, of which the letters before and after cost next to nothing; no number.
    assert 0.7 < found["bits_at_agreement"] < 2.5
