"""A Ray cluster of two nodes with one core each, in separate processes.

It prints its address. For a line on standard input it kills one node, as a power cut would, once
the run there has a checkpoint, and prints the run. It ends at the end of standard input.
"""

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

SOON = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
SOON |= {"health_check_failure_threshold": 4, "health_check_timeout_ms": 2000}


def tree(top: int) -> list[int]:
    """Return a process and all its descendants."""
    stats = [path.read_text() for path in Path("/proc").glob("[0-9]*/stat")]
    parents = {int(stat.split()[0]): int(stat.rpartition(")")[2].split()[1]) for stat in stats}
    processes = [top]
    for process in processes:
        processes += [child for child, parent in parents.items() if parent == process]
    return processes


def saved(processes: list[int]) -> list[Path]:
    """Return the runs that these processes write, if they have a checkpoint."""
    words = [Path(f"/proc/{process}/cmdline").read_text().split("\0") for process in processes]
    options = ("--run", "--resume")
    runs = [Path(line[line.index(o) + 1]) for line in words for o in options if o in line]
    return [run for run in runs if list(run.glob("checkpoints/step-*"))]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as directory:
        # Ray writes its address here; it must be neither that of another cluster nor missing.
        os.environ["RAY_TMPDIR"] = directory
        (Path(directory) / "ray").mkdir()
        size = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
        head = {**size, "include_dashboard": False, "temp_dir": directory, "_system_config": SOON}
        cluster = Cluster(initialize_head=True, head_node_args=head)
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
