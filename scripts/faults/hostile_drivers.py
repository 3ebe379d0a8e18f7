"""Commands on a hostile directory: the functions that they call, or the whole command line."""

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import typer  # noqa: TID251  -- the parser is built once

import charlm
from charlm import __main__ as program
from charlm.cli import main as command_line
from charlm.comparison.existing_runs import (
    check_comparable,
    describe_matching,
    existing_entries,
    group_by_config,
)
from charlm.comparison.finished import load_comparison
from charlm.comparison.loaded_runs import load_runs
from charlm.comparison.memory import no_memory
from charlm.comparison.outcomes import load_outcomes
from charlm.comparison.report import Findings, build_report
from charlm.data.batches import Batch
from charlm.data.corpus import reload_corpus
from charlm.errors import EXIT_CODES
from charlm.reporting.tables.metrics import render_metrics_csv
from charlm.reporting.tables.render import render_report
from charlm.runs.cleanup import clean
from charlm.runs.listing import list_runs
from charlm.runs.metrics import load_branches, load_validation_curve
from charlm.runs.restore import load_model
from charlm.runs.run import load_run
from charlm.runs.scalars import load_metrics
from charlm.runs.verification import verify
from charlm.training.budget import check_fits_memory
from charlm.training.completion import restore_trainer

BUG = 70
OUTPUT = "out"  # in the sandbox: what commands may write, beside the directory itself


def _batch(symbols: int, size: int, time: int) -> Batch:
    """Return a batch of symbols in turn."""
    ids = (torch.arange(size * (time + 1)) % symbols).view(size, time + 1).t()
    return Batch(ids[:-1], ids[1:], is_epoch_start=False)


def _score(path: Path, _: Path) -> None:
    run = load_run(path)
    model = load_model(run)[1]
    batch = _batch(run.vocabulary.size, 1, 8)
    with torch.no_grad():
        model.eval().loss(batch.x, batch.y, model.initial_state(1))


def _text(path: Path, _: Path) -> None:
    record = load_run(path).record
    reload_corpus(record.config, record.text)


def _sample(path: Path, _: Path) -> None:
    charlm.generate(path, prompt="the ", num_chars=6, seed=1)


def _inspect(path: Path, _: Path) -> None:
    charlm.inspect(path, text="the old dog sees")


def _export(path: Path, out: Path) -> None:
    charlm.export(path, out / "exported")


def _resume(path: Path, _: Path) -> None:
    """Restore a trainer and do a step, as `charlm train --resume` does."""
    run = load_run(path)
    config = run.record.config
    check_fits_memory(config, run.vocabulary.size, "cpu")
    trainer = restore_trainer(run, "cpu", config)[0]
    if trainer.step:
        trainer.train_step(_batch(run.vocabulary.size, config.batch_size, config.seq_len))


def _init(path: Path, out: Path) -> None:
    text = path.parent / "texts" / "book.txt"
    charlm.train(text, charlm.Config(max_steps=1), out / "new", init_from=path)


def _diff(path: Path, _: Path) -> None:
    charlm.diff(path, path, passages=2)


def _list(path: Path, _: Path) -> None:
    list_runs([path])
    _metrics(path, _)


def _metrics(path: Path, _: Path) -> None:
    render_metrics_csv(load_metrics([path]))
    load_validation_curve(path)
    load_branches(path)


def _clean(path: Path, _: Path) -> None:
    clean([path])
    clean([path], remove=True)


def _compare(path: Path, _: Path) -> None:
    loaded = load_runs([path])
    check_comparable(loaded.runs)
    groups = group_by_config(loaded.runs, loaded.tuned)
    reference = next(iter(groups))
    entries = existing_entries(groups, reference)
    build_report(
        "runs",
        entries,
        load_outcomes(entries),
        Findings(memory=no_memory("disabled")),
        matching=describe_matching(entries, groups),
        reference=reference,
        margin=0.01,
    )


