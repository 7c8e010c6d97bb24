"""All instances of a phase, globally shuffled into shards whose sizes differ by at most one.

A sample sort. The instances of every file stand in runs in the order of random keys, see
`bert.data.runs`. Shard s holds the global ranks s * N // S up to (s + 1) * N // S of all keys, so
it takes one contiguous slice of each run: the files are read front to back, and each byte once
over all jobs. A last shuffle by `shard.seed` mixes what came from different runs.

Every shard can be built alone, by any number of jobs and workers, with the same bytes, and no
instance can be lost or repeated, for N below, at or above S. With N < S some shards are empty. A
shard goes through memory in *pieces* of about 16 MiB, so a large shard takes no more than a small
one; small shards are built several at a time, so that slices are long.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.config import Section, knob
from bert.data.borders import find_borders
from bert.data.given import GivenShards
from bert.data.ragged import I64
from bert.data.randomness import make_key, random_bits
from bert.data.shard_writer import open_writer
from bert.data.shards import Instances, ShardInfo, gather
from bert.data.sources import Source, read_slices
from bert.manifest import atomic_file

_PIECE_BYTES = 16 << 20
_BATCH_BYTES = 48 << 20
_USE = 0x73687566  # what the keys of the last shuffle are for


class ShardConfig(Section):
    """Section `shard`: the global shuffle and its cut into files."""

    seed: int = knob(
        "Seed of the order inside the shards; encode's seed says what is in each.", ge=0
    )
    shards: int = knob("Number of shard files in each phase.", ge=1)
    jobs: int = knob("Workflow jobs that share the shards of a phase; bytes do not change.", ge=1)
    given: GivenShards | None = knob("Shards that exist already; null = made from the text.")


class Batch(NamedTuple):
    """Consecutive shards that are built together, and their slices of the runs."""

    shards: range
    pieces: int  # of each shard
    borders: NDArray[np.uint32]  # [runs, len(shards) * pieces + 1], as `find_borders` gives them


def shard_range(shard: int, shards: int, total: int) -> tuple[int, int]:
    """Ranks of one shard among all keys, [low, high)."""
    return shard * total // shards, (shard + 1) * total // shards


def job_shards(job: int, config: ShardConfig) -> range:
    """Shard numbers that workflow job `job` builds."""
    jobs = min(config.jobs, config.shards)
    return range(job * config.shards // jobs, (job + 1) * config.shards // jobs)


def shard_name(shard: int, shards: int) -> str:
    """File name of a shard, such as shard-00000-of-02048.h5."""
    return f"shard-{shard:05d}-of-{shards:05d}.h5"


def plan_batches(sources: Sequence[Source], shards: range, of: int) -> list[Batch]:
    """Cuts `shards` of all `of` shards into batches that fit into memory."""
    total = sum(sum(source.runs.sizes) for source in sources)
    shard_bytes = max(1, sum(source.size for source in sources) // of)
    pieces = -(-shard_bytes // _PIECE_BYTES)
    together = max(1, _BATCH_BYTES // shard_bytes)
    ranks = [_piece_rank(s, p, pieces, of, total) for s in shards for p in range(pieces)]
    borders = find_borders(
        [source.runs for source in sources], np.array([*ranks, shards.stop * total // of])
    )
    return [
        Batch(part, pieces, borders[:, first * pieces : (first + len(part)) * pieces + 1])
        for first in range(0, len(shards), together)
        if (part := shards[first : first + together])
    ]


def build_shards(
    sources: Sequence[Source], batch: Batch, *, seed: int, phase: int
) -> Iterator[tuple[int, Instances]]:
    """Yields shard numbers with instances of that shard, piece after piece, in their order.

    Memory is that of a batch, or of a piece where a shard has several.
    """
    number = 0
    step = len(batch.shards) if batch.pieces == 1 else 1
    for first in range(0, batch.borders.shape[1] - 1, step):
        borders = batch.borders[:, first : first + step + 1].astype(np.int64)
        instances = read_slices(sources, borders[:, 0], borders[:, -1])
        for index in _members(borders):
            shard, piece = divmod(number, batch.pieces)
            key = make_key(seed, phase, _USE, batch.shards[shard], piece)
            order = np.argsort(random_bits(key, np.arange(len(index), dtype=np.uint64)))
            yield batch.shards[shard], gather(instances, index[order])
            number += 1


def write_shards(
    sources: Sequence[Source],
    info: ShardInfo,
    batch: Batch,
    config: ShardConfig,
    folder: Path,
    *,
    phase: int,
) -> tuple[list[Path], int, int]:
    """Writes the shards of a batch into `folder`, each whole or not at all.

    Returns:
        The files, and how many instances and tokens they hold.
    """
    files, instances, tokens = [], 0, 0
    has_masks = "masked_lm_offsets" in sources[0].places
    built = build_shards(sources, batch, seed=config.seed, phase=phase)
    for shard, pieces in groupby(built, key=lambda pair: pair[0]):
        files.append(folder / shard_name(shard, config.shards))
        with (
            atomic_file(files[-1]) as temporary,
            open_writer(
                temporary,
                info,
                seed=config.seed,
                config=config.model_dump(exclude={"jobs", "given"}),
                has_masks=has_masks,
            ) as writer,
        ):
            for _, piece in pieces:
                writer.append(piece)
                instances += len(piece.segment_b_start)
                tokens += len(piece.input_ids)
    return files, instances, tokens


def _members(borders: I64) -> Iterator[I64]:
    """For each piece, where its instances stand in what `read_slices` reads for all pieces."""
    counts = np.diff(borders, axis=1)  # [runs, pieces]
    piece = np.repeat(np.tile(np.arange(counts.shape[1]), len(counts)), counts.ravel())
    by_piece = np.argsort(piece, kind="stable")
    ends = np.cumsum(counts.sum(axis=0))
    yield from np.split(by_piece, ends[:-1])


def _piece_rank(shard: int, piece: int, pieces: int, shards: int, total: int) -> int:
    low, high = shard_range(shard, shards, total)
    return low + piece * (high - low) // pieces
