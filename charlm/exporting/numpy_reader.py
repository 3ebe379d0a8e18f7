"""Character language model that charlm exported: reads and writes text with numpy alone.

    python char_lm.py "The " --length 200         write on from a prompt
    python char_lm.py --score book.txt            bits per character of a text

    from char_lm import CharLM
    model = CharLM()                              # or CharLM(folder, dtype="float64")
    model.logits("a text")                        # (7, vocabulary size)
    model.bits("a text")                          # cost of each character
    model.sample("The ", 200, temperature=0.8)

It needs Python 3.10 or newer, numpy, and the files graph.json, model.safetensors, vocabulary.json
and config.json beside it. The graph is a list of operations on arrays: make_function below has
everything that a file can ask for, and no code of a file is ever executed.
"""

import argparse
import codecs
import hashlib
import json
import math
import random
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray
Function = Callable[..., Array]
FORMAT = 1
UNKNOWN_BITS = math.log2(0x110000)  # to name an unknown character among all of Unicode
HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")  # categories of characters not shown on a terminal
SAFETENSORS_DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "I32": "<i4", "BOOL": "?"}
OS_REASONS = {FileNotFoundError: "there is no such file", IsADirectoryError: "it is a directory"}
MODEL_ERRORS = (  # what a file that charlm did not write may cause
    *(ValueError, KeyError, TypeError, IndexError, AttributeError, ArithmeticError),
    *(RecursionError, MemoryError),
)
MAX_NUMBERS = 2**28  # of a result; far more than any that charlm exports
EXIT_CODES = "Exit codes: 2 wrong option, 65 bad model or text, 66 file that cannot be read."
OPTIONS = {
    "length": (200, "tokens to write"),
    "temperature": (1.0, "divides the logits; 0: the most probable token"),
    "top-k": (0, "choose from the k most probable tokens; 0: from all"),
    "top-p": (1.0, "choose from the fewest tokens with this probability"),
    "seed": (0, "seed of the random numbers"),
}
SAME_NAME = "abs sign floor exp expm1 log log1p sqrt sin cos tanh add maximum minimum remainder"
OTHER_NAME = {
    "neg": "negative", "sub": "subtract", "mul": "multiply", "div": "divide", "pow": "power",
    "gt": "greater", "ge": "greater_equal", "lt": "less", "le": "less_equal", "eq": "equal",
    "ne": "not_equal", "and": "logical_and", "or": "logical_or", "not": "logical_not",
}  # fmt: skip
FUNCTIONS: dict[str, Function] = {
    **{name: getattr(np, name) for name in (*SAME_NAME.split(), "where", "matmul")},
    **{name: getattr(np, other) for name, other in OTHER_NAME.items()},
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "logsigmoid": lambda x: -np.logaddexp(0, -x),
    "erf": lambda x: np.vectorize(math.erf, otypes=[x.dtype])(x),
}


def softmax(x: Array, axis: int) -> Array:
    """Return exp(x), divided by its sum along an axis."""
    weights = np.exp(x - x.max(axis, keepdims=True))
    return weights / weights.sum(axis, keepdims=True)


def make_function(o: dict[str, Any], dtype: Any) -> Function:
    """Return the function of an operation, or raise KeyError; dtype is that of its result."""
    op, shape, axes = o["op"], o.get("shape", []), tuple(o.get("axes", []))
    if op in FUNCTIONS:
        return FUNCTIONS[op]
    if op == "constant":
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.array([float(value) for value in o["values"]]).astype(dtype)
        array = np.broadcast_to(numbers[0], shape) if len(numbers) == 1 else numbers.reshape(shape)
        return lambda: array
    if op in ("sum", "mean", "max", "min"):
        return lambda x: getattr(x, op)(axis=axes, keepdims=True)
    start = o.get("start", 0)
    part = (slice(None),) * axes[0] + (slice(start, start + shape[axes[0]]),) if axes else ()
    functions: dict[str, Function] = {
        "reshape": lambda x: x.reshape(shape),
        "transpose": lambda x: x.transpose(axes),
        "broadcast": lambda x: np.broadcast_to(x, shape),
        "slice": lambda x: x[part],
        "concat": lambda *parts: np.concatenate(parts, axis=axes[0]),
        "take": lambda table, at: np.take(table, at, axis=axes[0]),
        "cumsum": lambda x: x.cumsum(axis=axes[0]),
        "softmax": lambda x: softmax(x, axes[0]),
        "cast": lambda x: x.astype(dtype),
    }
    return functions[op]


