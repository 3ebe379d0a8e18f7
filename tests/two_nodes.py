"""A Ray cluster of two nodes with a core each, in processes of its own.

Prints its address. At a line on standard input one node is as if its power was cut, once the run
that it makes has a checkpoint, and the run is printed; at the end of that, all ends.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import RayExecutor

SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
SOON |= {"health_check_failure_threshold": 4, "health_check_timeout_ms": 2000}


def tree(top: int) -> list[int]:
    """This process and all that come from it."""
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat")]
    parents = {int(one.split()[0]): int(one.rpartition(")")[2].split()[1]) for one in stats}
    found = [top]
    for one in found:
        found += [process for process, parent in parents.items() if parent == one]
    return found


def saved(processes: list[int]) -> list[Path]:
    """The runs that these make, if they have a checkpoint."""
    words = [Path(f"/proc/{one}/cmdline").read_text().split("\0") for one in processes]
    runs = [Path(one[one.index("--run") + 1]) for one in words if "--run" in one]
    return [run for run in runs if list(run.glob("checkpoints/step-*"))]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as place:
        # Where Ray notes the address: neither that of another cluster, nor where nothing is yet.
        os.environ["RAY_TMPDIR"] = place
        (Path(place) / "ray").mkdir()
        size = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        head = {**size, "include_dashboard": False, "temp_dir": place, "_system_config": SOON}
        cluster = RayExecutor(initialize_head=True, head_node_args=head)
        other = cluster.add_node(**size)
        cluster.wait_for_nodes()
        print(cluster.address, flush=True)
        for _ in sys.stdin:
            raylet = other.all_processes["raylet"][0].process.pid
            while not (runs := saved(tree(raylet))):
                time.sleep(0.02)
            for process in tree(raylet):
                os.kill(process, signal.SIGKILL)
            print(*runs, flush=True)
        cluster.shutdown()


main()
