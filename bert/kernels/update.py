"""Adam's and LAMB's step and the norm of gradients as kernels: all tensors of a group in one call.

torch's operations on lists of tensors read and write memory once for each of some ten operations.
Here an element of AdamW moves 28 bytes (p, m, v read and written, g read) and one of LAMB 40 (p, m
and v read again, p written, once the trust ratio is known). The number of threads changes no bit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from bert.kernels.compiled import kernel, kernels_on


class Moving(NamedTuple):
    """Parameters that a step changes, their gradients and moments: lists of equal length."""

    params: list[Tensor]
    grads: list[Tensor]
    exp_avg: list[Tensor]
    exp_avg_sq: list[Tensor]


class Numbers(NamedTuple):
    """A step's numbers, the same for all its tensors."""

    learning_rate: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    step: int | None  # 1-based, for bias correction; None for none
    divisor: float  # of the gradient, before the moments see it


def takes(tensors: Sequence[Tensor]) -> bool:
    """Whether the kernels are on and made for these tensors: fp32, contiguous, on the CPU."""
    return kernels_on() and not any(map(_misfit, tensors))


def adam_step(moving: Moving, numbers: Numbers) -> None:
    """Moves moments and parameters in place: p <- p - rate (m / (sqrt(v) + eps) + decay p).

    Args:
        moving: fp32 tensors of the CPU, contiguous; gradients stay as they are.
        numbers: As in `bert.optim.moments.direction`.

    Raises:
        TypeError: A tensor is of another kind, or not of its parameter's size.
    """
    _step("adam_step", moving, numbers)


def lamb_step(moving: Moving, numbers: Numbers) -> None:
    """As `adam_step`, with each tensor's update scaled by |p| / |u|, or by 1 where one is 0."""
    _step("lamb_step", moving, numbers)


def global_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all tensors together, fp32 of no dimension; not finite if one is not.

    Args:
        tensors: fp32 of the CPU, contiguous.

    Raises:
        TypeError: A tensor is of another kind.
    """
    norm = torch.empty(())
    kernel("global_norm", "ppip")(_addresses(tensors), _sizes(tensors), len(tensors), norm)
    return norm


def _step(name: str, moving: Moving, numbers: Numbers) -> None:
    sizes = _sizes(moving.params)
    for kind in moving[1:]:
        if not torch.equal(_sizes(kind), sizes):
            raise TypeError(
                f"{len(sizes)} parameters have {int(sizes.sum())} elements, their gradients or "
                f"moments {sum(t.numel() for t in kind)} in {len(kind)} tensors; expected one of "
                "each for every parameter, of its size."
            )
    beta1, beta2, step = numbers.beta1, numbers.beta2, numbers.step
    correction1 = 1 - beta1**step if step is not None else 1.0
    correction2 = 1 - beta2**step if step is not None else 1.0
    # (m / c1) / (sqrt(v / c2) + eps) = m / (root sqrt(v) + floor)
    root, floor = correction1 / correction2**0.5, correction1 * numbers.eps
    kernel(name, "ppi" + 9 * "f")(
        torch.stack([_addresses(kind) for kind in moving]), sizes, len(sizes),
        beta1, 1 - beta1, beta2, 1 - beta2, root, floor, numbers.weight_decay,
        1 / numbers.divisor, numbers.learning_rate,
    )  # fmt: skip
    increment_version(moving.params)


def _addresses(tensors: Sequence[Tensor]) -> Tensor:
    """int64 [tensors]: where each one's elements begin."""
    for tensor in tensors:
        if misfit := _misfit(tensor):
            raise TypeError(
                f"A tensor of shape {tuple(tensor.shape)} is {misfit}; the kernels take contiguous "
                "torch.float32 of the CPU. Convert it, or write runtime.kernels: torch."
            )
    return torch.tensor([tensor.data_ptr() for tensor in tensors], dtype=torch.int64)


def _sizes(tensors: Sequence[Tensor]) -> Tensor:
    """int64 [tensors]: their elements."""
    return torch.tensor([tensor.numel() for tensor in tensors], dtype=torch.int64)


def _misfit(tensor: Tensor) -> str:
    """What the kernels do not take about a tensor; empty if they take it."""
    if tensor.dtype != torch.float32:
        return str(tensor.dtype)
    if tensor.device.type != "cpu":
        return f"on {tensor.device}"
    return "" if tensor.is_contiguous() else f"of strides {tensor.stride()}"
