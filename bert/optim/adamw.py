"""AdamW with a switch for bias correction, which torch's own lacks.

p <- p - lr (m / (sqrt(v) + eps) + decay p). With bias correction this is torch.optim.AdamW up to
rounding; without it, the optimizer of the original BERT and of the published fine-tuning recipes.
Composer's DecoupledAdamW (MosaicBERT) multiplies the decay by lr / peak lr instead of lr: its 1e-5
at a peak of 5e-4 is a `weight_decay` of 0.02 here.

Source: Loshchilov and Hutter, 2019, algorithm 2.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bert.kernels.update import Moving
from bert.optim.config import AdamWConfig
from bert.optim.fused import add_direction
from bert.optim.moments import MomentOptimizer, direction


class AdamW(MomentOptimizer):
    """Adam with decoupled weight decay; groups come from `bert.optim.groups.parameter_groups`."""

    def __init__(self, groups: Iterable[dict[str, Any]], config: AdamWConfig) -> None:
        """Takes betas, eps and the switch of `config`; each group has its own `weight_decay`.

        Raises:
            OptimizerError: A parameter is not fp32.
        """
        keys = {"beta1", "beta2", "eps", "bias_correction"}
        super().__init__(groups, config.model_dump(include=keys))

    def update(self, group: dict[str, Any], tensors: Moving) -> None:
        """Takes one step for one group."""
        updates = direction(group, tensors, bias_correction=self.bias_correction(group))
        torch._foreach_mul_(tensors.params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(tensors.params, updates, alpha=-group["lr"])

    def update_fused(self, group: dict[str, Any], tensors: Moving, divisor: Tensor | None) -> None:
        """Takes one step for one group, in one pass."""
        add_direction(
            tensors.params, tensors, group, divisor, factor=-group["lr"],
            decay=group["weight_decay"], bias_correction=self.bias_correction(group),
        )  # fmt: skip

    def bias_correction(self, group: dict[str, Any]) -> bool:
        """As configured."""
        return bool(group["bias_correction"])

    def adaptive(self, group: dict[str, Any]) -> bool:
        """No."""
        return False
