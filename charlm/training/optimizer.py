"""AdamW optimizer (Loshchilov & Hutter 2019), computed by PyTorch's function."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    """AdamW with decoupled weight decay.

    It equals `torch.optim.AdamW` to the bit, but creating one of those imports PyTorch's compiler:
    two seconds of every process that trains.

    Attributes:
        groups: Parameters and their weight decay.
        betas: Decay rates of the averages of the gradient and of its square.
        moments: Averages of each parameter that has ever had a gradient, under PyTorch's names.
    """

    def __init__(
        self, groups: Iterable[tuple[Sequence[Tensor], float]], betas: tuple[float, float]
    ) -> None:
        self.groups = list(groups)
        self.betas = betas
        self.moments: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update all parameters that have a gradient."""
        beta1, beta2 = self.betas
        for parameters, weight_decay in self.groups:
            gradients = {p: p.grad for p in parameters if p.grad is not None}
            for parameter in gradients.keys() - self.moments.keys():
                self.moments[parameter] = initial_moments(parameter)
            moments = [self.moments[parameter] for parameter in gradients]
            adamw(
                list(gradients),
                list(gradients.values()),
                [moment["exp_avg"] for moment in moments],
                [moment["exp_avg_sq"] for moment in moments],
                [],
                [moment["step"] for moment in moments],
                fused=True,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=learning_rate,
                weight_decay=weight_decay,
                eps=1e-8,
                maximize=False,
            )


def initial_moments(parameter: Tensor) -> dict[str, Tensor]:
    """Return the moments before the first step, under PyTorch's names."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
