"""AdamW (Loshchilov & Hutter 2019), as PyTorch has it."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    """PyTorch's function, and the moments that it needs. The class torch.optim.AdamW is as good,
    but to make one loads PyTorch's compiler: two seconds of every process that trains.
    """

    def __init__(
        self, groups: Iterable[tuple[Sequence[Tensor], float]], betas: tuple[float, float]
    ) -> None:
        """groups: parameters and the weight decay that they have."""
        self.groups = list(groups)
        self.betas = betas
        self.moments: dict[Tensor, dict[str, Tensor]] = {}  # of what has ever had a gradient

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update of all that have a gradient."""
        beta1, beta2 = self.betas
        for parameters, decay in self.groups:
            gradients = {one: one.grad for one in parameters if one.grad is not None}
            for one in gradients.keys() - self.moments.keys():
                self.moments[one] = initial_moments(one)
            moments = [self.moments[one] for one in gradients]
            adamw(
                list(gradients),
                list(gradients.values()),
                [kept["exp_avg"] for kept in moments],
                [kept["exp_avg_sq"] for kept in moments],
                [],
                [kept["step"] for kept in moments],
                fused=True,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=rate,
                weight_decay=decay,
                eps=1e-8,
                maximize=False,
            )


def initial_moments(parameter: Tensor) -> dict[str, Tensor]:
    """The moments before the first update, under PyTorch's names."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
