"""Global gradient norm and clipping."""

from collections.abc import Iterable

import torch
from torch import Tensor

from bert.kernels import update


@torch.no_grad()
def global_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Euclidean norm of all gradients together; no wait for the device.

    Args:
        gradients: fp32 tensors on one device.

    Returns:
        fp32 tensor of no dimension; 0 without gradients. Not finite if a gradient is not.
    """
    gradients = list(gradients)
    if not gradients:
        return torch.zeros(())
    if update.takes(gradients):
        return update.global_norm(gradients)
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


def clip_divisor(norm: Tensor, max_norm: float | None) -> Tensor | None:
    """What a step divides the gradients by: max(1, norm / max_norm); no wait for the device.

    It is the clipping of the original BERT and the pre-scaling of NVIDIA's LAMB. The optimizer
    divides, so that the gradients need not be read and written once more. A norm that is not finite
    makes all gradients NaN: check it before.

    Args:
        norm: The gradients' `global_norm`, fp32 tensor of no dimension.
        max_norm: Largest norm left alone; None for any.

    Returns:
        fp32 tensor of no dimension on the norm's device; None without `max_norm`.
    """
    return None if max_norm is None else torch.clamp(norm / max_norm, min=1.0)
