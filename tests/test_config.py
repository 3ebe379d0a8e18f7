"""Tests of the configuration: validation, options, and the command line round trip."""

from fractions import Fraction

import msgspec
import pytest

from charlm.config import (
    Config,
    option_metadata,
    option_name,
    resume_config,
    to_argv,
    validate_config,
)
from charlm.errors import ConfigError
from charlm.settings.values import ForgetBias, parse_forget_bias, parse_split_ratios

FIELDS = Config.__struct_fields__


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_a_documented_option(name: str) -> None:
    metadata = option_metadata(name)
    assert metadata.help.endswith(".") and metadata.help[0].isupper()
    assert metadata.panel in ("Text", "Model", "Training", "Machine")


def test_options_give_the_config_again() -> None:
    config = Config(cell="gru", hidden_size=64, embedding_dim=64, tie_weights=True, dropout=0.25)
    values: dict[str, object] = {}
    for option in to_argv(config):
        name, equals, value = option.removeprefix("--").partition("=")
        name = name.replace("-", "_")
        if equals:
            values[name] = value
        else:
            values[name.removeprefix("no_")] = not name.startswith("no_")
    assert msgspec.convert(values, Config, strict=False) == config


def test_options_that_determine_the_result_exclude_changeable_ones() -> None:
    names = {option.partition("=")[0] for option in to_argv(Config(), with_changeable=False)}
    changeable = {"valid_file", "test_file", "kernel", "device", "threads", "save_every", "keep"}
    assert {name for name in FIELDS if option_metadata(name).can_change} == changeable
    expected = {option_name(name) for name in {*FIELDS} - changeable - {"tie_weights"}}
    assert names == expected | {"--no-tie-weights"}
    assert "--cell" not in {o.partition("=")[0] for o in to_argv(Config(), exclude=["cell"])}


def test_aliases_are_the_documented_ones() -> None:
    aliases = {n: option_metadata(n).aliases for n in FIELDS if option_metadata(n).aliases}
    assert aliases == {
        "seq_len": ("--bptt",),
        "max_steps": ("--steps",),
        "learning_rate": ("--lr",),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("default", ForgetBias()),
        ("1", ForgetBias(bias=1.0)),
        ("-2.5", ForgetBias(bias=-2.5)),
        ("chrono", ForgetBias(chrono_length=64)),
        ("chrono:500", ForgetBias(chrono_length=500)),
    ],
)
def test_forget_bias_is_a_number_chrono_or_the_cells_own(text: str, expected: ForgetBias) -> None:
    assert parse_forget_bias(text, 64) == expected


@pytest.mark.parametrize("text", ["much", "inf", "nan", "", "chrono:2", "chrono:x"])
def test_other_forget_bias_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"--forget-bias {text}: "):
        parse_forget_bias(text, 64)
    with pytest.raises(ConfigError, match="at least 3 tokens"):
        parse_forget_bias("chrono", 2)


def test_split_ratios_are_exact() -> None:
    assert parse_split_ratios("90/5/5") == (Fraction(9, 10), Fraction(1, 20), Fraction(1, 20))
    assert sum(parse_split_ratios("1/1.5/0.7")) == 1
    for text in ("90/10", "90/10/0", "a/b/c", "-1/1/1"):
        with pytest.raises(ConfigError, match="three positive numbers"):
            parse_split_ratios(text)


def test_unknown_and_invalid_values_name_their_option() -> None:
    with pytest.raises(ConfigError, match="hidden"):
        validate_config({"hidden": 3})
    with pytest.raises(ConfigError, match="--hidden-size 0: it must be a whole number from 1 to"):
        validate_config({"hidden_size": 0})


def test_resumed_run_changes_only_what_cannot_change_the_result() -> None:
    recorded = Config(hidden_size=32)
    assert resume_config(recorded, {"threads": 2, "hidden_size": 32}).threads == 2
    with pytest.raises(ConfigError, match=r"--hidden-size 64 \(the run has 32\)"):
        resume_config(recorded, {"hidden_size": 64})
