"""What Adam and LAMB share: two moments a parameter, one step counter a group, fp32 throughout.

The learning rate and the step counter are plain numbers in the parameter groups, so a step never
waits for the device and a saved state loads with `weights_only=True`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bert.checkpoints.checkpoint import load_optimizer, optimizer_tensors
from bert.kernels.update import Moving, Numbers, adam_step, lamb_step, takes


class OptimizerError(ValueError):
    """Parameters that an optimizer cannot hold."""


class HasGroups(Protocol):
    """An optimizer, sharded or not: what the learning rate and the counter are set on."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Parameter groups with keys `lr` and `step`, among others."""


class MomentOptimizer(torch.optim.Optimizer, ABC):
    """Keeps the moments and the counter; a subclass turns them into an update.

    On a CPU with the native kernels that update is one of `bert.kernels.update`, the same within
    rounding; a subclass says which.

    Group keys: `lr` (set by the loop before every step), `rate_factor` (on the loop's rate),
    `step` (updates taken), `beta1`, `beta2`, `eps`, `weight_decay`, and what the subclass adds.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], defaults: dict[str, Any]) -> None:
        """Starts with a learning rate of 0, which the loop sets before every step.

        Args:
            groups: As `bert.optim.groups.parameter_groups` makes them.
            defaults: Group keys for groups that do not have their own.

        Raises:
            OptimizerError: A parameter is not fp32.
        """
        super().__init__(list(groups), {"lr": 0.0, "step": 0} | defaults)
        for group in self.param_groups:
            for param in group["params"]:
                if param.dtype != torch.float32:
                    raise OptimizerError(
                        f"A parameter of shape {tuple(param.shape)} is {param.dtype}; expected "
                        "torch.float32. Keep parameters in fp32 and compute under autocast."
                    )

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, *, divisor: Tensor | None = None
    ) -> None:
        """Takes one step with the gradients divided by `divisor`; they may stay divided.

        Parameters without gradient are left alone, weight decay included.

        Args:
            closure: Not supported; torch's base class has it.
            divisor: fp32 of no dimension on the gradients' device, as `clip_divisor` gives it;
                None for 1.
        """
        if closure is not None:
            raise OptimizerError("A closure was given; this optimizer takes none. Call backward.")
        for group in self.param_groups:
            group["step"] += 1
            tensors = self._tensors(group["params"])
            if takes(tensors.params):
                step = lamb_step if self.adaptive(group) else adam_step
                step(tensors, self._numbers(group, divisor))
            elif tensors.params and tensors.params[0].is_cuda:
                self.update_fused(group, tensors, divisor)
            elif tensors.params:
                if divisor is not None:
                    torch._foreach_div_(tensors.grads, divisor)
                self.update(group, tensors)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes moments and step counters of a saved state; the settings stay this optimizer's.

        So a second phase with another weight decay or other betas gets what its config says.

        Raises:
            OptimizerError: The state is of other parameters, or of another order.
        """
        own = [_settings(group) for group in self.param_groups]
        expected = [group.get("names") for group in own]
        found = [group.get("names") for group in state_dict["param_groups"]]
        if found != expected:
            raise OptimizerError(
                f"The saved optimizer state is of the parameters {str(found)[:120]}; expected "
                f"{str(expected)[:120]}. Continue with the `model` section that wrote it."
            )
        super().load_state_dict(state_dict)
        for group, settings in zip(self.param_groups, own, strict=True):
            group.update(settings)

    def tensors(self, model: nn.Module) -> dict[str, Tensor]:
        """Moments for a checkpoint, `<key>:<parameter name>`; they share the optimizer's memory."""
        return optimizer_tensors(model, self)

    def load(self, model: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
        """Takes what `tensors` gave; the step counter is set on the groups.

        Raises:
            CheckpointError: A tensor belongs to no parameter, or some parameter has none.
        """
        load_optimizer(model, self, tensors, folder)

    def forget(self) -> None:
        """Drops the moments, as if no step had been taken; the counters stay."""
        self.state.clear()

    @abstractmethod
    def update(self, group: dict[str, Any], tensors: Moving) -> None:
        """Changes moments and parameters in place; `group["step"]` is the 1-based step."""

    @abstractmethod
    def update_fused(self, group: dict[str, Any], tensors: Moving, divisor: Tensor | None) -> None:
        """As `update` with gradients divided by `divisor`, by fewer passes over a GPU's memory."""

    @abstractmethod
    def bias_correction(self, group: dict[str, Any]) -> bool:
        """Whether young moments are scaled up."""

    @abstractmethod
    def adaptive(self, group: dict[str, Any]) -> bool:
        """Whether each tensor's update is scaled by its trust ratio."""

    def _numbers(self, group: dict[str, Any], divisor: Tensor | None) -> Numbers:
        return Numbers(
            group["lr"],
            group["beta1"],
            group["beta2"],
            group["eps"],
            group["weight_decay"],
            group["step"] if self.bias_correction(group) else None,
            1.0 if divisor is None else float(divisor),
        )

    def _tensors(self, params: list[Tensor]) -> Moving:
        live = [param for param in params if param.grad is not None]
        for param in live:
            if not self.state[param]:
                self.state[param]["exp_avg"] = torch.zeros_like(param)
                self.state[param]["exp_avg_sq"] = torch.zeros_like(param)
        return Moving(
            live,
            [param.grad for param in live if param.grad is not None],
            [self.state[param]["exp_avg"] for param in live],
            [self.state[param]["exp_avg_sq"] for param in live],
        )


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key not in {"params", "step"}}


def direction(group: dict[str, Any], tensors: Moving, *, bias_correction: bool) -> list[Tensor]:
    """Updates the moments in place and returns Adam's direction m / (sqrt(v) + eps), new tensors.

    m <- beta1 m + (1 - beta1) g and v <- beta2 v + (1 - beta2) g^2; with bias correction both are
    divided by 1 - beta^step before use. Source: Kingma and Ba, 2015, algorithm 1.
    """
    beta1, beta2, step = group["beta1"], group["beta2"], group["step"]
    torch._foreach_mul_(tensors.exp_avg, beta1)
    torch._foreach_add_(tensors.exp_avg, tensors.grads, alpha=1 - beta1)
    torch._foreach_mul_(tensors.exp_avg_sq, beta2)
    torch._foreach_addcmul_(tensors.exp_avg_sq, tensors.grads, tensors.grads, value=1 - beta2)
    correction1 = 1 - beta1**step if bias_correction else 1.0
    correction2 = 1 - beta2**step if bias_correction else 1.0
    denominator = torch._foreach_sqrt(tensors.exp_avg_sq)
    torch._foreach_div_(denominator, correction2**0.5)
    torch._foreach_add_(denominator, group["eps"])
    # m / (c1 * denominator) in the denominator's memory saves one copy of the model.
    torch._foreach_mul_(denominator, correction1)
    torch._foreach_reciprocal_(denominator)
    torch._foreach_mul_(denominator, tensors.exp_avg)
    return list(denominator)


def reset_step(optimizer: HasGroups) -> None:
    """Starts a phase: moments are kept, the counter and with it bias correction start again.

    This is the phase switch of NVIDIA's, Habana's and gpauloski's recipes.
    """
    for group in optimizer.param_groups:
        group["step"] = 0


def set_learning_rate(optimizer: HasGroups, value: float) -> None:
    """Sets every group's learning rate for the next step: `value`, times its `rate_factor`."""
    for group in optimizer.param_groups:
        group["lr"] = value * group.get("rate_factor", 1.0)
