"""Padded rows, which all dialects share, and their way to and from ragged instances.

A row has S places and at most P targets; what stands behind the last token or target is padding.
In every dialect a next-sentence label of 1 means a random next sentence, as here.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.ragged import offsets_of
from bert.data.shards import Instances, ShardError, ShardInfo, input_ids_dtype

I64 = NDArray[np.int64]


class DialectError(ShardError):
    """A file of another system that is damaged, unknown, or does not fit what is asked of it."""


class Rows(NamedTuple):
    """N padded instances; integers of any dtype."""

    input_ids: NDArray[Any]  # [N, S], masked if there are targets
    lengths: I64  # [N], tokens without padding
    segment_ids: NDArray[Any]  # [N, S], 0 = A, 1 = B; what stands in the padding does not count
    labels: NDArray[Any]  # [N], 1 = random next sentence
    masked_lm_positions: NDArray[Any] | None  # [N, P]; None = unmasked
    masked_lm_ids: NDArray[Any] | None  # [N, P], the original tokens
    target_counts: I64 | None  # [N], targets without padding


def count_tokens(input_mask: NDArray[Any]) -> I64:
    """Tokens of each row [N] from an input mask [N, S] with 1 for tokens.

    Raises:
        DialectError: A mask is not ones followed by zeros, or has no one.
    """
    tokens = input_mask != 0
    lengths: I64 = tokens.sum(1)
    wrong = (tokens != _before(lengths, input_mask.shape[1])).any(1) | (lengths == 0)
    _refuse(wrong, "input_mask is not one run of ones from the first place on")
    return lengths


def count_targets(positions: NDArray[Any]) -> I64:
    """Targets of each row [N] from padded positions [N, P]: place 0 is [CLS], so 0 is padding."""
    counts: I64 = (positions != 0).sum(1)
    wrong = ((positions != 0) != _before(counts, positions.shape[1])).any(1)
    _refuse(wrong, "masked_lm_positions has a 0, which means padding, before its last target")
    return counts


def from_rows(rows: Rows, info: ShardInfo) -> Instances:
    """The rows as ragged instances, with static masks if the rows have targets.

    Raises:
        DialectError: Ids beyond the vocabulary, segments that are not A and then B, targets that
            are not ascending or stand in the padding, or labels other than 0 and 1.
    """
    places = rows.input_ids.shape[1]
    inside = _before(rows.lengths, places)
    input_ids = rows.input_ids[inside]
    _check_ids(input_ids, info, "input_ids")
    start = ((rows.segment_ids == 0) & inside).sum(1)
    expected = inside & ~_before(start, places)
    _refuse(
        ((rows.segment_ids != expected) & inside).any(1),
        "segment_ids is not a run of 0 and then one of 1",
    )
    _refuse(~np.isin(rows.labels, (0, 1)), "next_sentence_labels is neither 0 nor 1")
    dtype = input_ids_dtype(info.vocab_size)
    instances = Instances(
        input_ids.astype(dtype),
        offsets_of(rows.lengths).astype(np.uint64),
        np.where(start == rows.lengths, 0, start).astype(np.uint16),
        rows.labels.astype(np.uint8),
    )
    if rows.target_counts is None:
        return instances
    assert rows.masked_lm_positions is not None
    assert rows.masked_lm_ids is not None
    _check_positions(rows.masked_lm_positions, rows.target_counts, rows.lengths)
    real = _before(rows.target_counts, rows.masked_lm_positions.shape[1])
    _check_ids(rows.masked_lm_ids[real], info, "masked_lm_ids")
    return instances._replace(
        masked_lm_offsets=offsets_of(rows.target_counts).astype(np.uint64),
        masked_lm_positions=rows.masked_lm_positions[real].astype(np.uint16),
        masked_lm_ids=rows.masked_lm_ids[real].astype(dtype),
    )


def to_rows(instances: Instances, places: int, max_predictions: int | None) -> Rows:
    """Ragged instances as rows of `places` tokens and `max_predictions` targets, padded with 0.

    Raises:
        DialectError: An instance is longer, or has more targets.
    """
    lengths = instances.lengths
    _refuse(lengths > places, f"an instance has more than {places} tokens")
    start = instances.segment_b_start.astype(np.int64)
    start = np.where(start == 0, lengths, start)
    inside = _before(lengths, places)
    unmasked = Rows(
        _pad(instances.input_ids, inside),
        lengths,
        (inside & ~_before(start, places)).astype(np.int8),
        instances.next_sentence_labels,
        None,
        None,
        None,
    )
    if max_predictions is None:
        return unmasked
    if instances.masked_lm_offsets is None:
        raise DialectError("The instances hold no masks, which this format needs; mask them first.")
    ends = instances.masked_lm_offsets.astype(np.int64)
    counts = ends[1:] - ends[:-1]
    most = int(counts.max(initial=0))
    _refuse(
        counts > max_predictions,
        f"an instance has up to {most} targets, but max_predictions is {max_predictions}",
    )
    real = _before(counts, max_predictions)
    assert instances.masked_lm_positions is not None
    assert instances.masked_lm_ids is not None
    return unmasked._replace(
        masked_lm_positions=_pad(instances.masked_lm_positions, real),
        masked_lm_ids=_pad(instances.masked_lm_ids, real),
        target_counts=counts,
    )


def pad_ragged(values: list[NDArray[Any]], places: int | None = None) -> NDArray[np.int64]:
    """Arrays of different lengths as rows padded with 0, [N, `places` or the longest]."""
    lengths = np.array([len(value) for value in values], np.int64)
    longest = int(lengths.max(initial=0))
    flat = np.concatenate([np.zeros(0, np.int64), *values])
    return _pad(flat, _before(lengths, longest if places is None else max(places, longest)))


def _pad(flat: NDArray[Any], inside: NDArray[np.bool_]) -> NDArray[Any]:
    padded = np.zeros(inside.shape, flat.dtype)
    padded[inside] = flat
    return padded


def _before(counts: NDArray[Any], places: int) -> NDArray[np.bool_]:
    """[N, places]: whether a place stands before the row's count."""
    before: NDArray[np.bool_] = np.arange(places) < counts[:, None]
    return before


def _check_ids(ids: NDArray[Any], info: ShardInfo, name: str) -> None:
    if not len(ids):
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0:
        raise DialectError(
            f"{name} holds {low}; an id is never negative. The file was written as int16 with a "
            "vocabulary of more than 32,768 tokens, which destroys larger ids; make it anew."
        )
    if high >= info.vocab_size:
        raise DialectError(
            f"{name} holds {high}, but the vocabulary has {info.vocab_size} tokens; the file was "
            "made with another vocabulary. Give that one in `vocab`."
        )


def _check_positions(positions: NDArray[Any], counts: I64, lengths: I64) -> None:
    real = _before(counts, positions.shape[1])
    _refuse(
        (real & ((positions < 0) | (positions >= lengths[:, None]))).any(1),
        "masked_lm_positions points behind the last token",
    )
    rising = np.diff(positions.astype(np.int64), axis=1) > 0
    _refuse((real[:, 1:] & ~rising).any(1), "masked_lm_positions does not ascend")


def _refuse(wrong: Any, what: str) -> None:
    """Raises if any of the rows [N] is wrong."""
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise DialectError(f"{what} in {int(wrong.sum())} of {len(wrong)} rows, first in {first}")
