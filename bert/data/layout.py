"""Instances before their tokens are copied: ranges of one flat token array, and labels."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.ragged import I64, offsets_of, take_ranges
from bert.data.shards import Instances


class Layout(NamedTuple):
    """N instances of R ranges; instance i has the ranges first[i] up to first[i + 1].

    Its tokens are [CLS], then each of its ranges followed by [SEP].
    """

    starts: I64  # [R] places in the token array
    lengths: I64  # [R]
    first: I64  # [N + 1]
    labels: NDArray[np.uint8]  # [N] IS_NEXT or IS_RANDOM

    def head(self, count: int) -> "Layout":
        """The first `count` instances, or all if there are fewer."""
        first = self.first[: count + 1]
        ranges = int(first[-1])
        return Layout(self.starts[:ranges], self.lengths[:ranges], first, self.labels[:count])

    def take(self, index: I64) -> "Layout":
        """The instances at `index`, in that order."""
        starts, counts = self.first[index], np.diff(self.first)[index]
        return Layout(
            take_ranges(self.starts, starts, counts),
            take_ranges(self.lengths, starts, counts),
            offsets_of(counts),
            self.labels[index],
        )


def no_instances() -> Layout:
    """An empty layout."""
    nothing = np.zeros(0, np.int64)
    return Layout(nothing, nothing, offsets_of(nothing), np.zeros(0, np.uint8))


def join(layouts: list[Layout]) -> Layout:
    """All instances, one layout after another; at least one layout."""
    counts = [np.diff(layout.first) for layout in layouts]
    return Layout(
        np.concatenate([layout.starts for layout in layouts]),
        np.concatenate([layout.lengths for layout in layouts]),
        offsets_of(np.concatenate(counts)),
        np.concatenate([layout.labels for layout in layouts]),
    )


def assemble(
    layout: Layout, ids: NDArray[Any], *, cls_id: int, sep_id: int, has_pairs: bool
) -> Instances:
    """Copies the tokens of a layout from `ids`.

    Args:
        layout: The instances.
        ids: The token array that its ranges point into.
        cls_id: Id of [CLS].
        sep_id: Id of [SEP].
        has_pairs: Whether the second range of each instance is segment B; else all is A.
    """
    # Each range is taken with the place behind it, an instance's first one with the place before,
    # too; [SEP] and [CLS] then overwrite what stands there.
    opens = np.zeros(len(layout.starts), np.int64)
    opens[layout.first[:-1]] = 1
    bounds = offsets_of(layout.lengths + 1 + opens)
    input_ids = take_ranges(ids, layout.starts - opens, np.diff(bounds))
    input_ids[bounds[1:] - 1] = sep_id
    offsets = bounds[layout.first]
    input_ids[offsets[:-1]] = cls_id
    a_lengths = layout.lengths[layout.first[:-1]]
    b_starts = a_lengths + 2 if has_pairs else np.zeros_like(a_lengths)
    return Instances(
        input_ids, offsets.astype(np.uint64), b_starts.astype(np.uint16), layout.labels
    )
