"""The native path of the model on a CPU: embeddings, scores and loss as single steps of autograd.

`bert.model.fused_layer` has the layer. The modules of `bert.model.bert` and `bert.model.heads` ask
`product_dtype` whether the kernels do the work; what the kernels do not know (fp16, tensors of an
accelerator) runs on torch's own operations.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bert.kernels.compiled import DTYPES, kernels_on
from bert.kernels.embeddings import (
    Ids,
    Tables,
    embeddings_backward,
    embeddings_forward,
    scatter_rows,
)
from bert.kernels.loss import cross_entropy_backward, cross_entropy_forward, sum_rows
from bert.kernels.products import weight_gradient
from bert.model.dropout import draw_seed, levels
from bert.model.fused_layer import Drop


def product_dtype(device: torch.device) -> torch.dtype | None:
    """Type of the matrix products here and now, if the kernels know it and are on; else None."""
    if not kernels_on() or device.type != "cpu":
        return None
    if not torch.is_autocast_enabled("cpu"):
        return torch.float32
    dtype = torch.get_autocast_dtype("cpu")
    return dtype if dtype in DTYPES else None


def draw_drop(p: float, *, training: bool) -> Drop:
    """How many of 65,536 values are dropped, and a seed; draws as `bert.model.dropout` does."""
    dropped = levels(p) if training else 0
    return (dropped, int(draw_seed()) % 2**64) if dropped else (0, 0)


class EmbeddingSettings(NamedTuple):
    """What the embeddings depend on, beside their weights; as in `embeddings_forward`."""

    ids: Ids
    epsilon: float
    dtype: torch.dtype
    drop: Drop


class FusedEmbeddings(torch.autograd.Function):
    """(three tables, weight and shift of LayerNorm) -> stream, or (stream, product)."""

    @staticmethod
    def forward(
        ctx: Any, words: Tensor, positions: Tensor, segments: Tensor, weight: Tensor,
        shift: Tensor, settings: EmbeddingSettings,
    ) -> Any:  # fmt: skip
        """Returns fp32 [T, D], and it once more in `dtype` if that is another type."""
        tables, (ids, epsilon, dtype, drop) = Tables(words, positions, segments), settings
        out = embeddings_forward(ids, tables, weight, shift, epsilon, dtype, drop)
        ctx.save_for_backward(*ids, out.normed, out.inverse, weight)
        ctx.drop, ctx.rows = drop, [len(table) for table in tables]
        ctx.set_materialize_grads(False)
        return out.stream if dtype == torch.float32 else (out.stream, out.product)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> Any:
        """Gradients of the tables, whole, and of weight and shift."""
        *ids, normed, inverse, weight = ctx.saved_tensors
        stream, product = (*(None if g is None else g.contiguous() for g in gradients), None)[:2]
        grad, grad_weight, grad_shift = embeddings_backward(
            stream, product, normed, inverse, weight, ctx.drop
        )
        tables = [
            scatter_rows(grad, rows, size) if needed else None
            for rows, size, needed in zip(ids, ctx.rows, ctx.needs_input_grad, strict=False)
        ]
        return (*tables, grad_weight, grad_shift, None)


class FusedScores(torch.autograd.Function):
    """(hidden, token table, bias) -> scores of the tokens, [M, V] in the type of the products."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, bias: Tensor, weight: Tensor, vocab_size: int
    ) -> Tensor:
        """`weight` is the table in the type of the products; its rows from V on are no token."""
        rows = hidden.to(weight.dtype)
        ctx.save_for_backward(rows, weight)
        ctx.vocab_size = vocab_size
        ctx.dtype = hidden.dtype
        used = bias[:vocab_size].to(weight.dtype)
        return torch.addmm(used, rows, weight[:vocab_size].t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Gradients of hidden, table and bias."""
        rows, weight = ctx.saved_tensors
        grad = grad.contiguous()
        unused = len(weight) - ctx.vocab_size
        grad_hidden = torch.mm(grad, weight[: ctx.vocab_size]).to(ctx.dtype)
        grad_table = F.pad(weight_gradient(grad, rows), (0, 0, 0, unused))
        return grad_hidden, grad_table, F.pad(sum_rows(grad), (0, unused)), None, None


class FusedCrossEntropy(torch.autograd.Function):
    """(logits [M, V], labels) -> sum of the losses in nats, fp32 []."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        """Sums in the order of the rows."""
        logits = logits.contiguous()
        losses, log_sums = cross_entropy_forward(logits, labels)
        ctx.save_for_backward(logits, labels, log_sums)
        return losses.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        """Gradient of the logits."""
        logits, labels, log_sums = ctx.saved_tensors
        return cross_entropy_backward(logits, labels, log_sums, grad.float()), None


def summed_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropies of rows of logits [M, V] with labels, int64 [M], in nats, summed in fp32."""
    if logits.device.type == "cpu" and kernels_on() and logits.dtype in DTYPES:
        total: Tensor = FusedCrossEntropy.apply(logits, labels)  # type: ignore[no-untyped-call]
        return total
    return F.cross_entropy(logits.float(), labels, reduction="sum")
