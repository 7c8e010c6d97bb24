"""Copies between arrays whose items have different lengths."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

I64 = NDArray[np.int64]

_AT_ONCE = 1 << 18  # an index array of 2 MiB stays in the processor's cache


def take_ranges(values: NDArray[Any], starts: I64, lengths: I64) -> NDArray[Any]:
    """`values[starts[i] : starts[i] + lengths[i]]` for each i, end to end, [sum of lengths].

    Memory beside the result does not grow with it.
    """
    bounds = offsets_of(lengths)
    out = np.empty(int(bounds[-1]), values.dtype)
    shifts = starts - bounds[:-1]
    first = 0
    while first < len(starts):
        end = int(np.searchsorted(bounds, bounds[first] + _AT_ONCE, side="right")) - 1
        end = max(end, first + 1)
        low, high = int(bounds[first]), int(bounds[end])
        index = np.repeat(shifts[first:end], lengths[first:end])
        index += np.arange(low, high)
        np.take(values, index, out=out[low:high], mode="clip")  # "raise" would copy `out`
        first = end
    return out


def offsets_of(lengths: I64) -> I64:
    """Borders of items with these lengths, from 0, [N + 1] int64."""
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds
