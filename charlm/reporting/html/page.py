"""A page to look at: one HTML file that loads nothing, runs nothing and shows text as text."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from charlm import __version__
from charlm.console import escape_control_characters
from charlm.reporting.formatting import format_count, format_duration


def escape_value(value: Any) -> Any:
    """What a template is about to show: foreign text made safe; markup of our own as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape_control_characters(value, keep="\n\t")
    return value


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=escape_value,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.globals["charlm"] = __version__
TEMPLATES.filters |= {"large": format_count, "duration": format_duration}


def render_template(template: str, **values: Any) -> bytes:
    """The page that a template of charlm/pages makes of these values."""
    return TEMPLATES.get_template(template).render(values).encode()
