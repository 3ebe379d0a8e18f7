"""AdamW optimizer (Loshchilov & Hutter 2019), computed by PyTorch's function."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


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

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameters, _ in self.groups:
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update all parameters that have a gradient."""
        beta1, beta2 = self.betas
        for parameters, weight_decay in self.groups:
            gradients = {p: p.grad for p in parameters if p.grad is not None}
            if not gradients:
                continue
            for parameter in gradients.keys() - self.moments.keys():
                self.moments[parameter] = initial_moments(parameter)
            moments = [self.moments[parameter] for parameter in gradients]
            steps = [moment["step"] for moment in moments]
            # What torch.optim.adamw.adamw calls, without sorting tensors by device at each step.
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                list(gradients),
                list(gradients.values()),
                [moment["exp_avg"] for moment in moments],
                [moment["exp_avg_sq"] for moment in moments],
                [],
                steps,
                amsgrad=False,
                beta1=beta1,
                beta2=beta2,
                lr=learning_rate,
                weight_decay=weight_decay,
                eps=1e-8,
                maximize=False,
            )


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale all gradients so that their common norm is at most `max_norm`.

    It equals `torch.nn.utils.clip_grad_norm_` to the bit, but multiplies only where that changes
    something, and is spared the sorting by device.

    Returns:
        The norm before.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    scale = max_norm / (norm + 1e-6)
    if scale.item() < 1:
        torch._foreach_mul_(gradients, scale)
    return norm


def initial_moments(parameter: Tensor) -> dict[str, Tensor]:
    """Return the moments before the first step, under PyTorch's names."""
    return {
        "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
        "exp_avg": torch.zeros_like(parameter),
        "exp_avg_sq": torch.zeros_like(parameter),
    }
