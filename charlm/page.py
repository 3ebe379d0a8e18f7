"""A page to look at: one HTML file that loads nothing, runs nothing and shows text as text."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from charlm import __version__
from charlm.show import duration, large
from charlm.visible import visible


def shown(value: Any) -> Any:
    """What a template is about to show: foreign text made safe; markup of our own as it is."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value, keep="\n\t")
    return value


TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"),
    autoescape=True,
    undefined=StrictUndefined,
    finalize=shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.globals["charlm"] = __version__
TEMPLATES.filters |= {"large": large, "duration": duration}


def render(template: str, **values: Any) -> bytes:
    """The page that a template of charlm/pages makes of these values."""
    return TEMPLATES.get_template(template).render(values).encode()
