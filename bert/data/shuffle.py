"""All instances of a phase, globally shuffled into shards whose sizes differ by at most one.

Instance i (counted through the instance files in order) goes to place P(i) of a permutation P
that is computed from the seed, and shard s holds the places s * N // S up to (s + 1) * N // S.
So every shard can be built alone, by any number of jobs and workers, with the same bytes, and no
instance can be lost or repeated, for N below, at or above S. With N < S some shards are empty.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.config import Section, knob
from bert.data.randomness import Permutation, make_key
from bert.data.shards import (
    Instances,
    ShardInfo,
    check_same,
    concatenate,
    gather,
    input_ids_dtype,
    read_info,
    read_instances,
)

_BLOCK = 1 << 20


class ShardConfig(Section):
    """Section `shard`: the global shuffle and its cut into files."""

    seed: int = knob("Seed of the global shuffle.", ge=0)
    shards: int = knob("Number of shard files in each phase.", ge=1)
    jobs: int = knob("Workflow jobs that share the shards of a phase; bytes do not change.", ge=1)


class Source(NamedTuple):
    """One instance file and where its instances stand in the count through all files."""

    path: Path
    first: int
    size: int


def list_sources(files: list[Path]) -> tuple[list[Source], ShardInfo]:
    """The instance files with their places, and the attributes they agree on.

    Raises:
        ShardError: Two files disagree on vocabulary or length.
        ValueError: No instances at all.
    """
    sources: list[Source] = []
    first, expected = 0, None
    for path in files:
        info, count, _ = read_info(path)
        if expected is None:
            expected = info
        check_same(path, info, expected, companion=str(files[0]))
        sources.append(Source(path, first, count))
        first += count
    if expected is None or first == 0:
        raise ValueError(
            f"{len(files)} instance files hold no instance; run the rule `encode` again."
        )
    return sources, expected


def shard_range(shard: int, shards: int, total: int) -> tuple[int, int]:
    """Places of one shard in the permuted order, [low, high)."""
    return shard * total // shards, (shard + 1) * total // shards


def job_shards(job: int, config: ShardConfig) -> range:
    """Shard numbers that workflow job `job` builds."""
    return range(job * config.shards // config.jobs, (job + 1) * config.shards // config.jobs)


def shard_name(shard: int, shards: int) -> str:
    """File name of a shard, such as shard-00000-of-02048.h5."""
    return f"shard-{shard:05d}-of-{shards:05d}.h5"


def build_shard(
    sources: list[Source], info: ShardInfo, shard: int, config: ShardConfig, phase: int
) -> Instances:
    """The instances of one shard in their order. Memory is that of one shard."""
    total = sources[-1].first + sources[-1].size
    low, high = shard_range(shard, config.shards, total)
    permutation = Permutation(total, make_key(config.seed, phase, 0x73687566))
    pieces, places = [], []
    for source in sources:
        index, place = _members(source, permutation, low, high)
        if len(index):
            instances, _ = read_instances(source.path, verify=False)
            pieces.append(gather(instances, index))
            places.append(place)
    merged = concatenate(pieces, input_ids_dtype(info.vocab_size))
    order = np.argsort(np.concatenate([np.zeros(0, np.int64), *places]), kind="stable")
    return gather(merged, order)


def _members(
    source: Source, permutation: Permutation, low: int, high: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Instances of a file that fall into [low, high), and their places."""
    found, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, source.size, _BLOCK):
        index = np.arange(start, min(start + _BLOCK, source.size))
        place = permutation(index + source.first)
        inside = (place >= low) & (place < high)
        found.append(index[inside])
        places.append(place[inside])
    return np.concatenate(found), np.concatenate(places)
