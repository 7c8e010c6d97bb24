"""Features to micro-batches: the longest first, so that equal lengths meet, without padding.

A stream has no padding whatever the order, so grouping by length saves no token. What it brings is
in attention, which treats sequences of about one length in one product: in an order without rule
nearly every sequence of a micro-batch has a length of its own. Longest first, because the first
micro-batch then takes the most memory: one that does not fit fails at once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bert.data.batches import cut_lengths, segments_and_positions
from bert.devices.device import array_to_device
from bert.model.attention import Sequences
from bert.tasks.features import Feature, Head


class FeatureBatch(NamedTuple):
    """Features as a token stream on the device."""

    input_ids: Tensor  # [T] int64
    segment_ids: Tensor  # [T] int64
    position_ids: Tensor  # [T] int64
    sequences: Sequences
    # int64 [B, 1] labels, [B, 2] start and end in each sequence, or [T] labels of the tokens; fp32
    # [B, 1] values; empty where features have none.
    targets: Tensor


def longest_first(features: Sequence[Feature]) -> NDArray[np.int64]:
    """Indices of the features by falling length; equal ones in the order given."""
    return np.argsort([-len(feature.input_ids) for feature in features], kind="stable")


def micro_batches(
    features: Sequence[Feature], most_tokens: int, device: torch.device, head: Head
) -> Iterator[FeatureBatch]:
    """The features in the order given, cut into micro-batches.

    Args:
        features: In the order of the micro-batches.
        most_tokens: Most tokens of one; a longer feature stands alone.
        device: Where the tensors go.
        head: The task's head, which says what targets are.
    """
    lengths = np.array([len(feature.input_ids) for feature in features], np.int64)
    for first, last in cut_lengths(lengths, most_tokens):
        yield make_batch(features[first:last], device, head)


def make_batch(features: Sequence[Feature], device: torch.device, head: Head) -> FeatureBatch:
    """Features end to end as tensors on the device."""
    lengths = tuple(len(feature.input_ids) for feature in features)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.array([feature.segment_b_start for feature in features], np.uint16)
    segment_ids, position_ids = segments_and_positions(offsets, starts)
    arrays = [
        np.concatenate([feature.input_ids for feature in features]),
        segment_ids,
        position_ids,
        offsets.astype(np.int32),
        _targets(features, head),
    ]
    ids, segments, positions, ends, targets = (array_to_device(x, device) for x in arrays)
    return FeatureBatch(ids, segments, positions, Sequences(ends.int(), lengths), targets)


def _targets(features: Sequence[Feature], head: Head) -> NDArray[np.int64] | NDArray[np.float32]:
    rows = [feature.targets for feature in features]
    if head == "token":
        return np.array([target for row in rows for target in row], np.int64)
    return np.array(rows, np.float32) if head == "value" else np.array(rows, np.int64)
