"""Estimates of what a run will take, and the budget in steps that fits into minutes.

All of them count the same things: optimizer steps, branches, validations and the final score.
"""

import math
from collections import deque
from time import perf_counter
from typing import NamedTuple

from charlm.config import Config
from charlm.data.corpus import Corpus
from charlm.errors import ConfigError
from charlm.evaluation.scoring import VALIDATION_TOKENS, iter_token_nll, validation_bpc
from charlm.models.build import build_char_lm
from charlm.runs.run import RECENT_CHECKPOINTS
from charlm.settings.values import DECAY_FRACTION, parse_branches
from charlm.training.branches import plan_branches
from charlm.training.budget import (
    DEFAULT_VALIDATIONS,
    MAX_TIMED_STEPS,
    measure_step_time,
    validation_interval,
)
from charlm.training.distributed import per_process_config

QUICK_TIMING_SECONDS = 0.1  # of steps that are timed for an estimate alone
TIMED_VALIDATION_TOKENS, TIMED_SCORE_TOKENS = 8192, 512
EXIT_SECONDS = 0.5  # files of the finished run, and the end of the process
METRICS_BYTES_PER_STEP = 130  # of metrics.jsonl
CHECKPOINT_HEADER_BYTES = 8192  # of both files of tensors, and of the manifest
OTHER_FILES_BYTES = 50_000  # settings, vocabulary, report, events


class RunTimings(NamedTuple):
    """Speed of a run, measured with a new model."""

    seconds_per_step: float
    seconds_per_validation_token: float  # in parallel streams
    seconds_per_scored_token: float  # in one stream

    def seconds(self, config: Config, max_steps: int, corpus: Corpus, steps_done: int = 0) -> float:
        """Return the seconds from a step of a run to the end of its score.

        Args:
            config: Settings with the recipe.
            max_steps: Steps of the run.
            corpus: Its text.
            steps_done: Steps that were done before.
        """
        interval = validation_interval(config, max_steps)
        looks = math.ceil(max_steps / interval) - steps_done // interval
        steps = max_steps - steps_done
        for branch in plan_branches(config, max_steps):
            if branch.start >= steps_done:
                looks += 1
                steps += branch.end - branch.start
        return (
            steps * self.seconds_per_step
            + looks * self._look_seconds(corpus)
            + self._score_seconds(config, corpus)
        )

    def steps_within(self, seconds: float, config: Config, corpus: Corpus) -> int:
        """Return how many steps a run can have that ends within these seconds.

        Args:
            seconds: Time from its first step to the end of the process.
            config: Settings with the recipe, whose budget is in minutes.
            corpus: Its text.

        Raises:
            ConfigError: Not even one step fits, beside validations and the score.
        """
        branches, look = parse_branches(config.branches), self._look_seconds(corpus)
        fixed = self._score_seconds(config, corpus) + EXIT_SECONDS + len(branches) * look
        per_step = self.seconds_per_step * (1 + DECAY_FRACTION * float(sum(branches)))
        if config.eval_every:
            fixed += look  # after the last step
            per_step += look / config.eval_every
        else:
            fixed += DEFAULT_VALIDATIONS * look
        steps = math.floor((seconds - fixed) / per_step)
        if steps < 1:
            missing = fixed + per_step - seconds
            raise ConfigError(
                f"cannot train within --minutes {config.minutes:g}: start-up, validations and the "
                f"final score alone take {missing:.1f} seconds longer. Try --minutes "
                f"{2 * (config.minutes + missing / 60):.2g}, or a smaller --test-chars"
            )
        return steps

    def _look_seconds(self, corpus: Corpus) -> float:
        tokens = min(len(corpus.stored_split("valid")), VALIDATION_TOKENS)
        return tokens * self.seconds_per_validation_token

    def _score_seconds(self, config: Config, corpus: Corpus) -> float:
        if config.final_eval == "none":
            return 0.0
        return len(corpus.stored_split(config.final_eval)) * self.seconds_per_scored_token


def measure_timings(
    config: Config,
    corpus: Corpus,
    kernel: str,
    device: str,
    budget: float = QUICK_TIMING_SECONDS,
) -> RunTimings:
    """Time a new model for a moment.

    Args:
        config: Settings with the recipe.
        corpus: Text of the run.
        kernel: Resolved kernel.
        device: Resolved device.
        budget: Seconds to spend on steps.
    """
    vocabulary, local_config = corpus.vocabulary, per_process_config(config)
    seconds_per_step = measure_step_time(
        local_config,
        MAX_TIMED_STEPS,
        vocabulary.size,
        kernel,
        device,
        corpus.stored_split("train"),
        budget,
    )
    model = build_char_lm(local_config, vocabulary.size, kernel, device)
    validated = corpus.stored_split("valid").span(0, TIMED_VALIDATION_TOKENS)
    scored = validated.span(0, TIMED_SCORE_TOKENS)
    validation_bpc(model, scored, vocabulary)  # includes one-time work
    start = perf_counter()
    validation_bpc(model, validated, vocabulary)
    middle = perf_counter()
    deque(iter_token_nll(model, scored.column(), vocabulary), maxlen=0)
    return RunTimings(
        seconds_per_step,
        (middle - start) / len(validated),
        (perf_counter() - middle) / len(scored),
    )


class RunDisk(NamedTuple):
    """Bytes of a run directory."""

    finished: int
    peak: int  # while it is trained


def estimate_run_disk(config: Config, max_steps: int, parameters: int, state_size: int) -> RunDisk:
    """Return about how many bytes a run takes on the disk.

    Args:
        config: Settings with the recipe.
        max_steps: Steps of the run.
        parameters: Number of parameters.
        state_size: Floats carried per stream.
    """
    weights = 4 * parameters + CHECKPOINT_HEADER_BYTES
    # Weights, two moments, and the state of each stream. The best one is kept beside the newest,
    # and one more is there while it is written.
    checkpoint = weights + 8 * parameters + 4 * config.batch_size * state_size
    others = METRICS_BYTES_PER_STEP * max_steps + OTHER_FILES_BYTES
    has_state = config.keep != "weights" and config.lr_schedule == "wsd"
    state = checkpoint if has_state else 0
    kept = state + ((RECENT_CHECKPOINTS + 1) * checkpoint if config.keep == "all" else weights)
    return RunDisk(kept + others, state + (RECENT_CHECKPOINTS + 2) * checkpoint + others)
