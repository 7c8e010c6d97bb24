"""LayerNorm(residual + dropout(branch + bias)) and its gradient (source/norm.cpp)."""

from typing import NamedTuple

import torch
from torch import Tensor

from bert.kernels.compiled import DTYPES, kernel


class Normed(NamedTuple):
    """What a LayerNorm gives, for R rows of width D.

    Attributes:
        stream: The output as the next residual, fp32 [R, D].
        product: The output as the input of the next matrix product, [R, D] in its type; the very
            same tensor as `stream` in fp32.
        normed: The output without weight and shift, [R, D] in the type of the products.
        inverse: 1 / sqrt(variance + epsilon), fp32 [R].
    """

    stream: Tensor
    product: Tensor
    normed: Tensor
    inverse: Tensor


class NormGradients(NamedTuple):
    """Gradients with respect to the inputs of `norm_forward`; shapes and types are theirs."""

    branch: Tensor
    bias: Tensor | None
    residual: Tensor | None
    weight: Tensor
    shift: Tensor


def empty_normed(rows: int, width: int, dtype: torch.dtype) -> Normed:
    """Memory for the results."""
    stream = torch.empty(rows, width)
    product = stream if dtype == torch.float32 else torch.empty(rows, width, dtype=dtype)
    return Normed(stream, product, torch.empty(rows, width, dtype=dtype), torch.empty(rows))


def norm_forward(
    branch: Tensor, bias: Tensor | None, residual: Tensor | None, weight: Tensor, shift: Tensor,
    epsilon: float, drop: tuple[int, int] = (0, 0),
) -> Normed:  # fmt: skip
    """LayerNorm of residual + dropout(branch + bias), or of the branch alone.

    Args:
        branch: [R, D], fp32 or bf16; decides the type of `product` and `normed`.
        bias: fp32 [D], given with a residual and only then.
        residual: fp32 [R, D].
        weight: fp32 [D].
        shift: fp32 [D].
        epsilon: Added to the variance.
        drop: Values out of 65,536 that are dropped, and the seed.
    """
    rows, width = branch.shape
    out = empty_normed(rows, width, branch.dtype)
    product = None if out.product is out.stream else out.product
    run = kernel(f"norm_forward_{DTYPES[branch.dtype]}", "pppppppppiifiu")
    run(
        branch, bias, residual, weight, shift, out.stream, product, out.normed, out.inverse,
        rows, width, epsilon, *drop,
    )  # fmt: skip
    return out


def norm_backward(
    grad_stream: Tensor | None, grad_product: Tensor | None, normed: Tensor, inverse: Tensor,
    weight: Tensor, drop: tuple[int, int] = (0, 0), *, with_residual: bool,
) -> NormGradients:  # fmt: skip
    """Gradients of `norm_forward` from those of its output, which may come on either way or both.

    Args:
        grad_stream: fp32 [R, D].
        grad_product: [R, D] in the type of `normed`.
        normed: As it was given.
        inverse: As it was given.
        weight: As it was.
        drop: As it was.
        with_residual: Whether there was a residual, and a bias.
    """
    rows, width = normed.shape
    branch = torch.empty_like(normed)
    residual = torch.empty(rows, width) if with_residual else None
    bias = torch.empty(width) if with_residual else None
    weight_grad, shift = torch.empty(width), torch.empty(width)
    run = kernel(f"norm_backward_{DTYPES[normed.dtype]}", "ppppppppppiiiu")
    run(
        grad_stream, grad_product, normed, inverse, weight, residual, branch, bias, weight_grad,
        shift, rows, width, *drop,
    )  # fmt: skip
    return NormGradients(branch, bias, residual, weight_grad, shift)
