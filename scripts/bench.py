"""Speed, in pairs in one process, one thread, CPU seconds, medians.

    python scripts/bench.py [--pairs 9] [--only train,zoo,scan,write,score,extras,linear,help]

train   what everybody does (nn.Embedding, nn.RNN/GRU/LSTM, nn.Linear, cross_entropy, backward,
        clip, Adam) against our update; floor: the matrix products alone, at the rate of this run
zoo     every cell at the LSTM's parameters: its time against the LSTM's, and against the loop that
        its paper shows (each character by itself, under autograd)
scan    cells that are linear in their state, 1,024 characters at once, against their loop
write   one stream, character by character: nn's module against ours
score   exact evaluation of one stream: PyTorch's own sequence kernel against ours
extras  what progress, logging and checkpoints cost a run
linear  seconds for each character as windows, texts and updates grow
help    how long --help and an error take
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from charlm.cells.base import CELLS, Cell, State
from charlm.comparison.budget_matching import SizeSearch
from charlm.config import Config, validate_config
from charlm.data.batches import BatchSampler
from charlm.data.corpus import load_corpus
from charlm.data.vocabulary import Vocabulary
from charlm.evaluation.generation import iter_generated
from charlm.evaluation.scoring import iter_token_nll, validation_bpc
from charlm.execution.device import disable_malloc_trim
from charlm.kernels.registry import Unroll, get_kernel, supported_kernels
from charlm.models.build import build_char_lm
from charlm.models.char_lm import CharLM
from charlm.reporting.terminal import progress
from charlm.training.loop import train
from charlm.training.session import create_run
from charlm.training.trainer import Trainer

pass

SYMBOLS = 65
Step = Callable[[], object]
THEIRS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
SHAPES = {  # layers, hidden, batch, time
    "a": (2, 128, 50, 50),
    "b": (1, 512, 64, 128),
    "c": (3, 512, 64, 128),
}


def seconds(run: Step) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def median(run: Step, times: int) -> float:
    run()
    return statistics.median(seconds(run) for _ in range(times))


def paired(first: Step, second: Step, pairs: int) -> tuple[float, float, float]:
    """Medians: seconds of the first, of the second, and of the ratio first / second, A B A B …"""
    first(), second()
    both = [(seconds(first), seconds(second)) for _ in range(pairs)]
    ratios = [a / b for a, b in both]
    columns = (statistics.median(column) for column in zip(*both, strict=True))
    return *columns, statistics.median(ratios)


def some_ids(length: int = 400_000) -> np.ndarray:
    return np.random.default_rng(0).integers(0, SYMBOLS, length, dtype=np.uint8)


def plain(cell: str, layers: int, hidden: int, batch: int, length: int) -> Step:
    """One training step of the loop that every tutorial has."""
    embed, recur = nn.Embedding(SYMBOLS, hidden), THEIRS[cell](hidden, hidden, layers)
    head = nn.Linear(hidden, SYMBOLS)
    parameters = [p for module in (embed, recur, head) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    batches = BatchSampler(some_ids(), batch, length, 0)
    state, update = None, 0

    def step() -> None:
        nonlocal state, update
        read = batches[update]
        update += 1
        optimizer.zero_grad()
        h, after = recur(embed(read.x), None if read.is_epoch_start else state)
        state = tuple(s.detach() for s in after) if cell == "lstm" else after.detach()
        cross_entropy(head(h).flatten(0, 1), read.y.flatten()).backward()
        clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def settings(cell: str, layers: int, hidden: int, batch: int, length: int) -> Config:
    shape = {"num_layers": layers, "hidden_size": hidden, "embedding_dim": hidden}
    return validate_config({"cell": cell, **shape, "batch_size": batch, "seq_len": length})


def best(cell: str, inputs: int, hidden: int) -> str:
    """The kernel that `auto` stands for on this machine."""
    return supported_kernels(CELLS[cell](inputs, hidden), "cpu")[0]


def ours(config: Config, kernel: str, unroll: Unroll | None = None) -> Step:
    """One of our updates; its layers walked by `unroll` where there is one."""
    model = build_char_lm(config, SYMBOLS, kernel, "cpu")
    if unroll:
        model.unrolls = [unroll] * config.num_layers
    learner = Trainer(model, config, 10**6)
    batches = BatchSampler(some_ids(), config.batch_size, config.seq_len, 0)
    return lambda: learner.train_step(batches[learner.step])


def floor(cell: str, layers: int, hidden: int, batch: int, length: int) -> float:
    """Seconds of a training step's matrix products alone; the first layer's input is looked up."""
    gates = {"rnn": 1, "gru": 3, "lstm": 4}[cell] * hidden
    U, h, d = torch.randn(gates, hidden), torch.randn(batch, hidden), torch.randn(batch, gates)
    H, D = torch.randn(length * batch, hidden), torch.randn(length * batch, gates)
    V, S = torch.randn(SYMBOLS, hidden), torch.randn(length * batch, SYMBOLS)
    out, back = torch.empty(batch, gates), torch.empty(batch, hidden)
    each = median(lambda: torch.mm(h, U.t(), out=out), 51)
    each += median(lambda: torch.mm(d, U, out=back), 51)
    learnt = median(lambda: D.t() @ H, 5)
    through = median(lambda: H @ U.t(), 5) + median(lambda: D @ U, 5)
    head = sum(median(run, 5) for run in (lambda: H @ V.t(), lambda: S @ V, lambda: S.t() @ H))
    return layers * (length * each + learnt) + (layers - 1) * (learnt + through) + head


def training(pairs: int, shapes: dict[str, tuple[int, int, int, int]]) -> Iterator[str]:
    yield "training step           plain ms   ours ms   plain/ours   ours/floor"
    for name, shape in shapes.items():
        for cell in THEIRS:
            lowest = floor(cell, *shape)
            config = settings(cell, *shape)
            # The best kernel, and the best without a compiler.
            for kernel in dict.fromkeys((best(cell, shape[1], shape[1]), "fused")):
                times = pairs if name == "a" else max(3, pairs // 3)
                a, b, ratio = paired(plain(cell, *shape), ours(config, kernel), times)
                row = f"{a * 1e3:9.0f} {b * 1e3:9.0f} {ratio:12.2f} {b / lowest:12.2f}"
                yield f"{name} {cell:<5} {kernel:<10}     {row}"


def textbook(
    cell: Cell, x: Tensor, state: State, ids: Tensor | None = None
) -> tuple[Tensor, State]:
    """The loop of a paper: each character is embedded, projected and stepped by itself."""
    outputs = []
    for now in x if ids is None else nn.functional.embedding(ids, x):
        state = cell.step(cell.project_inputs(now), state)
        outputs.append(state[0])
    return torch.stack(outputs), state


def zoo(pairs: int, parameters: int, batch: int, length: int) -> Iterator[str]:
    yield f"zoo, {parameters:,} parameters, {batch} × {length}"
    yield "                 hidden kernel     µs/char   of lstm's   textbook loop/ours"
    shape = {"embedding_dim": 32, "batch_size": batch, "seq_len": length}
    of_lstm = None
    for cell in ("lstm", *(name for name in CELLS if name != "lstm")):
        config = validate_config({"cell": cell, **shape})
        sizes = SizeSearch(config, SYMBOLS, "parameters", CharLM)
        config = msgspec.structs.replace(config, hidden_size=sizes.nearest(parameters))
        kernel = best(cell, 32, config.hidden_size)
        _, b, ratio = paired(ours(config, "loop", textbook), ours(config, kernel), pairs)
        of_lstm = of_lstm or b
        row = f"{b * 1e6 / batch / length:9.2f} {b / of_lstm:11.2f} {ratio:15.2f}"
        yield f"  {cell:<17}{config.hidden_size:4} {kernel:<9} {row}"


def walker(cell: Cell, kernel: str, x: Tensor) -> Step:
    """There and back once."""
    unroll = get_kernel(kernel, cell, "cpu")

    def walk() -> None:
        outputs, _ = unroll(cell, x, cell.initial_state(x.shape[1]), None)
        outputs.sum().backward()

    return walk


def scans(pairs: int, batch: int, hidden: int, length: int) -> Iterator[str]:
    yield f"linear cells, {length:,} characters at once, {batch} streams, {hidden} units"
    yield "                 kernel       loop ms   ours ms   loop/ours"
    for name in ("mingru", "minlstm", "qrnn", "rg-lru", "lru", "matrix-lstm"):
        cell = CELLS[name](hidden, hidden)
        x = torch.randn(length, batch, hidden)
        for kernel in (k for k in supported_kernels(cell, "cpu") if k in ("compiled", "scan")):
            a, b, ratio = paired(walker(cell, "loop", x), walker(cell, kernel, x), pairs)
            yield f"  {name:<15}{kernel:<10} {a * 1e3:9.0f} {b * 1e3:9.0f} {ratio:11.2f}"


def writers(cell: str, hidden: int, count: int) -> tuple[Step, Step]:
    """Writing `count` characters: nn's module step by step, and ours."""
    embed, recur = nn.Embedding(SYMBOLS, hidden), THEIRS[cell](hidden, hidden, 2)
    head = nn.Linear(hidden, SYMBOLS)

    def theirs() -> None:
        state, symbol = None, torch.zeros(1, 1, dtype=torch.long)
        with torch.inference_mode():
            for _ in range(count):
                h, state = recur(embed(symbol), state)
                symbol = torch.multinomial(head(h[0]).softmax(-1), 1)

    config = settings(cell, 2, hidden, 1, 1)
    model = build_char_lm(config, SYMBOLS, best(cell, hidden, hidden), "cpu")
    return theirs, lambda: list(iter_generated(model, ALPHABET, "", count))


