"""Adam's direction by torch's fused kernel: hundreds of tensors in a few launches, on a GPU.

An operation on lists of tensors reads and writes memory once, and Adam's direction takes eleven of
them. The fused one reads gradient, moments and target once and writes them once. It divides the
gradients itself, and takes all numbers from the host, so it waits for nothing.
"""

import math
from typing import Any

import torch
from torch import Tensor

from bert.kernels.update import Moving


def add_direction(
    targets: list[Tensor], tensors: Moving, group: dict[str, Any], divisor: Tensor | None, *,
    factor: float, decay: float, bias_correction: bool,
) -> None:  # fmt: skip
    """Updates the moments, then target <- (1 + factor decay) target + factor m / (sqrt(v) + eps).

    With factor = -rate and the parameters as targets, this is AdamW. Moments are as in
    `bert.optim.moments.direction`, to which it is equal within rounding.

    Args:
        targets: fp32, changed in place, one for each gradient and of its shape.
        tensors: Gradients, which stay divided, and moments, which change.
        group: Its `beta1`, `beta2`, `eps` and `step`, 1-based.
        divisor: Of the gradients, fp32 of no dimension on their device; None for 1.
        factor: What the direction is multiplied by.
        decay: Weight decay, 0 for none.
        bias_correction: Whether young moments are scaled up.
    """
    # After infinitely many steps nothing is left to correct: beta^inf = 0.
    step = float(group["step"]) if bias_correction else math.inf
    counter = torch.full((), step, device=targets[0].device)
    torch._fused_adamw_(
        targets, tensors.grads, tensors.exp_avg, tensors.exp_avg_sq, [],
        [counter] * len(targets), lr=-factor, beta1=group["beta1"], beta2=group["beta2"],
        weight_decay=decay, eps=group["eps"], amsgrad=False, maximize=False, grad_scale=divisor,
    )  # fmt: skip
