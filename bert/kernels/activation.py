"""activation(h + bias) and its gradient, one pass each (source/activation.cpp)."""

import torch
from torch import Tensor

from bert.kernels.compiled import DTYPES, kernel

ACTIVATIONS = {"gelu": 0, "gelu_tanh": 1, "relu": 2}


def activation_forward(h: Tensor, bias: Tensor, name: str) -> Tensor:
    """[R, D] in fp32 or bf16 and a bias, fp32 [D], to [R, D] in the same type."""
    rows, width = h.shape
    y = torch.empty_like(h)
    kernel(f"activation_forward_{DTYPES[h.dtype]}", "pppiii")(
        h, bias, y, rows, width, ACTIVATIONS[name]
    )
    return y


def activation_backward(grad: Tensor, h: Tensor, bias: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Gradients with respect to `h`, in its type, and to the bias, fp32."""
    rows, width = h.shape
    grad_h, grad_bias = torch.empty_like(h), torch.empty(width)
    kernel(f"activation_backward_{DTYPES[h.dtype]}", "pppppiii")(
        grad, h, bias, grad_h, grad_bias, rows, width, ACTIVATIONS[name]
    )
    return grad_h, grad_bias