def _report(path: Path, _: Path) -> None:
    result = load_comparison(path)
    for kind in ("markdown", "latex", "csv", "bibtex", "methods"):
        render_report(result.report, kind, result.timing)


def _verify(path: Path, _: Path) -> None:
    verify([path])


FUNCTIONS: dict[str, Callable[[Path, Path], None]] = {
    "score": _score,
    "sample": _sample,
    "inspect": _inspect,
    "export": _export,
    "resume": _resume,
    "text": _text,
    "init": _init,
    "diff": _diff,
    "list": _list,
    "metrics": _metrics,
    "clean": _clean,
    "compare": _compare,
    "compare_again": _compare,
    "report": _report,
    "verify": _verify,
}

RUN = "RUN"  # in the words of a command: the hostile directory
COMMANDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "score": (("eval", RUN), ("eval", RUN, "--json", "--checkpoint", "last")),
    "sample": (("sample", RUN, "--length", "9", "--prompt", "the "),),
    "inspect": (
        ("inspect", RUN, "--out", "out/inspect.html"),
        ("probe", RUN, "--out", "out/probe"),
    ),
    "export": (("export", RUN, "out/exported"),),
    "resume": (("train", "--resume", RUN),),
    "text": (("train", "--resume", RUN), ("eval", RUN)),
    "init": (("train", "texts/book.txt", "--init-from", RUN, "--run", "out/new", "--steps", "1"),),
    "diff": (("diff", RUN, RUN, "--out", "out/diff.html"),),
    "list": (("runs", RUN), ("runs", RUN, "--json"), ("config", "show", "--config", RUN)),
    "metrics": (("metrics", RUN), ("metrics", RUN, "--json")),
    "clean": (("clean", RUN), ("clean", RUN, "--yes")),
    "compare": (("compare-cells", RUN, "--no-memory", "--out", "out/comparison", "--jobs", "1"),),
    "compare_again": (("compare-cells", RUN, "--no-memory", "--out", "out/comparison"),),
    "report": (("report", RUN), ("report", RUN, "--json")),
    "verify": (("verify", RUN), ("verify", RUN, "--json")),
}


class CommandLine:
    """The command line in this process, with its output in a file."""

    def __init__(self, log: Path) -> None:
        """Redirect the standard streams of this process, and build the parser once."""
        self.log = log
        for number, mode in enumerate(("r", "w", "w")):
            path = os.devnull if number == 0 else log
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
            stream = open(number, mode, encoding="utf-8", closefd=False)  # noqa: SIM115
            setattr(sys, ("stdin", "stdout", "stderr")[number], stream)
        parser: Any = typer.main.get_command(vars(command_line)["app"])

        def parse(**options: object) -> object:
            return parser.main(args=sys.argv[1:], **options)

        vars(command_line)["app"] = parse

    def output(self) -> str:
        """Return what the last command wrote."""
        return self.log.read_text(errors="replace")

    def run(self, words: tuple[str, ...]) -> tuple[int, str]:
        """Run `charlm WORDS`; return its exit code, and what is wrong with its end, or ""."""
        os.truncate(self.log, 0)
        sys.argv = ["charlm", *words]
        code = program.run()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        text = self.output()
        problems = []
        if code not in EXIT_CODES or code == BUG:
            problems.append(f"exit code {code}: {text[-300:]!r}")
        if "Traceback (most recent call last)" in text:
            problems.append(f"a traceback: {text[-300:]!r}")
        return code, "; ".join(problems)


def call(driver: str, path: Path, out: Path) -> tuple[int, str]:
    """Call what a command calls; return its exit code, and what is wrong with its end, or ""."""
    try:
        FUNCTIONS[driver](path, out)
    except BaseException as error:
        code, message = program.describe_error(error)
        if code == BUG or code not in EXIT_CODES:
            return code, f"exit code {code}: {message[:300]!r}"
        return code, ""
    return 0, ""


def clear(out: Path) -> None:
    """Remove what commands wrote."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
