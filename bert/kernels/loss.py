"""Cross entropy over rows of logits, its gradient, and sums of rows (source/loss.cpp)."""

import torch
from torch import Tensor

from bert.kernels.compiled import DTYPES, kernel


def cross_entropy_forward(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of each row in nats, and log sum exp of its logits, both fp32 [M].

    Args:
        logits: [M, V], fp32 or bf16.
        labels: int64 [M], less than V.

    Raises:
        IndexError: A label is no class.
    """
    rows, columns = logits.shape
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < columns):
        raise IndexError(
            f"labels are from {int(labels.min())} to {int(labels.max())}; there are {columns} "
            "classes."
        )
    losses, log_sums = torch.empty(rows), torch.empty(rows)
    kernel(f"cross_entropy_forward_{DTYPES[logits.dtype]}", "ppppii")(
        logits, labels, losses, log_sums, rows, columns
    )
    return losses, log_sums


def cross_entropy_backward(
    logits: Tensor, labels: Tensor, log_sums: Tensor, grad_loss: Tensor
) -> Tensor:
    """Gradient of the sum of the losses times `grad_loss`, fp32 []; [M, V] in the logits' type."""
    grad = torch.empty_like(logits)
    kernel(f"cross_entropy_backward_{DTYPES[logits.dtype]}", "pppppii")(
        logits, labels, log_sums, grad_loss, grad, *logits.shape
    )
    return grad


def sum_rows(values: Tensor) -> Tensor:
    """[R, D] in fp32 or bf16 to its sum over the rows in their order, fp32 [D]."""
    total = torch.empty(values.shape[1])
    kernel(f"sum_rows_{DTYPES[values.dtype]}", "ppii")(values, total, *values.shape)
    return total
