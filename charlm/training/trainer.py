"""Training step and everything that it changes: weights, optimizer moments, carried state."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, Literal

import msgspec
import torch

from charlm.config import Config
from charlm.data.batches import Batch
from charlm.errors import DivergedError
from charlm.models.build import load_weights
from charlm.models.recurrent import (
    Model,
    ModelState,
    autocast,
    detach_state,
    reset_streams,
)
from charlm.models.tensor_layout import (
    MOMENTS,
    STEP,
    carried_name,
    model_layout,
    moment_name,
    specs_of,
)
from charlm.results.training import CpuSeconds, StepMetrics, TrainingProgress
from charlm.runs.checkpoint import Tensors
from charlm.seeding import derive_seed
from charlm.training.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.training.optimizer import AdamW, clip_gradients
from charlm.training.schedule import learning_rate
from charlm.training.weight_dropout import drop_weights, recurrent_weights
from charlm.training.window_loss import window_loss

BETA2 = 0.95  # of AdamW; the recipes were searched with it: docs/explanation/recipes.md


class Trainer(Generic[Model]):
    """State of training: exactly what a checkpoint holds and a resumed run starts from.

    If several processes train together, each has a share of the streams; all else is equal in all
    of them.

    Attributes:
        model: Model in training.
        config: Settings of the whole run.
        max_steps: Steps of the run, which the schedule depends on.
        process_group: Processes that train together.
        carried: State after the last step, of the streams of this process.
        step: Optimizer steps done.
        seconds: Time spent in them.
        cpu: CPU seconds so far; its total is that of earlier processes of the run.
        cpu_start: CPU time of this process at which it began to work on the run.
        best: Step and bits per token of the best validation.
        end_step: Steps after which a branch ends; None outside of branches.
    """

    def __init__(
        self,
        model: Model,
        config: Config,
        max_steps: int,
        process_group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        assert config.learning_rate and config.grad_clip, "the recipe was not applied"
        self.model, self.config, self.max_steps = model, config, max_steps
        self.process_group = process_group
        initial = set(model.initial_states)  # (1, hidden_size), but no matrices: no weight decay
        matrices = [p for p in model.parameters() if p.dim() > 1 and p not in initial]
        vectors = [p for p in model.parameters() if p.dim() <= 1 or p in initial]
        self.optimizer = AdamW(
            [(matrices, config.weight_decay), (vectors, 0.0)], betas=(config.beta1, BETA2)
        )
        self.recurrent_weights = recurrent_weights(model.cells)
        self.carried: ModelState | None = None
        self.step = 0
        self.seconds = 0.0
        self.cpu, self.cpu_start = CpuSeconds(), time.process_time()
        self.updates_start: float | None = None
        self.best: tuple[int, float] | None = None
        self.end_step: int | None = None
        model.train()

    def train_step(self, batch: Batch) -> StepMetrics:
        """Do one optimizer step.

        Args:
            batch: Streams of all processes; x and y: (time, batch).

        Raises:
            DivergedError: The loss or its gradient is not finite; no weight was changed.
        """
        start = time.perf_counter()
        rate = learning_rate(self.config, self.step, self.max_steps, self.end_step)
        # Dropout depends on (seed, step) alone: there is no random state to save.
        seed = derive_seed(self.config.seed, "dropout", self.step)
        # Not torch.manual_seed: it records each call and its stack for devices that are missing.
        torch.default_generator.manual_seed(seed)
        if batch.x.is_cuda:
            torch.cuda.manual_seed(seed)
        elif batch.x.device.type == "mps":
            torch.mps.manual_seed(seed)
        local = self.process_group.local_batch(batch)
        state = self._start_state(batch)

        self.optimizer.zero_grad()
        with drop_weights(self.recurrent_weights, self.config.weight_dropout):
            # All processes drop the same weights, but different outputs.
            if not self.process_group.is_main:
                torch.manual_seed(derive_seed(seed, "rank", self.process_group.rank))
            # Weights, gradients and moments stay in float32 with bf16, too.
            with autocast(self.config.dtype, batch.x.device.type, enabled=True):
                loss, state = window_loss(self.model, local, state, self.config.recompute)
            loss.backward()
            self.process_group.all_reduce_gradients(self.model.parameters())
        norm = clip_gradients(self.model.parameters(), self.config.grad_clip)
        nats, gradient_norm = self.process_group.mean(loss.item()), norm.item()
        if not (math.isfinite(nats) and math.isfinite(gradient_norm)):
            raise DivergedError(
                f"step {self.step + 1}: the loss is {nats}, the norm of its gradient "
                f"{gradient_norm}. The last good checkpoint is kept. Try a lower --learning-rate "
                "or --grad-clip"
            )
        self.optimizer.step(rate)
        self.carried = detach_state(state)
        self.step += 1
        self.seconds += time.perf_counter() - start
        return StepMetrics(
            step=self.step,
            characters=self.step * batch.x.numel(),
            bits=nats / math.log(2),
            gradient_norm=gradient_norm,
            learning_rate=rate,
        )

    def _start_state(self, batch: Batch) -> ModelState:
        """Return the state before a batch: carried, but initial in streams that start afresh."""
        streams = batch.x.shape[1]
        local_streams = streams // self.process_group.size
        if batch.is_epoch_start:
            return self.model.initial_state(local_streams)
        assert self.carried is not None, "a window that continues a stream needs the state before"
        if not self.config.reset_prob:
            return self.carried
        # Drawn for the streams of all processes, as one process would. It depends on (seed, step)
        # alone, as dropout does.
        seed = derive_seed(self.config.seed, "reset", self.step)
        numbers = torch.rand(streams, generator=torch.Generator().manual_seed(seed))
        is_reset = numbers < self.config.reset_prob
        if not is_reset.any():  # in no process: all have gradients of the same parameters
            return self.carried
        is_reset = self.process_group.local_streams(is_reset, 0).to(batch.x.device)
        return reset_streams(self.carried, self.model.initial_state(local_streams), is_reset)

    def add_cpu(self, purpose: Literal["updates", "branches", "looks"], seconds: float) -> None:
        """Add CPU seconds that were spent for a purpose."""
        total = getattr(self.cpu, purpose) + seconds
        self.cpu = msgspec.structs.replace(self.cpu, **{purpose: total})

    def start_updates(self) -> None:
        """Begin to count CPU seconds as updates, unless they are counted already.

        They are counted over many steps: on a busy machine, reading the clock of a process can
        take as long as a small step.
        """
        if self.updates_start is None:
            self.updates_start = time.process_time()

    def stop_updates(self) -> None:
        """Add the CPU seconds since `start_updates`."""
        if self.updates_start is not None:
            self.add_cpu("updates", time.process_time() - self.updates_start)
            self.updates_start = None

    @contextmanager
    def branch(self, end_step: int) -> Iterator[None]:
        """Train a copy in this context; afterwards everything is as before, to the bit.

        The copy is this object itself, since kernels refer to its parameters. Therefore weights,
        moments and carried state are saved and put back.

        Args:
            end_step: Steps after which the learning rate of the copy has decayed.
        """
        device, tensors = self.model.bias.device, self.model.state_dict()
        weights = {name: tensor.clone() for name, tensor in tensors.items()}
        moments = {
            parameter: {name: value.clone() for name, value in named.items()}
            for parameter, named in self.optimizer.moments.items()
        }
        carried = self.carried and tuple(
            tuple(part.clone() for part in layer) for layer in self.carried
        )
        step, seconds, cpu, started = self.step, self.seconds, self.cpu, time.process_time()
        self.end_step = end_step
        try:
            with torch.random.fork_rng([device] if device.type == "cuda" else []):
                yield
        finally:
            with torch.no_grad():
                for name, tensor in tensors.items():
                    tensor.copy_(weights[name])
            self.model.zero_grad()
            self.optimizer.moments, self.carried = moments, carried
            self.step, self.seconds, self.cpu, self.end_step = step, seconds, cpu, None
            self.add_cpu("branches", time.process_time() - started)

    def state_tensors(self) -> Tensors:
        """Return weights ("model"), and moments and carried states of all streams ("training").

        Collective: all processes that train together must call it.
        """
        training = {}
        for name, parameter in self.model.named_parameters():
            for moment, value in self.optimizer.moments.get(parameter, {}).items():
                training[moment_name(moment, name)] = value
        for layer, state in enumerate(self.process_group.gather_state(self.carried or ())):
            for part, value in enumerate(state):
                training[carried_name(layer, part)] = value
        return {"model": self.model.state_dict(), "training": training}

    def load_state(self, tensors: Tensors, progress: TrainingProgress) -> None:
        """Restore the state that a checkpoint holds.

        Raises:
            DataError: The tensors are not exactly those of this model. Nothing was changed.
        """
        device, training = self.model.bias.device, tensors["training"]
        layout = model_layout(self.model, self.config.batch_size)
        layout.check_weights(specs_of(tensors["model"]))
        layout.check_training_state(specs_of(training), progress.step)
        load_weights(self.model, tensors)
        self.optimizer.moments = {
            parameter: {kind: training[moment_name(kind, name)].to(device) for kind in MOMENTS}
            for name, parameter in self.model.named_parameters()
            if moment_name(STEP, name) in training
        }
        self.carried = None
        if progress.step:
            carried = tuple(
                tuple(training[carried_name(layer, part)].to(device) for part in range(len(state)))
                for layer, state in enumerate(self.model.initial_state(1))
            )
            self.carried = self.process_group.local_state(carried)
        self.step, self.seconds, self.cpu = progress.step, progress.seconds, progress.cpu
        if progress.best_step is not None and progress.best_bits is not None:
            self.best = progress.best_step, progress.best_bits

    def cpu_so_far(self) -> CpuSeconds:
        """Return the CPU seconds with those of this process in the total."""
        total = self.cpu.total + time.process_time() - self.cpu_start
        return msgspec.structs.replace(self.cpu, total=total)

    def progress(self, metrics_bytes: int, valid_bits: float | None) -> TrainingProgress:
        """Return where training stands, for a checkpoint.

        Args:
            metrics_bytes: Length of `metrics.jsonl`.
            valid_bits: Validation of exactly these weights, if there was one.
        """
        best_step, best_bits = self.best or (None, None)
        return TrainingProgress(
            step=self.step,
            seconds=self.seconds,
            cpu=self.cpu_so_far(),
            metrics_bytes=metrics_bytes,
            valid_bits=valid_bits,
            best_step=best_step,
            best_bits=best_bits,
        )
