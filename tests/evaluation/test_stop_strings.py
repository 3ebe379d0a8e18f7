"""Stop strings in a stream: the first one ends it, and what may become one is held back."""

import random
import tracemalloc

import pytest

from charlm.evaluation.stop_strings import StopStrings


def feed(text: str, *stops: str, by_byte: bool = False) -> tuple[str, str | None, list[bytes]]:
    """Return the text up to a stop string, the string, and the pieces that were released."""
    strings, pieces = StopStrings(stops), []
    data = text.encode()
    units = [bytes([byte]) for byte in data] if by_byte else [c.encode() for c in text]
    for unit in units:
        pieces.append(strings.add(unit))
        if strings.found is not None:
            break
    else:
        pieces.append(strings.finish())
    return b"".join(pieces).decode(), strings.found, pieces


@pytest.mark.parametrize("by_byte", [False, True])
def test_text_ends_before_the_first_stop_string(by_byte: bool) -> None:
    for text, stops, kept, found in (
        ("one. two", (".",), "one", "."),
        ("one", (".",), "one", None),
        ("aaab", ("aab",), "a", "aab"),
        ("ababac", ("abac",), "ab", "abac"),
        ("xab", ("b", "ab"), "x", "ab"),  # both end here: the longer one
        ("xabc", ("abc", "b"), "xa", "b"),  # the one that ends first
        ("ab", ("abc",), "ab", None),  # held back, and released at the end
        ("caf\u00e9 \u6f22\u5b57", ("\u00e9 \u6f22",), "caf", "\u00e9 \u6f22"),
        ("one", (), "one", None),
    ):
        assert feed(text, *stops, by_byte=by_byte)[:2] == (kept, found)


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    _, _, pieces = feed("say ENough END!", "END")
    assert pieces == [
        b"s",
        b"a",
        b"y",
        b" ",
        b"",
        b"",
        b"ENo",
        *(b"u", b"g", b"h", b" "),
        *[b""] * 3,
    ]


def test_stop_strings_agree_with_a_search_in_the_whole_text() -> None:
    rng = random.Random(0)
    for _ in range(3000):
        text = "".join(rng.choices("ab", k=rng.randrange(12)))
        stops = ["".join(rng.choices("ab", k=rng.randint(1, 4))) for _ in range(rng.randint(1, 3))]
        ends = [(text.find(s) + len(s), text.find(s)) for s in stops if s in text]
        expected = text[: min(ends)[1]] if ends else text
        assert feed(text, *stops)[0] == expected, (text, stops)


def test_memory_is_linear_in_the_length_of_a_stop_string() -> None:
    """A list of all prefixes would take 200 MB."""
    stop = "ab" * 10_000 + "c"
    tracemalloc.start()
    streams = [StopStrings([stop]) for _ in range(10)]
    for stream in streams:
        assert stream.add(b"x") == b"x" and stream.add(b"a") == b""
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000
    assert feed("a" + stop + "z", stop)[:2] == ("a", stop)
