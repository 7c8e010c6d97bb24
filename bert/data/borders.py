"""Where the shards begin in each run: exact ranks among all keys, without sorting them.

The key of rank r is the one that exactly r keys are below. The first pass counts all keys by their
top bits, which says in which bucket each border lies and at which place of it. The second counts
the keys of each run up to these buckets, and looks closely only at the keys inside of them. Both
compute the keys anew, run by run, so memory grows with runs times borders, not with instances.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bert.data.ragged import I64, offsets_of
from bert.data.randomness import U64
from bert.data.runs import Runs

_KEYS_INSIDE = 1 << 18
_MOST_BITS = 20


def find_borders(runs: Sequence[Runs], ranks: I64) -> NDArray[np.uint32]:
    """How many instances of each run stand before each rank.

    Args:
        runs: The runs of all files.
        ranks: [K] ascending, each from 0 to the number of instances.

    Returns:
        [number of runs, K]; the column of rank r adds up to r, and its counts are the places in
        the runs, in their stored order, at which the instances of rank r and more begin.
    """
    sizes = np.array([size for file in runs for size in file.sizes], np.int64)
    total = int(sizes.sum())
    inner = np.unique(ranks[(ranks > 0) & (ranks < total)])
    columns = np.zeros((len(sizes), len(inner) + 2), np.uint32)  # rank 0, the inner ones, the end
    columns[:, -1] = sizes
    if len(inner):
        columns[:, 1:-1] = _inner_borders(runs, inner, sizes)
    place = np.where(ranks <= 0, 0, np.searchsorted(inner, ranks) + 1)
    return columns[:, place]


def _inner_borders(runs: Sequence[Runs], ranks: I64, sizes: I64) -> NDArray[np.uint32]:
    """`find_borders` for distinct ranks that have instances on both sides."""
    # So many buckets that about `_KEYS_INSIDE` keys are in those with a border.
    bits = (int(sizes.sum()) * len(ranks) // _KEYS_INSIDE).bit_length()
    shift = np.uint64(64 - min(max(bits, 1), _MOST_BITS))
    histogram = np.zeros(1 << (64 - int(shift)), np.int64)
    for keys in _keys(runs):
        histogram += np.bincount(_bucket(keys, shift), minlength=len(histogram))
    ends = np.cumsum(histogram)
    buckets = np.searchsorted(ends, ranks, side="right")
    chosen, which = np.unique(buckets, return_inverse=True)

    below, keys, owners = _split_at(runs, chosen, shift, len(sizes))
    order = np.argsort(keys)
    keys, owners = keys[order], owners[order]
    # The keys inside of chosen buckets stand bucket after bucket, so a border's key can be named.
    inside_before = offsets_of(histogram[chosen])[which]
    thresholds = keys[inside_before + ranks - (ends - histogram)[buckets]]
    # A key counts for the borders of its own bucket that are above it: from `low` up to `high`.
    low = np.searchsorted(thresholds, keys, side="right")
    high = np.searchsorted(buckets, _bucket(keys, shift), side="right")
    change = np.zeros((len(sizes), len(ranks) + 1), np.int32)
    np.add.at(change, (owners, low), 1)
    np.add.at(change, (owners, high), -1)
    inside = np.cumsum(change, axis=1, dtype=np.int32, out=change)
    return below[:, which] + inside[:, :-1].astype(np.uint32)


def _split_at(
    runs: Sequence[Runs], chosen: I64, shift: np.uint64, count: int
) -> tuple[NDArray[np.uint32], U64, I64]:
    """For each run the number of its keys below each chosen bucket; the keys inside, their runs."""
    # Zone 2j lies before chosen bucket j and behind the one before it, zone 2j + 1 is bucket j.
    zones = 2 * np.searchsorted(chosen, np.arange(1 << (64 - int(shift))))
    zones[chosen] += 1
    below = np.zeros((count, len(chosen)), np.uint32)
    found, owners = [], []
    for run, keys in enumerate(_keys(runs)):
        zone = zones[_bucket(keys, shift)]
        below[run] = np.cumsum(np.bincount(zone, minlength=2 * len(chosen)))[: 2 * len(chosen) : 2]
        inside = np.flatnonzero(zone & 1)
        found.append(keys[inside])
        owners.append(np.full(len(inside), run))
    return below, np.concatenate(found), np.concatenate(owners)


def _bucket(keys: U64, shift: np.uint64) -> I64:
    return (keys >> shift).view(np.int64)


def _keys(runs: Sequence[Runs]) -> Iterator[U64]:
    """Keys of each run of each file."""
    for file in runs:
        for run in range(len(file.sizes)):
            yield file.keys(run)
