"""Global gradient norm and clipping."""

from collections.abc import Iterable

import torch
from torch import Tensor


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
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


@torch.no_grad()
def clip_by_global_norm(
    gradients: Iterable[Tensor], max_norm: float | None, norm: Tensor | None = None
) -> Tensor:
    """Divides all gradients in place by max(1, norm / max_norm); no wait for the device.

    It is the clipping of the original BERT and the pre-scaling of NVIDIA's LAMB. A norm that is not
    finite makes all gradients NaN: check it before.

    Args:
        gradients: fp32 tensors on one device.
        max_norm: Largest norm left alone; None only measures.
        norm: Their `global_norm`, if it is known.

    Returns:
        The norm before clipping, fp32 tensor of no dimension; 0 without gradients.
    """
    gradients = list(gradients)
    norm = global_norm(gradients) if norm is None else norm
    if max_norm is not None and gradients:
        torch._foreach_div_(gradients, torch.clamp(norm / max_norm, min=1.0))
    return norm
