"""What training changes, one update at a time."""

import math
import time
from typing import Generic

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from charlm.config import Config
from charlm.data.batches import Batch
from charlm.errors import DataError, DivergedError
from charlm.models.build import load_weights
from charlm.models.recurrent import Model, ModelState, detach_state
from charlm.results.training import StepMetrics, TrainingProgress
from charlm.runs.checkpoint import Tensors
from charlm.seeding import derive_seed
from charlm.training.distributed import SINGLE_PROCESS, ProcessGroup
from charlm.training.optimizer import AdamW
from charlm.training.schedule import learning_rate
from charlm.training.weight_dropout import drop_weights, recurrent_weights


class Trainer(Generic[Model]):
    """All that training changes: what a checkpoint holds, and what a resumed run begins from.

    Where several processes train together, each has a share of the streams; all else is the same
    in every one of them.
    """

    def __init__(
        self, model: Model, config: Config, updates: int, ranks: ProcessGroup = SINGLE_PROCESS
    ) -> None:
        self.model, self.config, self.max_steps, self.process_group = model, config, updates, ranks
        starts = set(model.initial_states)  # learned start states are (1, hidden), but no matrices
        matrices = [p for p in model.parameters() if p.dim() > 1 and p not in starts]
        vectors = [p for p in model.parameters() if p.dim() <= 1 or p in starts]
        self.optimizer = AdamW(
            [(matrices, config.weight_decay), (vectors, 0.0)],
            betas=(config.beta1, 0.99),  # 0.999 remembers longer than such short runs last
        )
        self.recurrent_weights = recurrent_weights(model.cells)
        self.carried: ModelState | None = None
        self.step = 0
        self.seconds = 0.0
        self.best: tuple[int, float] | None = None
        model.train()

    def train_step(self, batch: Batch) -> StepMetrics:
        """One update. A loss or gradient that is not finite raises before anything is changed."""
        began = time.perf_counter()
        rate = learning_rate(self.config, self.step, self.max_steps)
        # Dropout draws from (seed, update) alone: there is no random state to save or to disturb.
        seed = derive_seed(self.config.seed, "dropout", self.step)
        # Not torch.manual_seed: for devices that are not there it keeps each call and its stack.
        torch.default_generator.manual_seed(seed)
        if batch.x.is_cuda:
            torch.cuda.manual_seed(seed)
        mine = self.process_group.local_batch(batch)
        before = self.model.initial_state(mine.x.shape[1]) if batch.is_epoch_start else self.carried
        assert before is not None, "a window that continues a stream needs the state before it"

        self.model.zero_grad()
        with drop_weights(self.recurrent_weights, self.config.weight_dropout):
            if (
                not self.process_group.is_main
            ):  # the weights dropped are the same for all, the outputs not
                torch.manual_seed(derive_seed(seed, "rank", self.process_group.rank))
            loss, after = self.model.loss(mine, before)
            loss.backward()
            self.process_group.all_reduce_gradients(self.model.parameters())
        norm = clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        nats, gradient = self.process_group.mean(loss.item()), norm.item()
        if not (math.isfinite(nats) and math.isfinite(gradient)):
            raise DivergedError(
                f"update {self.step + 1}: the loss is {nats}, its gradient's norm {gradient}. "
                "The last good checkpoint is kept; train with a lower --learning-rate or --grad-clip"
            )
        self.optimizer.step(rate)
        self.carried = detach_state(after)
        self.step += 1
        self.seconds += time.perf_counter() - began
        return StepMetrics(
            self.step, self.step * batch.x.numel(), nats / math.log(2), gradient, rate
        )

    def state_tensors(self) -> Tensors:
        """Weights under "model"; moments and the carried state of all streams under "training".

        Where several processes train together, all must ask.
        """
        training = {}
        for name, parameter in self.model.named_parameters():
            for moment, value in self.optimizer.moments.get(parameter, {}).items():
                training[f"{moment}/{name}"] = value
        for layer, state in enumerate(self.process_group.gather_state(self.carried or ())):
            for part, value in enumerate(state):
                training[f"carried/{layer}/{part}"] = value
        return {"model": self.model.state_dict(), "training": training}

    def load_state(self, tensors: Tensors, progress: TrainingProgress) -> None:
        """Exactly as it was when these were saved."""
        device = self.model.bias.device
        load_weights(self.model, tensors)
        carried: dict[int, list[Tensor]] = {}
        parameters = dict(self.model.named_parameters())
        for name, value in sorted(tensors["training"].items()):
            kind, _, which = name.partition("/")
            if kind == "carried":
                layer, _, _ = which.partition("/")
                carried.setdefault(int(layer), []).append(value.to(device))
            elif which in parameters:
                moments = self.optimizer.moments.setdefault(parameters[which], {})
                moments[kind] = value.to(device)
            else:
                raise DataError(f"the checkpoint has moments of an unknown weight {which}")
        every = tuple(tuple(carried[layer]) for layer in sorted(carried))
        self.carried = self.process_group.local_state(every) or None
        self.step, self.seconds = progress.step, progress.seconds
        if progress.best_step is not None and progress.best_bits is not None:
            self.best = progress.best_step, progress.best_bits

    def progress(self, metrics_bytes: int, valid_bits: float | None) -> TrainingProgress:
        best_update, best_bits = self.best or (None, None)
        return TrainingProgress(
            step=self.step,
            seconds=self.seconds,
            metrics_bytes=metrics_bytes,
            valid_bits=valid_bits,
            best_step=best_update,
            best_bits=best_bits,
        )