ALPHABET = Vocabulary("chars", tuple(range(32, 32 + SYMBOLS - 1)))


def writing(pairs: int, hidden: int) -> Iterator[str]:
    yield f"writing, 2 × {hidden}, one stream   plain/s    ours/s   ours/plain"
    for cell in THEIRS:
        a, b, ratio = paired(*writers(cell, hidden, 200), pairs)
        yield f"  {cell:<5}                    {200 / a:9.0f} {200 / b:9.0f} {ratio:10.2f}"


def scorer(model: CharLM, ids: np.ndarray) -> Step:
    return lambda: list(iter_token_nll(model, ids, ALPHABET))


def scoring(pairs: int, hidden: int, length: int) -> Iterator[str]:
    yield f"scoring, 2 × {hidden}, one stream  torch/s    ours/s   ours/torch"
    ids = some_ids(length)[:, None] % (SYMBOLS - 1)
    for cell in THEIRS:
        config = settings(cell, 2, hidden, 1, 1)
        both = ("fused", best(cell, hidden, hidden))
        theirs, mine = (build_char_lm(config, SYMBOLS, kernel, "cpu") for kernel in both)
        a, b, ratio = paired(scorer(theirs, ids), scorer(mine, ids), pairs)
        yield f"  {cell:<5}                    {length / a:9.0f} {length / b:9.0f} {ratio:10.2f}"


