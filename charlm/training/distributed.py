"""Data-parallel training: several processes that torchrun starts train one model together.

Each process has a share of the streams. Gradients are averaged, and carried states are gathered
for checkpoints, so that files of the run are those of one process with the same batch.
"""

from collections.abc import Iterable

import msgspec
import torch
import torch.distributed as dist
from torch import Tensor

from charlm.cells.base import State
from charlm.config import Config
from charlm.data.batches import Batch
from charlm.errors import ConfigError
from charlm.execution.torchrun import world_size


class ProcessGroup:
    """The processes that train together. Rank 0 alone writes files and messages.

    All processes must call the collective methods in the same order.
    """

    def __init__(self, rank: int, size: int, device: str = "cpu") -> None:
        """Create a group of `size` processes, of which this one is `rank`, on its device."""
        self.rank, self.size, self.device = rank, size, device

    @property
    def is_main(self) -> bool:
        """True for the process that writes files and messages."""
        return self.rank == 0

    def local_batch(self, batch: Batch) -> Batch:
        """Return the streams of this process."""
        if self.size == 1:
            return batch
        x, y = self.local_streams(batch.x, 1), self.local_streams(batch.y, 1)
        starts = batch.starts
        if starts is not None:
            starts = self.local_streams(starts, 1)
        return Batch(x, y, batch.is_epoch_start, starts)

    def local_state(self, state: tuple[State, ...]) -> tuple[State, ...]:
        """Return the states of the streams of this process."""
        return tuple(tuple(self.local_streams(part, 0) for part in layer) for layer in state)

    def local_streams(self, all_streams: Tensor, dim: int) -> Tensor:
        """Return the part of a tensor that belongs to the streams of this process."""
        return all_streams.chunk(self.size, dim)[self.rank]

    def gather_state(self, state: tuple[State, ...]) -> tuple[State, ...]:
        """Return the states of all streams, in order; collective."""
        return tuple(tuple(self._gather(part) for part in layer) for layer in state)

    def _gather(self, local_part: Tensor) -> Tensor:
        if self.size == 1:
            return local_part
        parts = [torch.empty_like(local_part) for _ in range(self.size)]
        dist.all_gather(parts, local_part.contiguous())
        return torch.cat(parts)

    def all_reduce_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Replace the gradients by their mean over all processes; collective.

        One flat tensor has the same layout at every step. So each number is summed in the same
        order, however often the run was stopped. DistributedDataParallel changes its buckets after
        its first step; with three processes a resumed run then differed.
        """
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        parts = (flat / self.size).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, value: float) -> float:
        """Return the mean over all processes; collective."""
        return self._sum(value) / self.size

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set in any process; collective."""
        return self._sum(flag) > 0

    def broadcast_value(self, value: float | None) -> float:
        """Return the value of rank 0; the others' are ignored. Collective."""
        return self._sum(value if self.is_main and value is not None else 0.0)

    def _sum(self, value: float) -> float:
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return total.item()

    def barrier(self) -> None:
        """Wait for all processes; collective."""
        self._sum(0.0)

    def shutdown(self) -> None:
        """Leave the group together, so that no process waits for one that is gone; collective."""
        self.barrier()
        if self.size > 1:
            dist.destroy_process_group()


SINGLE_PROCESS = ProcessGroup(0, 1)


def per_process_config(config: Config) -> Config:
    """Return the config with the batch size of one process, which decides its time and memory."""
    return msgspec.structs.replace(config, batch_size=config.batch_size // world_size())


def init_process_group(device: str, batch_size: int) -> ProcessGroup:
    """Connect to the other processes, if torchrun started any.

    Args:
        device: Device of this process.
        batch_size: Streams of all processes together.

    Raises:
        ConfigError: The streams cannot be shared evenly.
    """
    size = world_size()
    if size == 1:
        return SINGLE_PROCESS
    if batch_size % size:
        raise ConfigError(
            f"--batch-size {batch_size}: {size} processes cannot share the streams evenly. "
            f"Try --batch-size {-(-batch_size // size) * size}"
        )
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return ProcessGroup(dist.get_rank(), size, device)
