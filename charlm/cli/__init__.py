"""The command line, a file a command: parse, call, show. What needs torch is loaded inside one."""
# ruff: noqa: I001 (commands stand in --help in the order of these lines)

from charlm.cli.root import app as app
from charlm.cli import train as train
from charlm.cli import evaluate as evaluate
from charlm.cli import sample as sample
from charlm.cli import inspect as inspect
from charlm.cli import probe as probe
from charlm.cli import compare as compare
from charlm.cli import cells as cells
from charlm.cli import tasks as tasks