def finite(logits: Array) -> Array:
    """Return logits, or raise ValueError if the largest is not finite, as in `charlm sample`."""
    if not np.isfinite(logits.max()):
        raise ValueError("it predicts logits that are not finite")
    return logits


def read_safetensors(data: bytes) -> dict[str, Array]:
    """Return the arrays of a safetensors file, by name."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        numbers = np.frombuffer(data[end + first : end + last], SAFETENSORS_DTYPES[entry["dtype"]])
        arrays[name] = numbers.reshape(entry["shape"])
    return arrays


def read_regular_file(path: Path) -> bytes:
    """Return the content of a file; a pipe or a device, which may never end, is refused."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError(f"{path.name} is no regular file")
    return path.read_bytes()


class Program:
    """Operations whose results are kept by name in `values`."""

    def __init__(self, operations: list[dict[str, Any]], dtypes: dict[str, Any]) -> None:
        self.plan: list[tuple[Function, list[Any], str]] = []
        for o in operations:
            function = make_function(o, dtypes[o.get("kind", "float")])
            self.plan.append((function, o.get("inputs", []), o["output"]))
        self.numbers = {x: x for _, inputs, _ in self.plan for x in inputs if isinstance(x, float)}

    def run(self, values: dict[Any, Array]) -> None:
        """Compute all results from what is in `values`."""
        with np.errstate(all="ignore"):  # exp(-x) may overflow: sigmoid is 0 then
            for function, inputs, output in self.plan:
                result = values[output] = function(*[values[name] for name in inputs])
                if result.size > MAX_NUMBERS:
                    raise ValueError(f"{output} would have {result.size:,} numbers")


