"""One file per faster unroll; importing this package registers them all."""

from charlm.kernels import compiled as compiled
from charlm.kernels import fused as fused
