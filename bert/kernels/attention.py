"""What stands around the matrix products of attention (source/attention.cpp)."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from bert.kernels.compiled import DTYPES, kernel

# Rows to whose multiple a sequence is filled up inside attention: what a tile of AMX takes at once.
ROWS = 32


class Group(NamedTuple):
    """Sequences of one padded length, which one batched product treats.

    Attributes:
        sequences: How many.
        padded: Their rows, a multiple of ROWS.
        heads: First element in the heads, [sequences, heads, padded, depth].
        scores: First element in the scores, [sequences, heads, padded, padded].
    """

    sequences: int
    padded: int
    heads: int
    scores: int


class HeadLayout(NamedTuple):
    """Where the heads of each sequence lie; made once a micro-batch, used in every layer.

    Attributes:
        starts: First token of each of the B sequences and, last, their sum; int64 [B + 1].
        padded: Rows of each, int64 [B].
        heads: First element of its heads, int64 [B].
        scores: First element of its scores, int64 [B].
        groups: Those of one length.
        num_heads: Heads.
        depth: Features a head.
        sizes: Elements of the heads and of the scores.
    """

    starts: Tensor
    padded: Tensor
    heads: Tensor
    scores: Tensor
    groups: tuple[Group, ...]
    num_heads: int
    depth: int
    sizes: tuple[int, int]

    @property
    def for_kernel(self) -> tuple[Tensor | int, ...]:
        """The arguments that a kernel takes."""
        where = self.starts, self.padded, self.heads, self.scores
        return (*where, len(self.padded), self.num_heads, self.depth)


_LAYOUT = "ppppiii"


def lay_out(lengths: Sequence[int], num_heads: int, depth: int) -> HeadLayout:
    """Groups sequences by their padded length.

    Args:
        lengths: Tokens of each sequence, in the order of the stream.
        num_heads: Heads.
        depth: Features a head.
    """
    padded = [-(-length // ROWS) * ROWS for length in lengths]
    heads, scores = [0] * len(lengths), [0] * len(lengths)
    groups: list[Group] = []
    head_end = score_end = 0
    for rows in sorted(set(padded)):
        members = [b for b, own in enumerate(padded) if own == rows]
        groups.append(Group(len(members), rows, head_end, score_end))
        for b in members:
            heads[b], scores[b] = head_end, score_end
            head_end += num_heads * rows * depth
            score_end += num_heads * rows * rows
    return HeadLayout(
        torch.tensor([0, *accumulate(lengths)]), torch.tensor(padded), torch.tensor(heads),
        torch.tensor(scores), tuple(groups), num_heads, depth, (head_end, score_end),
    )  # fmt: skip


def split_heads(rows: Tensor, bias: Tensor | None, layout: HeadLayout, parts: int) -> Tensor:
    """[T, parts x heads x depth] plus bias to [parts, elements of the heads], in the same type."""
    heads = rows.new_empty(parts, layout.sizes[0])
    kernel(f"split_heads_{DTYPES[rows.dtype]}", f"ppp{_LAYOUT}ii")(
        rows, bias, heads, *layout.for_kernel, parts, layout.sizes[0]
    )
    return heads


def join_heads(
    heads: Tensor, layout: HeadLayout, *, with_sum: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The way back from `split_heads`; and the sum over the tokens, fp32, if asked for."""
    parts, width = len(heads), len(heads) * layout.num_heads * layout.depth
    rows = heads.new_empty(int(layout.starts[-1]), width)
    total = torch.empty(width) if with_sum else None
    kernel(f"join_heads_{DTYPES[heads.dtype]}", f"ppp{_LAYOUT}ii")(
        heads, rows, total, *layout.for_kernel, parts, layout.sizes[0]
    )
    return rows, total


def attend_forward(
    heads: Tensor, layout: HeadLayout, drop: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(depth)) V with dropout on the probabilities.

    Args:
        heads: Queries, keys and values, [3, elements of the heads].
        layout: Their layout.
        drop: Values out of 65,536 that are dropped, and the seed.

    Returns:
        The context, [1, elements of the heads], and the probabilities before dropout,
        [elements of the scores].
    """
    query, key, value = heads
    scores = heads.new_empty(layout.sizes[1])
    for group in layout.groups:
        torch.bmm(
            _heads(query, group, layout), _heads(key, group, layout).transpose(1, 2),
            out=_scores(scores, group, layout),
        )  # fmt: skip
    kept = _softmax("forward", scores, scores, layout, drop)
    context = torch.empty_like(query)
    for group in layout.groups:
        torch.bmm(
            _scores(kept, group, layout), _heads(value, group, layout),
            out=_heads(context, group, layout),
        )  # fmt: skip
    return context[None], scores


def attend_backward(
    grad: Tensor, heads: Tensor, probabilities: Tensor, layout: HeadLayout, drop: tuple[int, int]
) -> Tensor:
    """Gradient of `heads` from that of the context; shapes and types as in `attend_forward`."""
    query, key, value = heads
    context_grad = grad[0]
    found = torch.empty_like(heads)
    scores_grad = torch.empty_like(probabilities)
    for group in layout.groups:
        torch.bmm(
            _heads(context_grad, group, layout), _heads(value, group, layout).transpose(1, 2),
            out=_scores(scores_grad, group, layout),
        )  # fmt: skip
    kept = _softmax("backward", probabilities, scores_grad, layout, drop)
    for group in layout.groups:
        own = _scores(scores_grad, group, layout)
        q, k = _heads(query, group, layout), _heads(key, group, layout)
        upstream = _heads(context_grad, group, layout)
        by_key = _scores(kept, group, layout).transpose(1, 2)
        torch.bmm(own, k, out=_heads(found[0], group, layout))
        torch.bmm(own.transpose(1, 2), q, out=_heads(found[1], group, layout))
        torch.bmm(by_key, upstream, out=_heads(found[2], group, layout))
    return found


def _softmax(
    way: str, probabilities: Tensor, scores: Tensor, layout: HeadLayout, drop: tuple[int, int]
) -> Tensor:
    """Scores, or their gradient, in place of what came in; returns the dropped probabilities."""
    kept = torch.empty_like(probabilities) if drop[0] else None
    kernel(f"softmax_{way}_{DTYPES[probabilities.dtype]}", f"ppp{_LAYOUT}fiu")(
        probabilities, scores, kept, *layout.for_kernel, 1 / math.sqrt(layout.depth), *drop
    )
    return probabilities if kept is None else kept


def _heads(flat: Tensor, group: Group, layout: HeadLayout) -> Tensor:
    shape = group.sequences * layout.num_heads, group.padded, layout.depth
    return flat[group.heads : group.heads + math.prod(shape)].view(shape)


def _scores(flat: Tensor, group: Group, layout: HeadLayout) -> Tensor:
    shape = group.sequences * layout.num_heads, group.padded, group.padded
    return flat[group.scores : group.scores + math.prod(shape)].view(shape)
