"""Nearest options, commands and runs for names that do not exist: typing errors and synonyms."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

# Options of charlm -> what char-rnn, torch-rnn, nanoGPT, Keras, textgenrnn, transformers and the
# examples of PyTorch call them, and words for the same. Of several options, the first that a
# command has is suggested.
OPTION_SYNONYMS = {
    "batch-size": "batch bs train-batch-size per-device-train-batch-size",
    "baselines reference": "baseline transformer ngram",
    "beta1": "beta betas momentum adam-beta1",
    "cell cells": "model model-type rnn-type rnn arch architecture network type",
    "cells cell": "models architectures",
    "characters max-chars": "chars num-chars tokens max-tokens",
    "config preset": "cfg conf settings yaml toml recipe",
    "conv": "convolution conv-size conv-width short-conv conv1d d-conv",
    "device": "gpu gpus gpuid gpu-id cuda cpu mps opencl",
    "documents": "separator delimiter eot eos document-separator reset-at doc-sep",
    "dropout": "drop dropout-rate keep-prob",
    "dry-run": "plan dryrun estimate simulate",
    "eigenvalues": "negative-eigenvalues allow-neg-eigval neg-eigval signed",
    "embedding-dim": "embedding embedding-size embed-dim emsize emb-size wordvec-size d-model "
    "dim-embeddings",
    "epochs": "epoch max-epochs num-epochs n-epochs num-train-epochs",
    "eval-every": "eval-interval eval-val-every eval-steps valid-every validate-every",
    "executor ray-address": "cluster distributed engine",
    "forget-bias": "keep-bias unit-forget-bias forget-gate-bias",
    "glob": "pattern include extension ext",
    "grad-clip": "clip clip-grad gradient-clip gradient-clip-val clipnorm clipvalue "
    "max-grad-norm max-norm",
    "hidden-size params": "hidden hidden-dim hidden-units rnn-size n-embd n-hidden nhid num-units "
    "num-hidden size width",
    "initial-state": "h0 initial-h start-state",
    "jobs": "workers num-workers processes parallel num-proc",
    "json": "format output-format",
    "kernel": "compile backend implementation unroll",
    "learning-rate lr-range": "rate step-size base-lr max-lr",
    "lengths length": "distances distance lags delay delays",
    "length num-samples": "max-new-tokens max-gen-length num-tokens n-chars count",
    "log-every": "log-interval print-every logging-steps progress-every",
    "lr-schedule": "lr-decay learning-rate-decay learning-rate-decay-after decay-rate decay-lr "
    "lr-decay-iters lr-decay-every lr-decay-factor lr-scheduler lr-scheduler-type scheduler min-lr "
    "schedule anneal",
    "margin": "tolerance threshold rope equivalence",
    "match": "equal equalize budget measure",
    "max-steps": "iters iterations max-iters num-iterations updates max-updates train-steps "
    "steps-per-epoch",
    "minutes": "time duration hours max-time",
    "num-heads": "heads n-head n-heads nhead nheads num-attention-heads",
    "num-layers": "layers n-layer n-layers nlayers rnn-layers depth num-hidden-layers",
    "num-samples": "samples n-samples num-return-sequences",
    "params": "parameters num-params param-count hidden-size",
    "probes memory": "probe tests measurements only",
    "prompt text file": "start start-text primetext prime prefix seed-text input",
    "quiet": "silent verbose no-progress",
    "recompute": "checkpointing gradient-checkpointing activation-checkpointing remat",
    "recurrent-init": "init initializer recurrent-initializer",
    "reset-prob": "reset reset-state reset-states reset-probability",
    "resume checkpoint": "continue init-from resume-from resume-from-checkpoint load restore",
    "run out": "out-dir output-dir output out save save-dir savefile checkpoint-dir "
    "checkpoint-name name run-dir run",
    "save-every": "checkpoint-every checkpoint-interval save-steps save-interval",
    "seed seeds": "random-seed rng-seed random-state",
    "seeds": "num-seeds runs repeats repetitions replicates",
    "seq-len length max-chars": "seq-length sequence-length block-size context-length timesteps "
    "max-seq-length max-length num-steps context window",
    "split-ratios split": "train-frac val-frac test-frac validation-split train-size val-size "
    "test-size ratio splits",
    "temperature": "temp",
    "test-file": "test-text eval-file",
    "text prompt": "sentence string",
    "threads jobs": "cores num-threads omp-threads",
    "tie-weights": "tie tied tie-embeddings weight-tying",
    "top-k": "topk",
    "top-p": "topp nucleus",
    "trials": "tune tuning search num-trials n-trials",
    "trust-cell": "trust trust-remote-code",
    "units": "unit neurons",
    "valid-file": "val-file validation-file dev-file valid-text",
    "vocab": "alphabet tokenizer encoding word-level level",
    "warmup-steps": "warmup warmup-iters warmup-ratio",
    "weight-decay": "wd l2 decay",
    "weight-dropout": "recurrent-dropout weight-drop wdrop dropconnect",
}
COMMAND_SYNONYMS = {
    "cells": "cell models zoo architectures",
    "clean": "rm remove delete prune gc cleanup",
    "compare-cells": "compare benchmark bench race compare-runs",
    "config": "settings conf options presets",
    "corpora": "corpus data dataset datasets texts download",
    "doctor": "env info diagnose check version",
    "eval": "evaluate score test perplexity bpc",
    "exit-codes": "errors codes exitcodes",
    "inspect": "visualize visualise plot view look gates",
    "probe": "memory reach measure remember probes",
    "runs": "ls list experiments history",
    "sample": "generate gen write infer predict complete",
    "tasks": "task curriculum synthetic",
    "train": "fit learn resume continue finetune run",
    "verify": "fsck validate checksum integrity",
}


def nearest(name: str, known: Iterable[str], number: int = 1) -> list[str]:
    """Return the known names that are most like this one."""
    return get_close_matches(name, list(known), n=number)


def synonyms(name: str, table: Mapping[str, str]) -> list[str]:
    """Return what charlm calls a thing that other programs call by this name."""
    return [ours for key, words in table.items() if name in words.split() for ours in key.split()]


def suggest_options(wrong: str, known: Sequence[str]) -> list[str]:
    """Return the options of a command that were probably meant.

    Args:
        wrong: What was typed, such as `--rnn_size`.
        known: All spellings of the command's options, such as `--hidden-size`.
    """
    name = wrong.lstrip("-").replace("_", "-").lower()
    if f"--{name}" in known:  # typed with other dashes
        return [f"--{name}"]
    meant = [f"--{option}" for option in synonyms(name, OPTION_SYNONYMS)]
    return [option for option in meant if option in known][:1] or nearest(f"--{name}", known, 2)


def suggest_commands(wrong: str, known: Sequence[str]) -> list[str]:
    """Return the command that was probably meant, or an empty list."""
    name = wrong.replace("_", "-").lower()
    return [c for c in synonyms(name, COMMAND_SYNONYMS) if c in known] or nearest(name, known)


def suggest_runs(missing: Path) -> list[str]:
    """Return the run whose path is most like this one: beside it, in runs/ or here."""
    known = [
        str(file.parent)
        for directory in dict.fromkeys((missing.parent, Path("runs"), Path()))
        for file in directory.glob("*/run.json")
    ]
    return nearest(str(missing), known) or nearest(str(Path("runs", missing.name)), known)


def suggest_directories(missing: Path) -> list[str]:
    """Return the directory whose path is most like this one: beside it, or a run."""
    beside = missing.parent.iterdir() if missing.parent.is_dir() else ()
    known = [str(path) for path in beside if path.is_dir() and not path.name.startswith(".")]
    return nearest(str(missing), known) or suggest_runs(missing)


def did_you_mean(names: Sequence[str]) -> str:
    """Return a question that names them, or nothing."""
    return f"Did you mean {' or '.join(names)}? " if names else ""