def extras(updates: int) -> Iterator[str]:
    """A run as `charlm train` does it, but for its validation, against its bare updates."""
    with tempfile.TemporaryDirectory() as directory:
        text = Path(directory) / "text.txt"
        text.write_bytes(bytes(some_ids(300_000) + 32))
        config = validate_config({"hidden_size": 128, "max_steps": updates, "eval_every": updates})
        corpus = load_corpus([str(text)], config)
        run = create_run(Path(directory) / "run", config, corpus, "cpu")
        model = build_char_lm(config, corpus.vocabulary.size, run.record.kernel, "cpu")
        learner = Trainer(model, config, updates)
        shown = progress.TrainingProgress(updates, config.batch_size * config.seq_len, None, 1.0)
        began = time.perf_counter()
        for happened in train(run, learner, corpus):
            shown.update(happened)
        shown.close()
        whole = time.perf_counter() - began
        began = time.perf_counter()
        validation_bpc(model, corpus.split("valid"), corpus.vocabulary)
        whole -= time.perf_counter() - began
    share = (whole - learner.seconds) / whole
    yield f"progress, logging and checkpoints (target 2 %): {share:.1%} of {whole:.1f} s"


def linear(hidden: int) -> Iterator[str]:
    yield "cost for each character, relative to the first"
    kernel = best("lstm", hidden, hidden)
    first = None
    for length in (32, 128, 512, 2048):
        config = settings("lstm", 1, hidden, 8, length)
        each = median(ours(config, kernel), 7) / length
        first = first or each
        yield f"  window of {length:5} characters      {each / first:6.2f}"
    model = build_char_lm(settings("lstm", 1, hidden, 1, 1), SYMBOLS, kernel, "cpu")
    first = None
    for length in (4_000, 40_000, 160_000):
        ids = some_ids(length)[:, None] % (SYMBOLS - 1)
        each = median(scorer(model, ids), 3) / length
        first = first or each
        yield f"  text of {length:9,} characters    {each / first:6.2f}"
    step = ours(settings("lstm", 1, hidden, 8, 64), kernel)
    first = None
    for updates in (20, 200, 1000):
        each = sum(seconds(step) for _ in range(updates)) / updates
        first = first or each
        yield f"  {updates:5} more updates               {each / first:6.2f}"


def helping(times: int) -> Iterator[str]:
    yield "help and usage errors, wall seconds (target 0.35)"
    for words in (["--help"], ["train", "--help"], ["train", "--no-such-option"]):
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            command = [sys.executable, "-m", "charlm", *words]
            subprocess.run(command, capture_output=True, check=False)
            taken.append(time.perf_counter() - began)
        yield f"  charlm {' '.join(words):<22} {statistics.median(taken):6.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--only", default="train,zoo,scan,write,score,extras,linear,help")
    parser.add_argument("--small", action="store_true", help="tiny shapes: only to see it work")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    disable_malloc_trim()  # as charlm does: the plain loop gains by it, too
    small, pairs = asked.small, asked.pairs
    parts: dict[str, Callable[[], Iterator[str]]] = {
        "train": lambda: training(pairs, {"s": (1, 16, 4, 8)} if small else SHAPES),
        "zoo": lambda: zoo(pairs, *((60_000, 2, 8) if small else (150_000, 32, 64))),
        "scan": lambda: scans(pairs, *((2, 8, 64) if small else (8, 128, 1024))),
        "write": lambda: writing(pairs, 16 if small else 512),
        "score": lambda: scoring(max(1, pairs // 3), *((16, 64) if small else (512, 4096))),
        "extras": lambda: extras(5 if small else 1500),
        "linear": lambda: linear(16 if small else 128),
        "help": lambda: helping(pairs),
    }
    for name in asked.only.split(","):
        for row in parts[name]():
            print(row, flush=True)


if __name__ == "__main__":
    main()
