"""Several processes that train one model together, each some of the streams (torchrun starts them).

What one process would carry and average is what they carry and average together, so that a run's
record, checkpoints and metrics are those of one process with the same batch.
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
    """The processes and which of them this one is; the first alone writes and speaks.

    What is exchanged is exchanged in the same order by all of them.
    """

    def __init__(self, rank: int, size: int, device: str = "cpu") -> None:
        self.rank, self.size, self.device = rank, size, device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def local_batch(self, batch: Batch) -> Batch:
        """Of all streams, those of this process."""
        if self.size == 1:
            return batch
        return Batch(self._mine(batch.x, 1), self._mine(batch.y, 1), batch.is_epoch_start)

    def local_state(self, state: tuple[State, ...]) -> tuple[State, ...]:
        """Of the states of all streams, those of this process."""
        return tuple(tuple(self._mine(part, 0) for part in layer) for layer in state)

    def _mine(self, all_streams: Tensor, dim: int) -> Tensor:
        return all_streams.chunk(self.size, dim)[self.rank]

    def gather_state(self, state: tuple[State, ...]) -> tuple[State, ...]:
        """The states of all streams, from those of each process."""
        return tuple(tuple(self._all(part) for part in layer) for layer in state)

    def _all(self, mine: Tensor) -> Tensor:
        if self.size == 1:
            return mine
        parts = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(parts, mine.contiguous())
        return torch.cat(parts)

    def all_reduce_gradients(self, weights: Iterable[Tensor]) -> None:
        """Makes the gradients the mean of all processes'.

        All in one piece, which always has the same layout: so each number is summed in the same
        order however often the run was stopped. PyTorch's DistributedDataParallel lays its pieces
        out anew after its first update; with three processes a resumed run then differed.
        """
        if self.size == 1:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(whole)
        parts = (whole / self.size).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, value: float) -> float:
        """Of all processes' values."""
        return self._sum(value) / self.size

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of the processes."""
        return self._sum(flag) > 0

    def broadcast_value(self, value: float | None) -> float:
        """The first one's value; that of others does not count."""
        return self._sum(value if self.is_main and value is not None else 0.0)

    def _sum(self, value: float) -> float:
        if self.size == 1:
            return value
        held = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(held)
        return held.item()

    def barrier(self) -> None:
        """Until all processes are here."""
        self._sum(0.0)

    def shutdown(self) -> None:
        """All at once: who still waits for another must not find it gone."""
        self.barrier()
        if self.size > 1:
            dist.destroy_process_group()


SINGLE_PROCESS = ProcessGroup(0, 1)


def per_process_config(config: Config) -> Config:
    """What each of the processes trains: its share of the streams. It costs its time and memory."""
    return msgspec.structs.replace(config, batch_size=config.batch_size // world_size())


def init_process_group(device: str, streams: int) -> ProcessGroup:
    """Meets the other processes, if there are any, to share so many streams."""
    size = world_size()
    if size == 1:
        return SINGLE_PROCESS
    if streams % size:
        raise ConfigError(
            f"--batch-size {streams}: {size} processes cannot have as many streams each. "
            f"Try --batch-size {-(-streams // size) * size}"
        )
    if device.startswith("cuda"):
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return ProcessGroup(dist.get_rank(), size, device)
