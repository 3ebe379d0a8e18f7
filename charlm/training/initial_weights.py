"""Initial weights from another run: inherited settings, common vocabulary, rows of new tokens."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import numpy as np
import torch

from charlm.cells.names import parse_custom_cell
from charlm.config import LEFT_TO_RECIPE, Config, option_name, validate_config
from charlm.config_file import load_settings, read_initial_run
from charlm.data.corpus import Corpus
from charlm.data.readers import CHUNK_BYTES
from charlm.errors import ConfigError, DataError
from charlm.models.build import build_char_lm, load_weights
from charlm.results.run import RunRecord
from charlm.results.run_start import InitialWeights, Restarted
from charlm.results.training import TrainingProgress
from charlm.runs.checkpoint import Checkpoint
from charlm.runs.creation import RunStart
from charlm.runs.run import Run, is_run, open_run
from charlm.settings.model import CELL_OPTIONS
from charlm.training.planning import RunPlan, plan_run

# Settings that the weights determine, or that only concern new weights.
FIXED = (
    *("vocab", "cell", "hidden_size", "num_layers", "embedding_dim", "tie_weights"),
    *("initial_state", "forget_bias", "recurrent_init", "block", "conv"),
    *CELL_OPTIONS,
)
# The others may be given other values: how a model reads its text belongs to it, as its cell does.
INHERITED = (*FIXED, "dropout", "weight_dropout", "documents")
VOCABULARY_ROWS = ("embed.weight", "weight", "bias")  # tensors with one row per token


class WeightSource(NamedTuple):
    """Run whose best weights a new run starts from.

    Attributes:
        run: Run; its own cell is loaded.
        checkpoint: Its best checkpoint.
        config: Settings of the new run: those that are given, else inherited.
    """

    run: Run
    checkpoint: Checkpoint
    config: Config

    @property
    def first_tokens(self) -> tuple[int, ...]:
        """Tokens that the vocabulary of the new run begins with; () for bytes."""
        vocabulary = self.run.vocabulary
        return vocabulary.tokens if vocabulary.kind == "chars" else ()


def open_weight_source(
    source: Run | str | Path,
    given: Mapping[str, Any],
    *,
    trust_cell: str = "",
    weights_sha256: str = "",
) -> WeightSource:
    """Read the best weights of a run, and derive the settings of the run that starts from them.

    Args:
        source: Run that has the weights.
        given: Settings that were given for the new run.
        trust_cell: FILE.py:CLASS of a run with a custom cell, unless `given` has it. The file is
            executed.
        weights_sha256: What the SHA-256 of the weights must be; "" for any.

    Raises:
        InputNotFoundError: It is not a run.
        ConfigError: A setting contradicts the weights, or the cell is not trusted.
        DataError: No checkpoint is intact, or it has other weights than it must have.
    """
    run = open_run(source)
    given = dict(given)
    is_custom = parse_custom_cell(run.record.config.cell) is not None
    if is_custom or trust_cell:
        run.load_custom_cell(trust_cell or given.get("cell", ""))
        given["cell"] = run.record.config.cell
    recorded = run.record.config
    differing = [
        f"{option_name(name)} {given[name]} (it has {getattr(recorded, name)})"
        for name in FIXED
        if name in given and given[name] not in (getattr(recorded, name), LEFT_TO_RECIPE.get(name))
    ]
    if differing:
        raise ConfigError(
            f"cannot use {'; '.join(differing)} with --init-from {run.path}: its weights determine "
            "the model. Leave it out"
        )
    own = {name: value for name, value in given.items() if name not in FIXED}
    config = validate_config({**{name: getattr(recorded, name) for name in INHERITED}, **own})
    checkpoint = run.load_checkpoint("best")
    if weights_sha256 not in ("", checkpoint.sha256):
        raise DataError(
            f"cannot start from {run.path}: its weights are {checkpoint.sha256[:12]}…, those that "
            f"were used before {weights_sha256[:12]}…. Try the original run"
        )
    return WeightSource(run, checkpoint, config)


def find_weight_source(
    init_from: WeightSource | Run | str | Path | None, config: Config | str | Path | None
) -> WeightSource | None:
    """Return the run whose weights a new run starts from; None for new weights.

    Args:
        init_from: Run, or what was read of it; None: the one that a file of settings names.
        config: As for `train`.
    """
    if isinstance(init_from, WeightSource):
        return init_from
    weights_sha256 = ""
    if init_from is None and isinstance(config, str | Path):
        init_from, weights_sha256 = read_initial_run(Path(config))
    if not init_from:
        return None
    return open_weight_source(init_from, given_settings(config), weights_sha256=weights_sha256)


def given_settings(config: Config | str | Path | None) -> dict[str, Any]:
    """Return the settings that a program gives: those of a file, or that are not the default."""
    if isinstance(config, str | Path):
        return load_settings(config)
    default = Config()
    settings = msgspec.structs.asdict(config or default)
    return {name: v for name, v in settings.items() if v != getattr(default, name)}


def check_initial_run(run: Run, init_from: Run | str | Path) -> None:
    """Check that a resumed run started from the weights of this run.

    A run has its own copy of them: if the other one is gone, its path alone is compared.

    Raises:
        ConfigError: It started from others.
        DataError: No checkpoint of the other run is intact.
    """
    named = init_from.path if isinstance(init_from, Run) else Path(init_from)
    recorded = run.record.initial_weights
    if recorded is None or os.path.abspath(recorded.run) != os.path.abspath(named):
        begin = f"those of {recorded.run}" if recorded else "new weights"
        raise ConfigError(
            f"cannot resume {run.path} from the weights of {named}: it began with {begin}. "
            "Try another directory for a new run"
        )
    if not is_run(named):
        return
    found = open_run(init_from).load_checkpoint("best").sha256
    if found != recorded.weights_sha256:
        raise ConfigError(
            f"cannot resume {run.path} from the weights of {named}: they are {found[:12]}…, and it "
            f"began with {recorded.weights_sha256[:12]}…. Try another directory for a new run"
        )


def describe_source(source: WeightSource, corpus: Corpus) -> InitialWeights:
    """Return the record of initial weights: their run, and what of its vocabulary is used."""
    vocabulary, record = corpus.vocabulary, source.run.record
    known = len(source.run.vocabulary.tokens)
    train = corpus.stored_split("train")
    is_used = np.zeros(vocabulary.size, np.bool_)
    for start in range(0, len(train), CHUNK_BYTES):
        is_used[np.unique(train[start : start + CHUNK_BYTES])] = True
    shared = int(is_used[:known].sum())
    return InitialWeights(
        run=os.path.abspath(source.run.path),
        weights_sha256=source.checkpoint.sha256,
        step=source.checkpoint.progress.step,
        text_sha256=record.text.digest.sha256,
        shared_tokens=shared,
        new_tokens=len(vocabulary.tokens) - known,
        kept_tokens=known - shared,
        restarted=get_args(Restarted),
    )


@torch.no_grad()
def start_from(source: WeightSource, record: RunRecord, corpus: Corpus) -> RunStart:
    """Return the first checkpoint of a run: weights of another one, and no optimizer state.

    The tokens of the other run come first in the vocabulary, and its unknown token stays the last.
    New tokens have rows as new weights have them, which depend on the seed alone. Their bias is 0,
    which is about the mean of trained ones: their rows say how frequent tokens are.

    Raises:
        DataError: The weights do not fit the settings of their run.
    """
    old_size = source.run.vocabulary.size
    old = build_char_lm(source.run.record.config, old_size, "loop", "cpu")
    load_weights(old, source.checkpoint.tensors)
    new = build_char_lm(record.config, corpus.vocabulary.size, "loop", "cpu")
    weights = new.state_dict()
    known = len(source.run.vocabulary.tokens)
    for name, tensor in old.state_dict().items():
        if name in VOCABULARY_ROWS:
            weights[name][:known] = tensor[:known]
            if corpus.vocabulary.unk_id is not None:
                weights[name][-1] = tensor[-1]
        else:
            weights[name].copy_(tensor)
    progress = TrainingProgress(
        step=0, seconds=0.0, metrics_bytes=0, valid_bits=None, best_step=None, best_bits=None
    )
    return RunStart(progress, {"model": weights, "training": {}}, {"metrics.jsonl": b""})


def plan_run_from(
    source: WeightSource, config: Config, corpus: Corpus, device: str, started: float
) -> RunPlan:
    """Plan a run that starts from other weights, see `plan_run`."""
    plan = plan_run(config, corpus, device, started)
    record = msgspec.structs.replace(plan.record, initial_weights=describe_source(source, corpus))
    return plan._replace(record=record)
