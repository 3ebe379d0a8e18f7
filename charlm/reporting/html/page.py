"""Rendering of HTML templates with escaped text."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from charlm import __version__
from charlm.console import escape_control_characters


def escape_value(value: object) -> object:
    """Return a template's value with control characters escaped; markup is returned as it is."""
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


def render_template(template: str, **values: object) -> bytes:
    """Return the page that a template makes of these values, as UTF-8."""
    return TEMPLATES.get_template(template).render(values).encode()
