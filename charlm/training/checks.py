"""Checks of what a run is given: settings that a program has built, and the text of a run."""

import logging
import math
from pathlib import Path

import msgspec

from charlm.cells import loader
from charlm.cells.names import parse_custom_cell
from charlm.config import MEASURED_THREADS, Config, validate_config
from charlm.config_file import load_settings
from charlm.data.corpus import Corpus, Sources, load_corpus, reload_corpus
from charlm.data.names import printable
from charlm.errors import ConfigError, DataError, InputNotFoundError
from charlm.execution.torchrun import world_size
from charlm.models.cell_options import check_cell_options
from charlm.progress import Progress
from charlm.runs.run import Run
from charlm.settings.model import TEST_CHARS_PER_MINUTE
from charlm.training.planning import run_kernel

logger = logging.getLogger("charlm")


def import_cell(config: Config) -> None:
    """Import the file of a custom cell, which the caller of `train` has named.

    Raises:
        ConfigError: The cell does not have a setting that has been changed.
    """
    if parse_custom_cell(config.cell) and config.cell not in loader.CUSTOM_CELLS:
        loader.load_custom_cell(config.cell)
    check_cell_options(config)


def check_config(config: Config | str | Path | None, corpus: Corpus | Sources) -> Config:
    """Return a checked config: a program may have built it with any values.

    With a budget in minutes, the score must not take most of it: a part of the test split is then
    scored, unless `test_chars` is given.

    Raises:
        ConfigError: A value has the wrong type or range, or is not that of the corpus.
        InputNotFoundError: The file of the settings does not exist.
        DataError: It is not TOML.
    """
    if isinstance(config, str | Path):
        checked = validate_config(load_settings(config))
    else:
        checked = validate_config(msgspec.structs.asdict(config or Config()))
    if checked.threads == MEASURED_THREADS and world_size() > 1:
        raise ConfigError(
            "cannot use --threads auto with several processes: each would be timed beside the "
            "others. Try --threads 1"
        )
    if isinstance(corpus, Corpus):
        return _with_text_settings(checked, corpus)
    if checked.minutes and not checked.test_chars:
        test_chars = math.ceil(checked.minutes * TEST_CHARS_PER_MINUTE)
        return msgspec.structs.replace(checked, test_chars=test_chars)
    return checked


def _with_text_settings(config: Config, corpus: Corpus) -> Config:
    """Return the config with the settings of the text that the corpus was loaded with.

    Raises:
        ConfigError: The config has other settings of the text.
    """
    default = Config()
    for name, value in corpus.settings.items():
        requested = getattr(config, name)
        if requested not in (value, getattr(default, name)):
            raise ConfigError(
                f"cannot train with {name}={requested!r}: the corpus was loaded with {value!r}. "
                "Try to load it with the same config"
            )
    return validate_config({**msgspec.structs.asdict(config), **corpus.settings})


def load_given_corpus(
    corpus: Corpus | Sources,
    config: Config,
    progress: Progress,
    first_tokens: tuple[int, ...] = (),
) -> Corpus:
    """Return the text of a new run, which may be loaded already.

    Args:
        corpus: Text, or its sources.
        config: Settings.
        progress: Receiver of progress.
        first_tokens: Tokens that the vocabulary must begin with.

    Raises:
        InputNotFoundError: A source is missing.
        DataError: A text that is loaded again with these tokens has changed.
    """
    if not isinstance(corpus, Corpus):
        return load_corpus(corpus, config, progress, first_tokens=first_tokens)
    if corpus.record.first_tokens == first_tokens:
        return corpus
    if "-" in corpus.record.sources:
        raise InputNotFoundError(
            "cannot read the text again with the characters of the other run: it came from "
            "standard input. Try a file"
        )
    again = load_corpus(corpus.record.sources, config, progress, first_tokens=first_tokens)
    if again.record.digest != corpus.record.digest:
        raise DataError(
            f"cannot use {printable(' '.join(corpus.record.sources))}: the text has changed since "
            "it was loaded. Try to load it again"
        )
    return again


def check_corpus(run: Run, config: Config, corpus: Corpus | Sources, progress: Progress) -> None:
    """Check that a text that was named is that of the run.

    Raises:
        DataError: It is another one.
    """
    if isinstance(corpus, Corpus) or corpus:
        reload_run_corpus(run, config, corpus, progress)


def reload_run_corpus(
    run: Run, config: Config, corpus: Corpus | Sources, progress: Progress
) -> Corpus:
    """Return the text of a run, from its sources or as it was given.

    Raises:
        DataError: It is not that of the run.
    """
    if not isinstance(corpus, Corpus):
        return reload_corpus(config, run.record.text, corpus, progress)
    if corpus.record.digest != run.record.text.digest:
        raise DataError(
            f"cannot resume {run.path} with this corpus: its SHA-256 is "
            f"{corpus.record.digest.sha256[:12]}…, that of the run "
            f"{run.record.text.digest.sha256[:12]}…. Try the text that the run read"
        )
    return corpus


def warn_of_changes(run: Run, config: Config, device: str) -> None:
    """Warn if the resumed run computes in another way, so that the last digits may differ."""
    recorded = run.record.environment
    kernel, _ = run_kernel(run, config, device)
    before = (recorded.device, recorded.threads, recorded.processes, run.record.kernel)
    if (device, config.threads, world_size(), kernel) != before:
        logger.warning(
            "note: the run started on %s with %s thread(s), %s process(es) and the kernel %s: "
            "with others the last digits may differ",
            *before,
        )