class CharLM:
    """Exported character language model. The last logit is of unknown characters, if any are."""

    def __init__(self, folder: str | Path = Path(__file__).parent, dtype: str = "float32") -> None:
        """Read an exported folder, and verify the weights; "float64" is for a reference."""
        names = ("config.json", "graph.json", "vocabulary.json", "model.safetensors")
        files = {name: read_regular_file(Path(folder) / name) for name in names}
        graph, config = json.loads(files["graph.json"]), json.loads(files["config.json"])
        if graph["format"] != FORMAT:
            raise ValueError(f"graph.json has format {graph['format']}, not {FORMAT}")
        if hashlib.sha256(files["model.safetensors"]).hexdigest() != config["weights_sha256"]:
            raise ValueError("model.safetensors is damaged, or belongs to another config.json")
        vocabulary = json.loads(files["vocabulary.json"])
        self.is_bytes, self.tokens = vocabulary["kind"] == "bytes", vocabulary["tokens"]
        self.unknown_id = None if self.is_bytes else len(self.tokens)
        self.id_of = {chr(token): number for number, token in enumerate(self.tokens)}
        dtypes = {"float": np.dtype(dtype), "int": np.dtype("int64"), "bool": np.dtype("bool")}
        with np.errstate(over="ignore"):  # of numbers that are too large for the dtype
            self.values: dict[Any, Array] = {
                name: array.astype(dtype) if array.dtype.kind == "f" else array
                for name, array in read_safetensors(files["model.safetensors"]).items()
            }
        start = Program(graph["start"]["operations"], dtypes)
        values = {**self.values, **start.numbers}
        start.run(values)
        logits, *state = (values[name] for name in graph["start"]["outputs"])
        self.first = logits[0], state
        self.state_names = [state["name"] for state in graph["states"]]
        self.outputs = graph["step"]["outputs"]
        self.cache: dict[int, dict[str, Array]] = {}  # token -> what depends on it alone
        # What depends on weights alone is computed here, and what depends on the token alone once.
        level = {"token": 1, **dict.fromkeys(self.state_names, 2)}
        parts: list[list[dict[str, Any]]] = [[], [], []]
        for o in graph["step"]["operations"]:
            level[o["output"]] = max((level.get(x, 0) for x in o.get("inputs", [])), default=0)
            parts[level[o["output"]]].append(o)
        fixed, self.by_token, self.by_state = (Program(part, dtypes) for part in parts)
        for program in (fixed, self.by_token, self.by_state):
            self.values.update(program.numbers)
        fixed.run(self.values)

    def step(self, token: int, state: list[Array]) -> tuple[Array, list[Array]]:
        """Read a token; return the logits of the next one and the new state."""
        if token not in self.cache:
            self.values["token"] = np.array([token])
            self.by_token.run(self.values)
            self.cache[token] = {name: self.values[name] for _, _, name in self.by_token.plan}
        self.values.update(self.cache[token])
        self.values.update(zip(self.state_names, state))  # noqa: B905 (Python 3.10)
        self.by_state.run(self.values)
        logits, *state = (self.values[name] for name in self.outputs)
        return logits[0], state

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; an unknown character gets the unknown token."""
        if self.is_bytes:
            return list(text.encode("utf-8", "surrogateescape"))
        return [self.id_of.get(character, len(self.tokens)) for character in text]

    def read(self, ids: list[int]) -> Iterator[tuple[Array, list[Array]]]:
        """Yield logits and state before each id, and at last those after all."""
        logits, state = self.first
        for token in ids:
            yield logits, state
            logits, state = self.step(token, state)
        yield logits, state

    def logits(self, text: str) -> Array:
        """Return logits (length + 1, vocabulary size): row i predicts token i of the text."""
        return self.logits_of_ids(self.encode(text))

    def logits_of_ids(self, ids: list[int]) -> Array:
        """Return logits (length + 1, vocabulary size) of ids."""
        return np.stack([logits for logits, _ in self.read(ids)])

    def bits(self, text: str) -> Array:
        """Return the cost of each token of a text in bits, (length,), as one stream."""
        costs = []
        for token, (logits, _) in zip(ids := self.encode(text), self.read(ids)):  # noqa: B905
            scores = finite(logits).astype(np.float64) - logits.max()
            bits = (math.log(np.exp(scores).sum()) - scores[token]) / math.log(2)
            costs.append(bits + (UNKNOWN_BITS if token == self.unknown_id else 0))
        return np.array(costs)

    def sample(self, prompt: str = "", length: int = 200, **options: Any) -> str:
        """Return the text that follows a prompt; the options are those of `iter_sample`."""
        return b"".join(self.iter_sample(prompt, length, **options)).decode("utf-8", "replace")

    def iter_sample(
        self, prompt: str, length: int, *, temperature: float = 1, top_k: int = 0,
        top_p: float = 1, seed: int = 0,
    ) -> Iterator[bytes]:  # fmt: skip
        """Yield the tokens after a prompt, the same as `charlm sample`; OPTIONS explains each."""
        draw = random_numbers(seed)
        for last in self.read(self.encode(prompt)):
            logits, state = last
        for _ in range(length):
            scores = finite(logits).astype(np.float64)
            if self.unknown_id is not None:
                scores[self.unknown_id] = -np.inf
            token = choose(scores, temperature, top_k, top_p, draw)
            yield bytes([token]) if self.is_bytes else chr(self.tokens[token]).encode()
            logits, state = self.step(token, state)


def choose(
    scores: Array, temperature: float, top_k: int, top_p: float, draw: Callable[[], float]
) -> int:
    """Return a token that is drawn from logits, (vocabulary size,)."""
    if temperature == 0:
        return int(scores.argmax())
    with np.errstate(over="ignore"):  # by a tiny temperature: the weight is 0 then
        weights = np.exp((scores - scores.max()) / temperature)
    if 0 < top_k < len(weights):
        weights[weights < np.partition(weights, -top_k)[-top_k]] = 0
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        shares = weights[order] / weights.sum()
        is_excess = np.cumsum(shares) - shares >= top_p
        is_excess[0] = False
        weights[order[is_excess]] = 0
    totals = np.cumsum(weights)
    token = int(np.searchsorted(totals, draw() * totals[-1], side="right"))
    return token if token < len(totals) else int(weights.nonzero()[0][-1])


def random_numbers(seed: int) -> Callable[[], float]:
    """Return a function that draws the numbers of charlm's first sample with this seed.

    They are those of PyTorch's generator: a Mersenne Twister, of which two words make a number.
    """
    digest = hashlib.sha256(f"{seed}/sample/0".encode()).digest()
    words = [(int.from_bytes(digest[:8], "big") >> 1) & 0xFFFFFFFF]
    for number in range(1, 624):
        words.append((1812433253 * (words[-1] ^ (words[-1] >> 30)) + number) & 0xFFFFFFFF)
    twister = random.Random()
    twister.setstate((3, (*words, 624), None))

    def draw() -> float:
        high, low = twister.getrandbits(32), twister.getrandbits(32)
        return float(((high << 32 | low) & (1 << 53) - 1) * 2.0**-53)

    return draw


def visible(text: str) -> str:
    """Return a text with control and formatting characters written out, for a terminal."""
    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in HIDDEN else repr(c)[1:-1] for c in text
    )


def read_or_exit(name: str, read: Callable[[], Any]) -> Any:
    """Return what `read` returns, or end with one line about what cannot be read."""
    try:
        return read()
    except OSError as error:
        code, reason = 66, OS_REASONS.get(type(error), str(error.strerror))
        if name == "the model" and error.filename:
            name += f"'s {Path(error.filename).name}"
    except UnicodeDecodeError:
        code, reason = 65, "it is not UTF-8"
    except MODEL_ERRORS as error:
        code, reason = 65, f"{type(error).__name__}: {error}"
    sys.stderr.write(visible(f"cannot read {name}: {reason}\n"))
    sys.exit(code)


def main() -> None:
    """Write on from a prompt, or score a text."""
    for name in {"SIGPIPE", "SIGINT"} & set(dir(signal)):  # end without a traceback
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], epilog=EXIT_CODES)
    parser.add_argument("prompt", nargs="?", default="", help="text to begin with")
    parser.add_argument("--score", metavar="FILE", help="print bits per character of a text")
    for name, (default, text) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=text)
    options = vars(parser.parse_args())
    score, prompt = options.pop("score"), options.pop("prompt")
    for name, value in options.items():
        if name != "seed" and not value >= 0:  # nor NaN
            parser.error(f"argument --{name.replace('_', '-')}: {value} is not 0 or more")
    model = read_or_exit("the model", CharLM)
    if score is not None:
        text = read_or_exit(score, lambda: Path(score).read_bytes().decode())
        if not text:
            sys.stderr.write(visible(f"cannot score {score}: it is empty\n"))
            sys.exit(65)
        bits = read_or_exit("the model", lambda: finite(model.bits(text)).sum() / len(text))
        sys.stdout.write(f"{bits:.4f} bits/char of {len(text):,} characters\n")
        return
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    first = prompt.encode("utf-8", "surrogateescape")
    end = b"\n" if (is_terminal := sys.stdout.isatty()) else b""
    sample = model.iter_sample(prompt, **options)
    tokens = iter(lambda: read_or_exit("the model", lambda: next(sample, None)), None)
    for piece in chain((first,), tokens, (end,)):
        shown = visible(decoder.decode(piece)).encode() if is_terminal else piece
        sys.stdout.buffer.write(shown)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
