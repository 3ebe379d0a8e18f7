"""Tests of `charlm sample`: stop strings, JSON, novelty, interactive sessions."""

import json
import re
from pathlib import Path

import pytest
from conftest import charlm, command, on_terminal


@pytest.mark.slow
def test_stop_strings_and_allowed_characters_reach_the_output(trained: Path) -> None:
    words = ["sample", trained, "--length", 120, "--seed", 4]
    whole = charlm(*words).stdout.decode()
    stopped = charlm(*words, "--stop", "\n", "--stop", "zz")
    assert stopped.returncode == 78 and b"does not know 'z' (U+007A)" in stopped.stderr
    stopped = charlm(*words, "--stop", "\n", "--stop", whole[30:33])
    end = min(whole.index(stop) for stop in ("\n", whole[30:33]))
    assert stopped.stdout.decode() == whole[:end] and stopped.stderr == b""
    letters = charlm(*words, "--allow", "[:lower:]", "--min-p", 0.01).stdout.decode()
    assert re.fullmatch("[a-z]{120}", letters)


@pytest.mark.slow
def test_json_has_reasons_log_probabilities_and_overlaps(trained: Path, book: Path) -> None:
    words = ["sample", trained, "-n", 60, "--json", "--num-samples", 3, "--temperature", 0.5]
    words += ["--stop", ".", "--logprobs", 2, "--novelty"]
    done = charlm(*words)
    assert done.returncode == 0, done.stderr
    samples = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sample["sample"] for sample in samples] == [0, 1, 2]
    for sample in samples:
        assert ("." in sample["text"]) is False
        assert (sample["finish_reason"], sample["stop"]) in (("stop", "."), ("length", None))
        assert len(sample["logprobs"]) == sample["tokens"] == len(sample["text"])
        assert "".join(one["text"] for one in sample["logprobs"]) == sample["text"]
        assert all(one["logprob"] <= 0 and len(one["top"]) == 2 for one in sample["logprobs"])
        longest = sample["novelty"]["longest"]
        train = book.read_text()[: sample["novelty"]["train_tokens"]]
        assert train.index(longest["text"]) == longest["offset"]
        assert longest["file"] == book.name and len(longest["text"]) == longest["length"]
        lengths = [one["min_length"] for one in sample["novelty"]["covered"]]
        assert lengths == [20, 50]
    text = charlm(*(word for word in words if word not in ("--json", "--logprobs", 2)))
    lines = text.stdout.decode().splitlines()
    assert sum(line.startswith("longest overlap with the training text: ") for line in lines) == 3
    assert any(line.startswith(f"  in {book.name}, line ") for line in lines)


def test_notes_name_options_that_do_not_do_what_they_seem_to(trained: Path) -> None:
    done = charlm("sample", trained, "-n", 3, "--temperature", 0, "--num-samples", 2)
    assert done.stdout.splitlines()[0] == done.stdout.splitlines()[1]
    assert b"all 2 samples are the same" in done.stderr


@pytest.mark.slow
def test_session_reads_lines_and_commands_from_a_pipe(trained: Path) -> None:
    words = ["sample", trained, "-n", 20, "--seed", 3]
    first = charlm(*words, "-p", "The \u00e9").stdout.decode()
    lines = "The \u00e9\n/reset\n/length 5\n/temperature 0\nThe \n/length -1\n/size\n//x\n/help\n"
    done = charlm(*words, "--interactive", input=lines.encode())
    assert done.returncode == 0
    shown = done.stdout.decode()
    greedy = charlm(*words[:2], "-n", 5, "--temperature", 0, "-p", "The ").stdout.decode()
    assert shown.startswith(first.removeprefix("The \u00e9") + "\n" + greedy[4:] + "\n")
    messages = done.stderr.decode()
    assert "goes on with what you type" in messages and "\u00e9 (U+00E9)" in messages
    assert "charlm: cannot generate -1 tokens" in messages
    assert "charlm: no such command: /size. Try /help" in messages
    assert "/temperature T  divide the logits by T (now 0)" in messages
    assert "/ (U+002F)" in messages  # //x is a text


def test_session_on_a_terminal_ends_with_the_input(trained: Path) -> None:
    words = ["bash", "-c", f"{' '.join(command('sample', trained, '-n', 5, '-i'))} </dev/null"]
    shown, code = on_terminal(words)
    assert code == 0 and shown.startswith("The model goes on")


def test_kernel_is_the_one_that_wrote_the_text(trained: Path) -> None:
    note = b"note: the text is written by kernel loop: "
    texts = set()
    for kernel, message in (("compiled", b""), ("loop", note)):
        done = charlm("sample", trained, "--length", 20, "--kernel", kernel, "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert (
            result["kernel"] == kernel
            and done.stderr.startswith(message)
            and (bool(done.stderr) == bool(message))
        )
        texts.add(result["text"])
    assert len(texts) == 1
