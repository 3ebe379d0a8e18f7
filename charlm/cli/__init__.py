"""Command line interface: one file per command, each of which parses, calls the library and shows."""
# ruff: noqa: I001 (commands stand in --help in the order of these lines)

from charlm.cli.app import app as app
from charlm.cli import train as train
from charlm.cli import eval as eval
from charlm.cli import sample as sample
from charlm.cli import inspect as inspect
from charlm.cli import probe as probe
from charlm.cli import compare as compare
from charlm.cli import cells as cells
from charlm.cli import tasks as tasks
