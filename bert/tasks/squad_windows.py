"""Geometry of SQuAD: paragraphs cut into windows, characters to tokens, logits to spans.

Source: Devlin et al. 2018 and google/bert run_squad.py, unless a function says otherwise.
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


class Window(NamedTuple):
    """Where the paragraph tokens of one feature come from.

    Attributes:
        offsets: int32 [W, 2]: each token's first character and the one after its last.
        max_context: bool [W]: this window is the one that shows the token with most context, so
            only here may an answer start with it.
    """

    offsets: NDArray[np.int32]
    max_context: NDArray[np.bool_]


def window_bounds(length: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Half-open token ranges of at most `size` that cover a paragraph of `length` tokens.

    Each starts `stride` tokens (at most `size`) after the one before; the last ends with the text.
    """
    step = min(stride, size)
    count = 1 + max(0, -(-(length - size) // step))
    return [(i * step, min(i * step + size, length)) for i in range(count)]


def max_context(bounds: Sequence[tuple[int, int]]) -> list[NDArray[np.bool_]]:
    """For each window, which of its tokens it shows with more context than any other window.

    The context of a token is the lesser of the tokens to its left and to its right, plus a
    hundredth of the window's length; between equals the earlier window wins.
    """
    if len(bounds) == 1:
        return [np.ones(bounds[0][1], dtype=np.bool_)]
    scores = np.full((len(bounds), bounds[-1][1]), -1.0)
    for row, (first, last) in zip(scores, bounds, strict=True):
        left = np.arange(last - first)
        row[first:last] = np.minimum(left, left[::-1]) + 0.01 * (last - first)
    winner = scores.argmax(axis=0)
    return [winner[first:last] == i for i, (first, last) in enumerate(bounds)]


def token_span(offsets: NDArray[np.int32], start: int, stop: int) -> tuple[int, int] | None:
    """First and last token that share a character with `start:stop`; None without any.

    Args:
        offsets: int32 [tokens, 2], see `Window`.
        start: First character of the answer.
        stop: The character after its last.
    """
    inside = np.flatnonzero((offsets[:, 1] > start) & (offsets[:, 0] < stop))
    return (int(inside[0]), int(inside[-1])) if inside.size else None


def span_in_window(
    span: tuple[int, int], bounds: tuple[int, int], context_start: int
) -> tuple[int, int]:
    """A paragraph's token span as indices into a feature's tokens; (0, 0) if not wholly inside.

    Args:
        span: First and last token of the answer, counted from the paragraph's first.
        bounds: The window.
        context_start: Index of the window's first token in the feature.
    """
    if span[0] < bounds[0] or span[1] >= bounds[1]:
        return 0, 0
    return span[0] - bounds[0] + context_start, span[1] - bounds[0] + context_start


def answer_pairs(
    start_logits: FloatArray,
    end_logits: FloatArray,
    admitted: NDArray[np.bool_],
    *,
    n_best: int,
    max_answer_length: int,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """All pairs of a start and an end that may be an answer.

    Only the `n_best` highest starts and ends of all tokens are paired.

    Args:
        start_logits: float32 [L], the whole feature.
        end_logits: float32 [L].
        admitted: bool [2, L]: tokens that may start, and that may end, an answer.
        n_best: Starts, and ends, to pair.
        max_answer_length: Longest answer in tokens.

    Returns:
        First and last token as indices into L, both [P]; in the order of the starts' rank, then
        of the ends' rank.
    """
    starts, ends = _highest(start_logits, n_best), _highest(end_logits, n_best)
    starts, ends = starts[admitted[0, starts]], ends[admitted[1, ends]]
    length = ends[None, :] - starts[:, None] + 1
    rows, columns = np.nonzero((length >= 1) & (length <= max_answer_length))
    return starts[rows], ends[columns]


def _highest(logits: FloatArray, count: int) -> NDArray[np.intp]:
    """Indices of the `count` greatest logits, greatest first; between equals the lower index."""
    return np.argsort(-logits, kind="stable")[:count]


def substring(context: str, start: int, stop: int) -> str:
    """`context[start:stop]`, and the accents that stand as characters of their own behind it.

    An uncased tokenizer drops such accents, so no token covers them.
    """
    while stop < len(context) and unicodedata.combining(context[stop]):
        stop += 1
    return context[start:stop]
