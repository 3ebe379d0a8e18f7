"""Odd values of options and odd configuration files, chosen at random from a seed."""

import random
from collections.abc import Callable

ODD = (
    *("", " ", "0", "-0", "-1", "1", "2", "3", "+7", "1_000", "0x10", "1e3", "-5", "007", "٣"),
    *("2147483648", "9223372036854775807", "9223372036854775808", "1" * 30, "9" * 400, "1048576"),
    *("nan", "inf", "-inf", "NaN", "Infinity", "1e308", "1e309", "-1e308", "1e-320", "0.5", "1/3"),
    *("-", "--", "-x", "--help", "---", "=", "a=b", ",", ",,", "a,b", "rnn,rnn", "1,2"),
    *(
        "true",
        "false",
        "none",
        "null",
        "auto",
        "all",
        "\\",
        "'",
        '"',
        "`id`",
        "$(id)",
        "%s%n",
        "{0}",
    ),
    *("lstm", "gru", "attention", "loop", "native", "compiled", "cpu", "cuda", "cuda:99", "mps"),
    *("cell.py:Cell", "cell.py:", ":", "a.py:b:c", "missing.py:Cell", "book.txt:Cell"),
    *("ünïcødé", "漢字", "\U0001f388", "\u202eabc", "\u200b", "\ufeff", "\udcff", "a\tb", "a\nb"),
    *("\x1b[31mred", "\x1b]52;c;eA==\a", "\x07", "\x85", "\x9b2J", "x" * 300, "x" * 5000),
    *("[bold]x[/bold]", "[/]", "<b>", "&amp;", "../x", "a/../b", "~", "./-x", "best", "last"),
)
PATHS = (
    *("missing", "missing/deep/er", "book.txt", "book.txt/x", "directory", "run", "run/run.json"),
    *("link", "dangling", "circle", "empty", "null", "a" * 300, "x/" * 100, "/dev/null/x", "."),
    *("binary", "run/checkpoints", "locked", "-x", "odd.toml", "/proc/self/nothing", "comparison"),
)
NOT_WAITING = ("fifo",)  # a person who names a FIFO as a text wants charlm to wait for it
KEYS = (
    *("cell", "hidden_size", "hidden-size", "num_layers", "max_steps", "learning_rate", "threads"),
    *("text", "run", "glob", "split_ratios", "seq_len", "batch_size", "dropout", "vocab", "device"),
    *("cells", "seeds", "jobs", "out", "match", "format", "config", "preset", "seed", "kernel"),
    *(
        "forget_bias",
        "block",
        "keep",
        "save_every",
        "min_char_frequency",
        "lr",
        "",
        "x",
        "__class__",
    ),
)


def odd_value(rng: random.Random, is_path: bool, may_wait: bool) -> str:
    """Return a value.

    Args:
        rng: Source of choices.
        is_path: Whether most values are paths.
        may_wait: Whether a FIFO may be among them, which some commands rightly wait for.
    """
    if rng.random() < (0.8 if is_path else 0.1):
        return rng.choice(PATHS + (() if may_wait else NOT_WAITING))
    if rng.random() < 0.1:
        return "".join(
            chr(rng.choice((rng.randrange(1, 256), rng.randrange(1, 0xD800)))) for _ in range(9)
        )
    return rng.choice(ODD)


def odd_toml(rng: random.Random) -> bytes:
    """Return the content of a configuration file: valid TOML with odd values, or damaged."""
    whole: tuple[Callable[[random.Random], bytes], ...] = (
        lambda _: b"",
        lambda r: r.randbytes(200),
        lambda _: b"\xef\xbb\xbfseq_len = 8\n",
        lambda _: b"a = " + b"[" * 5000 + b"]" * 5000,
        lambda _: b"a = " + b"{a = " * 2000 + b"1" + b"}" * 2000,
        lambda _: b"\n".join(b"[%s]" % (b".".join([b"a"] * n)) for n in range(1, 300)),
        lambda _: b"seq_len = 8\nseq_len = 9\n",
        lambda _: b"x = '''" + b"y" * 200_000 + b"'''\n",
        lambda _: b"seq_len = " + b"9" * 5000,
        lambda _: b"# " + b"\x1b[31m" * 20 + b"\nseq_len = 8\n",
        lambda _: b"k" * 5000 + b" = 1\n",
        lambda _: b'text = "\\u202e\\u001b[31m"\n',
        lambda _: b"[train]\nseq_len = 8\n[[x]]\n[[x]]\n",
    )
    if rng.random() < 0.35:
        return rng.choice(whole)(rng)
    lines = [f"{_toml_key(rng)} = {_toml_value(rng, 0)}" for _ in range(rng.randint(1, 4))]
    if rng.random() < 0.2:
        lines.insert(rng.randrange(len(lines) + 1), f"[{_toml_key(rng)}]")
    data = "\n".join(lines).encode("utf-8", "replace") + b"\n"
    if rng.random() < 0.15:
        place = rng.randrange(len(data))
        data = data[:place] + rng.randbytes(1) + data[place + 1 :]
    return data


def _toml_key(rng: random.Random) -> str:
    key = rng.choice(KEYS)
    return key if key and rng.random() < 0.9 else _toml_text(key)


def _toml_text(text: str) -> str:
    plain = "".join(c if c.isprintable() and c not in '"\\' else f"\\u{ord(c):04x}" for c in text)
    return f'"{plain}"'


def _toml_value(rng: random.Random, depth: int) -> str:
    kind = rng.randrange(8 if depth < 3 else 6)
    if kind < 2:
        return _toml_text(
            rng.choice([v for v in ODD + PATHS if max(map(ord, v), default=0) < 0xD800])
        )
    if kind == 2:
        numbers = (
            "0",
            "-1",
            "1",
            "8",
            "9223372036854775807",
            "99999999999999999999",
            "0xff",
            "0b1",
        )
        return rng.choice(numbers)
    if kind == 3:
        return rng.choice(("nan", "inf", "-inf", "1e308", "1e999", "0.0", "0.5", "-0.1", "1e-320"))
    if kind == 4:
        return rng.choice(("true", "false"))
    if kind == 5:
        return rng.choice(("1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "0000-00-00"))
    inner = [_toml_value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    if kind == 6:
        return f"[{', '.join(inner)}]"
    return "{" + ", ".join(f"k{i} = {value}" for i, value in enumerate(inner)) + "}"
