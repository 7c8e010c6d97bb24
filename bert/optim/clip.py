"""Global gradient norm and clipping."""

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def clip_by_global_norm(gradients: Iterable[Tensor], max_norm: float | None) -> Tensor:
    """Divides all gradients in place by max(1, norm / max_norm); no wait for the device.

    It is the clipping of the original BERT and the pre-scaling of NVIDIA's LAMB. A gradient that
    is not finite gives a norm that is not finite: check it before the step.

    Args:
        gradients: fp32 tensors on one device.
        max_norm: Largest norm left alone; None only measures.

    Returns:
        The norm before clipping, fp32 tensor of no dimension; 0 without gradients.
    """
    gradients = list(gradients)
    if not gradients:
        return torch.zeros(())
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    if max_norm is not None:
        torch._foreach_div_(gradients, torch.clamp(norm / max_norm, min=1.0))
    return norm
