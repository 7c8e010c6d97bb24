"""dropout(LayerNorm(word + position + segment)) and its gradient (source/embeddings.cpp)."""

from typing import NamedTuple

import torch
from torch import Tensor

from bert.kernels.compiled import DTYPES, kernel
from bert.kernels.norm import Normed, empty_normed


class Ids(NamedTuple):
    """Rows of the three tables for each token, int64 [T]."""

    word: Tensor
    position: Tensor
    segment: Tensor


class Tables(NamedTuple):
    """The three tables, fp32 [rows, D] each."""

    word: Tensor
    position: Tensor
    segment: Tensor


def embeddings_forward(
    ids: Ids, tables: Tables, weight: Tensor, shift: Tensor, epsilon: float, dtype: torch.dtype,
    drop: tuple[int, int],
) -> Normed:  # fmt: skip
    """Embeds T tokens; arguments otherwise as in `norm_forward`.

    Raises:
        IndexError: An id is no row of its table.
    """
    for name, table, index in zip(Ids._fields, tables, ids, strict=True):
        lowest, highest = int(index.min()), int(index.max())
        if lowest < 0 or highest >= len(table):
            raise IndexError(
                f"{name} ids are from {lowest} to {highest}; the table has {len(table)} rows."
            )
    rows, width = len(ids.word), tables.word.shape[1]
    out = empty_normed(rows, width, dtype)
    product = None if out.product is out.stream else out.product
    run = kernel(f"embeddings_forward_{DTYPES[dtype]}", "ppppppppppppiifiu")
    run(
        *ids, *tables, weight, shift, out.stream, product, out.normed, out.inverse, rows, width,
        epsilon, *drop,
    )  # fmt: skip
    return out


def embeddings_backward(
    grad_stream: Tensor | None, grad_product: Tensor | None, normed: Tensor, inverse: Tensor,
    weight: Tensor, drop: tuple[int, int],
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of the summed embeddings, fp32 [T, D], and of weight and shift, fp32 [D]."""
    rows, width = normed.shape
    grad, grad_weight, grad_shift = torch.empty(rows, width), torch.empty(width), torch.empty(width)
    run = kernel(f"embeddings_backward_{DTYPES[normed.dtype]}", "ppppppppiiiu")
    run(
        grad_stream, grad_product, normed, inverse, weight, grad, grad_weight, grad_shift,
        rows, width, *drop,
    )  # fmt: skip
    return grad, grad_weight, grad_shift


def scatter_rows(grad: Tensor, ids: Tensor, rows: int) -> Tensor:
    """The gradient of a table: row i of [T, D] added to row ids[i] of zeros [rows, D]."""
    table = torch.zeros(rows, grad.shape[1])
    kernel("scatter_rows", "pppii")(grad, ids, table, len(ids), grad.shape[1])
    return table
