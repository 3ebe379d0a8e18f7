"""A unit at the episodes of a feature, and the caption of it."""

import msgspec
import numpy as np

from charlm.inspection.unit_episodes import summarize_episodes
from charlm.reporting.wording.inspection import describe_feature_unit
from charlm.results.inspection import FeatureUnit

EPISODES = 60


def quotes(delay: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quotes of 5 characters, a state that is 1 from there on, and a gate that lets it in."""
    feature = np.zeros((12 * EPISODES, 2))
    state, gate = np.zeros_like(feature), np.full_like(feature, 0.1)
    for start in range(4, len(feature), 12):
        feature[start : start + 5] = 1
        state[start + delay : start + 5 + delay] = 1
        gate[start + delay] = 0.9
    return feature, state, gate


def unit_with(delay: int, **changed: object) -> FeatureUnit:
    feature, state, gate = quotes(delay)
    episodes = summarize_episodes(feature, state, {"i": ("input gate", gate)})
    unit = FeatureUnit(
        feature="inside a quote",
        layer=1,
        unit=7,
        variable="c",
        selection_correlation=0.9,
        heldout_correlation=0.8,
        in_episodes=episodes,
    )
    return msgspec.structs.replace(unit, **changed)


def test_caption_says_when_a_unit_rises_how_long_it_holds_and_what_its_gate_does() -> None:
    unit = unit_with(0)
    episodes = unit.in_episodes
    assert episodes is not None and episodes.episodes == 2 * EPISODES
    assert (episodes.delay, episodes.median_length, episodes.median_hold) == (0, 5, 5)
    (gate,) = episodes.gates
    assert (gate.at_start, gate.inside, gate.outside) == (0.9, 0.1, 0.1)
    assert describe_feature_unit(unit) == (
        "It is high inside quotes (correlation +0.80 on the test split). It rises when a quote "
        "opens, and stays high for 5 characters: the median of 120 quotes, which are 5 long. "
        "There its input gate opens (0.90, elsewhere 0.10)."
    )
    assert "It rises one character after a quote opens" in describe_feature_unit(unit_with(1))


def test_caption_claims_nothing_that_the_test_split_does_not_show() -> None:
    for correlation in (0.19, -0.8):
        caption = describe_feature_unit(unit_with(0, heldout_correlation=correlation))
        assert "does not follow it" in caption and "rises" not in caption
    feature, state, gate = quotes(0)
    noise = np.random.default_rng(0).normal(0, 1, state.shape)
    weak = summarize_episodes(feature, 0.2 * state + noise, {"i": ("input gate", gate)})
    caption = describe_feature_unit(unit_with(0, in_episodes=weak))
    assert caption.endswith("(correlation +0.80 on the test split).")


def test_few_episodes_or_a_constant_unit_have_no_summary() -> None:
    feature, state, _ = quotes(0)
    assert summarize_episodes(feature[:100], state[:100], {}) is None
    assert summarize_episodes(feature, np.ones_like(state), {}) is None
