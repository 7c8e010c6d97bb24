"""bf16 to fp32 in one pass, stored or added, as it lies or transposed.

A matrix product in bf16 leaves a weight's gradient in bf16, and transposed where that product is
the faster one; the parameter's gradient is fp32.
"""

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from bert.kernels.library import kernel


def widen(source: Tensor, *, transposed: bool = False) -> Tensor:
    """The same values in fp32, a new tensor.

    Args:
        source: bf16, contiguous, on the CPU.
        transposed: Whether the result is that of [in, out] as [out, in].

    Raises:
        TypeError: The tensor is of another kind.
    """
    _check(source, transposed)
    target = torch.empty(_shape(source, transposed), dtype=torch.float32)
    _run("widen", source, target, transposed)
    return target


def add_widened(target: Tensor, source: Tensor, *, transposed: bool = False) -> None:
    """Adds the values to fp32 ones in place.

    Args:
        target: fp32, contiguous, on the CPU; its version counter moves.
        source: bf16 as in `widen`, of the same shape, or of the transposed one.
        transposed: Whether `source` is [in, out] where `target` is [out, in].

    Raises:
        TypeError: A tensor is of another kind or shape.
    """
    _check(source, transposed)
    shape = _shape(source, transposed)
    if target.shape != shape or target.dtype != torch.float32:
        raise TypeError(
            f"The target is {target.dtype} {tuple(target.shape)} for a source of "
            f"{tuple(source.shape)}; expected torch.float32 {tuple(shape)}."
        )
    _run("add_widened", source, target, transposed)
    increment_version(target)


def _check(source: Tensor, transposed: bool) -> None:
    if source.dtype != torch.bfloat16 or (transposed and source.dim() != 2):
        expected = "torch.bfloat16 of two dimensions" if transposed else "torch.bfloat16"
        raise TypeError(
            f"The source is {source.dtype} of shape {tuple(source.shape)}; expected {expected}."
        )


def _shape(source: Tensor, transposed: bool) -> torch.Size:
    return source.shape[::-1] if transposed else source.shape


def _run(name: str, source: Tensor, target: Tensor, transposed: bool) -> None:
    if transposed:
        kernel(f"{name}_transposed", "ppii")(source, target, *source.shape)
    else:
        kernel(name, "ppi")(source, target, source.numel())
