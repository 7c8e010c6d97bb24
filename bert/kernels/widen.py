"""bf16 to fp32 in one pass, as it lies or transposed.

A matrix product in bf16 leaves a weight's gradient in bf16, and transposed where that product is
the faster one; the parameter's gradient is fp32.
"""

import torch
from torch import Tensor

from bert.kernels.compiled import kernel


def widen(source: Tensor, *, transposed: bool = False) -> Tensor:
    """The same values in fp32, a new tensor.

    Args:
        source: bf16, contiguous, on the CPU.
        transposed: Whether the result is that of [in, out] as [out, in].

    Raises:
        TypeError: The tensor is of another kind.
    """
    if source.dtype != torch.bfloat16 or (transposed and source.dim() != 2):
        expected = "torch.bfloat16 of two dimensions" if transposed else "torch.bfloat16"
        raise TypeError(
            f"The source is {source.dtype} of shape {tuple(source.shape)}; expected {expected}."
        )
    target = torch.empty(source.shape[::-1] if transposed else source.shape, dtype=torch.float32)
    if transposed:
        kernel("widen_transposed", "ppii")(source, target, *source.shape)
    else:
        kernel("widen", "ppi")(source, target, source.numel())
    return target
