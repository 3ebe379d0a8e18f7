"""One file a probe; importing this package registers them all, in the order of a report."""
# ruff: noqa: I001

from charlm.probes import context as context
from charlm.probes import replace as replace
from charlm.probes import shuffle as shuffle
from charlm.probes import recl as recl
from charlm.probes import closing as closing
from charlm.probes import repeat as repeat
from charlm.probes import gradient as gradient
from charlm.probes import timescales as timescales
