"""The shards of a phase as one indexable set, and the order in which an epoch goes through it.

Nothing but one header is read to begin with: how many instances each shard holds stands in the
manifests of the rule that wrote or checked them. A shard is opened when the order reaches it; at
its first opening in a process its digest, count and vocabulary are compared with what is stated.
A shard of another system is decoded as a whole when it is opened, and checked each time: of the
larger ones (70,000 rows of 512) that takes seconds and some 80 MB.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.dialects.reading import read_file
from bert.data.randomness import make_keys, permute_each
from bert.data.shards import (
    Instances,
    ShardError,
    ShardInfo,
    check_same,
    concatenate,
    gather,
    input_ids_dtype,
    read_info,
    read_instances,
)

I64 = NDArray[np.int64]
_OPEN_SHARDS = 4


class ShardFile(NamedTuple):
    """One file and the number of its instances."""

    path: Path
    instances: int


class Corpus:
    """Instances of many shards, numbered through from 0; opens each shard when it is needed."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Reads the attributes of all files, in the given order; `from_index` reads none.

        Raises:
            ShardError: A file is damaged or does not fit the others.
            ValueError: There is no instance at all.
        """
        found = [read_info(path) for path in files]
        for path, (info, _, _) in zip(files, found, strict=True):
            check_same(path, info, found[0][0], companion=str(files[0]))
        counts = [ShardFile(path, one[1]) for path, one in zip(files, found, strict=True)]
        self._set(counts, sum(one[2] for one in found), found[0][0] if found else None)

    @classmethod
    def from_index(
        cls, files: Sequence[ShardFile], num_tokens: int, info: ShardInfo | None,
        dialect: str = "native",
    ) -> "Corpus":  # fmt: skip
        """A corpus whose counts are known; opens no file.

        Args:
            files: In their order.
            num_tokens: In all of them, or an upper bound.
            info: What all files agree on.
            dialect: Whose files, see `bert.data.dialects.reading`.

        Raises:
            ValueError: There is no instance at all.
        """
        corpus = cls.__new__(cls)
        corpus._set(files, num_tokens, info, dialect)
        return corpus

    def _set(
        self, files: Sequence[ShardFile], num_tokens: int, info: ShardInfo | None,
        dialect: str = "native",
    ) -> None:  # fmt: skip
        self.files = [file.path for file in files]
        self.counts = np.array([file.instances for file in files], np.int64)
        self.num_instances = int(self.counts.sum())
        self.num_tokens = num_tokens
        if not self.num_instances or info is None:
            first = f" (the first is {files[0].path})" if files else ""
            raise ValueError(
                f"{len(files)} shards{first} hold no instance; run the rule `shard` again."
            )
        self.info, self._dialect = info, dialect
        self.first = np.concatenate([[0], np.cumsum(self.counts)])
        self._verified: set[int] = set()
        self._open = lru_cache(maxsize=_OPEN_SHARDS)(self._open_shard)

    def take(self, index: I64) -> Instances:
        """The instances with these numbers, in this order; fast if a shard's stand together."""
        pieces = [gather(self._open(shard), places) for shard, places in self._runs(index)]
        if len(pieces) == 1:
            return pieces[0]
        return concatenate(pieces, input_ids_dtype(self.info.vocab_size))

    def order(self, seed: int, phase: int, epoch: int, ranks: I64) -> I64:
        """Instance numbers at places `ranks` of an epoch's order, same shape."""
        shards = np.random.default_rng([seed, phase, epoch]).permutation(len(self.files))
        ends = np.cumsum(self.counts[shards])
        slot = np.searchsorted(ends, ranks, side="right")
        used, which = np.unique(slot, return_inverse=True)
        sizes = self.counts[shards[used]]
        keys = make_keys(seed, phase, epoch, shards[used].astype(np.uint64))
        inside = ranks - (ends[used] - sizes)[which]
        place = permute_each(inside, which, sizes, keys)
        return np.asarray(self.first[shards[used]][which] + place)

    def _runs(self, index: I64) -> list[tuple[int, I64]]:
        """`index` cut where the shard changes: shard, places in it."""
        shard_of = np.searchsorted(self.first, index, side="right") - 1
        cuts = np.flatnonzero(np.diff(shard_of)) + 1
        return [
            (int(shard_of[start]), index[start:end] - self.first[shard_of[start]])
            for start, end in zip([0, *cuts], [*cuts, len(index)], strict=True)
            if end > start
        ]

    def _open_shard(self, shard: int) -> Instances:
        path = self.files[shard]
        if self._dialect == "native":
            instances, info = read_instances(path, verify=shard not in self._verified)
            check_same(path, info, self.info, companion=str(self.files[0]))
        else:
            instances = read_file(path, self._dialect, self.info)
        found, stated = len(instances.segment_b_start), int(self.counts[shard])
        if found != stated:
            raise ShardError(
                f"{path} holds {found} instances; its manifest states {stated}. It was written "
                "anew since. Run the rule `shard` again."
            )
        self._verified.add(shard)
        return instances


def slice_instances(instances: Instances, start: int, stop: int) -> Instances:
    """The instances `start` to `stop`, without a copy of their tokens."""
    bounds = instances.offsets[start : stop + 1]
    cut = Instances(
        instances.input_ids[int(bounds[0]) : int(bounds[-1])],
        bounds - bounds[0],
        instances.segment_b_start[start:stop],
        instances.next_sentence_labels[start:stop],
    )
    if instances.masked_lm_offsets is None:
        return cut
    assert instances.masked_lm_positions is not None
    assert instances.masked_lm_ids is not None
    ends = instances.masked_lm_offsets[start : stop + 1]
    targets = slice(int(ends[0]), int(ends[-1]))
    return cut._replace(
        masked_lm_offsets=ends - ends[0],
        masked_lm_positions=instances.masked_lm_positions[targets],
        masked_lm_ids=instances.masked_lm_ids[targets],
    )
