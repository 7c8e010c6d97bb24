"""LAMB: Adam's direction plus weight decay, scaled per tensor by the trust ratio |p| / |u|.

u = m / (sqrt(v) + eps) + decay p,   p <- p - lr r u,   r = |p| / |u|, or 1 if a norm is 0.

| variant | bias correction | trust ratio |
| --- | --- | --- |
| nvidia | yes | where weight decay is not 0 |
| habana | yes | where weight decay is not 0 |
| intel | no | where weight decay is not 0 |
| mlperf | yes | where the group is one that decays, even with a decay of 0 |

apex's FusedLAMB is nvidia; fast_bert's and NVIDIA's LAMB of MLPerf are nvidia, the former without
clipping. Norms are per tensor of this model, whose query, key and value are three, and the ratio
has no bounds. Scaling the gradient by its global norm, which all but Intel do before the moments
see it, is the `divisor` of a step; it acts on the sum over all ranks (MLPerf's code can also clip
each rank's own gradient before the sum).

Source: You et al., 2020, algorithm 2; NVIDIA's FusedLAMB, Habana's and Intel's lamb.py and
MLPerf's lamb_optimizer_v1.py for the differences.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from bert.kernels.update import Moving
from bert.optim.config import LambConfig
from bert.optim.fused import add_direction
from bert.optim.moments import MomentOptimizer, direction


class Lamb(MomentOptimizer):
    """LAMB in one of its variants; groups come from `bert.optim.groups.parameter_groups`."""

    def __init__(self, groups: Iterable[dict[str, Any]], config: LambConfig) -> None:
        """Takes the betas, eps and variant of `config`; each group has its own `weight_decay`.

        Raises:
            OptimizerError: A parameter is not fp32.
        """
        super().__init__(groups, config.model_dump(include={"variant", "beta1", "beta2", "eps"}))

    def update(self, group: dict[str, Any], tensors: Moving) -> None:
        """Takes one step for one group."""
        updates = direction(group, tensors, bias_correction=self.bias_correction(group))
        torch._foreach_add_(updates, tensors.params, alpha=group["weight_decay"])
        if self.adaptive(group):
            torch._foreach_mul_(updates, trust_ratios(tensors.params, updates))
        torch._foreach_add_(tensors.params, updates, alpha=-group["lr"])

    def update_fused(self, group: dict[str, Any], tensors: Moving, divisor: Tensor | None) -> None:
        """Takes one step for one group, in four passes: decay, direction, norms, update."""
        updates = torch._foreach_mul(tensors.params, group["weight_decay"])
        add_direction(
            list(updates), tensors, group, divisor, factor=1.0, decay=0.0,
            bias_correction=self.bias_correction(group),
        )  # fmt: skip
        if self.adaptive(group):
            ratios = trust_ratios(tensors.params, list(updates))
            torch._foreach_addcmul_(tensors.params, updates, ratios, value=-group["lr"])
        else:
            torch._foreach_add_(tensors.params, updates, alpha=-group["lr"])

    def bias_correction(self, group: dict[str, Any]) -> bool:
        """Every variant has it but Intel's."""
        return bool(group["variant"] != "intel")

    def adaptive(self, group: dict[str, Any]) -> bool:
        """A group that decays, by its name in MLPerf's variant, by its number in the others."""
        return bool(group["decays"] if group["variant"] == "mlperf" else group["weight_decay"])


def trust_ratios(params: list[Tensor], updates: list[Tensor]) -> list[Tensor]:
    """|p| / |u| of each pair as a tensor of no dimension; 1 where one of the two norms is 0."""
    param_norms = torch.stack(torch._foreach_norm(params))
    update_norms = torch.stack(torch._foreach_norm(updates))
    usable = (param_norms > 0) & (update_norms > 0)
    ratios = torch.where(usable, param_norms / update_norms, torch.ones_like(param_norms))
    return list(ratios.unbind())
