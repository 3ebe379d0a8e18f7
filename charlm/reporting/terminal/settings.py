"""Resolved settings as TOML, each with its origin in a comment."""

from charlm.config_file import encode_toml
from charlm.console import print_result
from charlm.results.settings import ResolvedSetting, ResolvedSettings

MAX_COLUMN = 40  # of a comment; a longer value moves its own comment to the right


def print_settings(resolved: ResolvedSettings) -> None:
    """Print settings as a file that --config reads."""
    print_result(
        f"# {resolved.parameters:,} parameters, {resolved.steps:,} steps\n"
        f"# SHA-256 of the text: {resolved.text_sha256}",
        verbatim=True,
    )
    if resolved.weights_sha256:
        print_result(f"# SHA-256 of the weights: {resolved.weights_sha256}", verbatim=True)
    lines = [f"{setting.name} = {encode_toml(setting.value)}" for setting in resolved.settings]
    width = max(len(line) for line in lines if len(line) <= MAX_COLUMN)
    for line, setting in zip(lines, resolved.settings, strict=True):
        print_result(f"{line:<{width}}  # {describe_origin(setting, resolved.cell)}", verbatim=True)


def describe_origin(setting: ResolvedSetting, cell: str) -> str:
    """Return where a value comes from, in words."""
    words = {
        "default": "default",
        "given": setting.place,
        "recipe": f"recipe of {cell}",
        "measured": "measured",
        "derived": "from the budget",
    }[setting.origin]
    return f"{words}; here {setting.resolved}" if setting.resolved else words
