"""Runs: the instances of a block, stored in the order of random keys that can be computed again.

An instance's key is a hash of (seed, phase) and its name (part, run, number in the run). All keys
of a phase together are distinct and look uniform, so the order of the keys is a random order of
all instances. Each run stands in that order in its file; the stage `shard` only has to merge.

A file of the stage `encode` has, beside the attributes of every shard, `run_phase`, `run_part` and
`run_sizes` (uint64 [R], instances of each run); its `seed` is that of the keys.
"""

from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from bert.data.ragged import I64
from bert.data.randomness import U64, make_key, random_bits
from bert.data.shards import ShardError

_PART_SHIFT, _RUN_SHIFT = 44, 32
_MOST_PARTS, _MOST_RUNS = 1 << 20, 1 << 12  # the run sizes of a part fit an attribute, too
ORDER, MASKS = 0x6F726472, 0x6D736B73  # what keys are for


class Runs(NamedTuple):
    """The runs of one instance file, and what their keys are made of."""

    seed: int
    phase: int
    part: int
    sizes: tuple[int, ...]

    def attributes(self) -> dict[str, Any]:
        """What the file says of them, beside its seed."""
        sizes = np.array(self.sizes, np.uint64)
        return {"run_phase": self.phase, "run_part": self.part, "run_sizes": sizes}

    def keys(self, run: int) -> U64:
        """Keys of the instances of a run in the order in which they were made, [size] uint64."""
        return instance_keys(
            self.seed, self.phase, self.part, run, np.arange(self.sizes[run]), use=ORDER
        )


def instance_keys(seed: int, phase: int, part: int, run: int, number: I64, *, use: int) -> U64:
    """Keys of instances, in the shape of `number`; distinct for one (seed, phase, use).

    For one key `random_bits` is a bijection: instances of different names never share theirs.

    Raises:
        ValueError: A number is too large to name a run.
    """
    if part >= _MOST_PARTS or run >= _MOST_RUNS:
        raise ValueError(
            f"Run {run} of part {part} has no keys; there are keys for {_MOST_PARTS} parts of "
            f"{_MOST_RUNS} runs. Change `split.parts` so that there are fewer parts, or smaller "
            "ones."
        )
    name = number.astype(np.uint64) + np.uint64((part << _PART_SHIFT) + (run << _RUN_SHIFT))
    return random_bits(make_key(seed, phase, use), name)


def read_runs(path: Path, file: h5py.File) -> Runs:
    """The runs of an open instance file.

    Raises:
        ShardError: It holds none, or their sizes do not add up to its instances.
    """
    attributes = file.attrs
    if "run_sizes" not in attributes:
        raise ShardError(
            f"{path} has no runs; it is a shard or was written by an older `encode`. Run the rule "
            "`encode` again."
        )
    sizes = tuple(attributes["run_sizes"].tolist())
    if sum(sizes) != int(attributes["num_instances"]):
        raise ShardError(
            f"{path} has runs of {sum(sizes)} instances together, but "
            f"{int(attributes['num_instances'])} instances; the file is damaged. Delete it and run "
            "its rule again."
        )
    return Runs(
        int(attributes["seed"]), int(attributes["run_phase"]), int(attributes["run_part"]), sizes
    )
