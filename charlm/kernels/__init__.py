"""One file per faster unroll; importing this package registers them all."""

from charlm.kernels import bptt as bptt
from charlm.kernels import chunkwise as chunkwise
from charlm.kernels import compiled as compiled
from charlm.kernels import fused as fused
from charlm.kernels import scan as scan
from charlm.kernels import windowed as windowed
