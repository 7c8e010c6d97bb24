"""Shards to unpadded micro-batches, in an order that is a function of (seed, phase, epoch).

Sample p of the run (counting from 0 over all steps and ranks) belongs to epoch p // N. In an
epoch the shards come in a keyed random order, and the instances of a shard, too; shards are
globally shuffled already, so only one or two are open at a time. Step t (from 1) takes the samples
(t - 1) * batch up to t * batch, and rank r of W every W-th of them. Nothing is remembered: the
data position of a run is its step.

A step is read and masked in chunks of micro-batches and kept in the smallest dtypes, some 5 bytes
a token: 65,536 instances of 128 tokens are 45 MB.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.corpus import Corpus, slice_instances
from bert.data.masking import (
    Masked,
    MaskingConfig,
    instance_keys,
    mask_tokens,
    original_ids,
    stored_masks,
)
from bert.data.ragged import offsets_of
from bert.data.shards import Instances, ShardError

I64 = NDArray[np.int64]

_CHUNK_TOKENS = 1 << 18
_AHEAD_BYTES = 1 << 26
_MOST_AHEAD = 8
_BYTES_PER_TOKEN = 6  # ids, segment, position, and a sixth of a target


class MicroBatch(NamedTuple):
    """A stream of instances with their targets; T tokens, B instances, M predicted tokens."""

    input_ids: NDArray[Any]  # [T] uint16 or uint32 as stored, masked
    segment_ids: NDArray[np.uint8]  # [T], 0 = A, 1 = B
    position_ids: NDArray[np.uint16]  # [T], place in its instance
    cu_seqlens: NDArray[np.int32]  # [B + 1], borders of the instances
    masked_lm_positions: NDArray[np.int32]  # [M], indices into the stream
    masked_lm_ids: NDArray[Any]  # [M], dtype of input_ids
    next_sentence_labels: NDArray[np.uint8]  # [B], IS_NEXT = 0, IS_RANDOM = 1


class StepBatch(NamedTuple):
    """This rank's share of one optimizer step."""

    step: int
    micro_batches: list[MicroBatch]


class Reading(NamedTuple):
    """How a rank reads its share of the steps."""

    seed: int
    phase: int
    batch: int  # instances of a step, over all ranks
    masking: MaskingConfig | None  # None: the masks that the shards hold
    micro_batch_tokens: int
    rank: int
    world: int


def find_samples(corpus: Corpus, sample: I64, seed: int, phase: int) -> tuple[I64, I64]:
    """Epochs and instance numbers of samples [B] counted from the start of the run, each [B]."""
    epoch = sample // corpus.num_instances
    index = np.empty_like(sample)
    for number in np.unique(epoch):
        here = epoch == number
        ranks = sample[here] - number * corpus.num_instances
        index[here] = corpus.order(seed, phase, int(number), ranks)
    return epoch, index


def make_stream(
    corpus: Corpus, epoch: I64, index: I64, masking: MaskingConfig | None, *, seed: int, phase: int
) -> MicroBatch:
    """One stream of the instances `index`, masked as in their epochs; both arrays are [B].

    Raises:
        ShardError: `masking` is None and the shards hold no masks.
    """
    keys = instance_keys(seed, phase, epoch, index)
    return _as_stream(corpus, corpus.take(index), keys, masking)


def _as_stream(
    corpus: Corpus, instances: Instances, keys: NDArray[np.uint64], masking: MaskingConfig | None
) -> MicroBatch:
    masked = _mask(corpus, instances, keys, masking)
    offsets = instances.offsets.astype(np.int64)
    segment_ids, position_ids = segments_and_positions(offsets, instances.segment_b_start)
    return MicroBatch(
        masked.input_ids,
        segment_ids,
        position_ids,
        offsets.astype(np.int32),
        masked.masked_lm_positions,
        masked.masked_lm_ids,
        instances.next_sentence_labels,
    )


def _mask(
    corpus: Corpus, instances: Instances, keys: NDArray[np.uint64], masking: MaskingConfig | None
) -> Masked:
    if masking is not None:
        ids = original_ids(instances)
        return mask_tokens(ids, instances.offsets, keys, masking, corpus.info)
    masked = stored_masks(instances)
    if masked is None:
        raise ShardError(
            f"masking is null, which takes the masks that the shards hold, but {corpus.files[0]} "
            "and its companions hold none. Give pretrain.phase<n>.masking, or make shards with "
            "masks (encode.phase<n>.masking)."
        )
    return masked


def cut_stream(stream: MicroBatch, most_tokens: int) -> list[MicroBatch]:
    """Cuts a stream between instances into micro-batches of at most `most_tokens` tokens."""
    bounds = stream.cu_seqlens.astype(np.int64)
    pieces = []
    for first, last in cut_lengths(np.diff(bounds), most_tokens):
        low, high = bounds[first], bounds[last]
        targets = slice(*np.searchsorted(stream.masked_lm_positions, [low, high]))
        tokens = slice(low, high)
        pieces.append(
            MicroBatch(
                stream.input_ids[tokens],
                stream.segment_ids[tokens],
                stream.position_ids[tokens],
                (bounds[first : last + 1] - low).astype(np.int32),
                stream.masked_lm_positions[targets] - np.int32(low),
                stream.masked_lm_ids[targets],
                stream.next_sentence_labels[first:last],
            )
        )
    return pieces


def cut_lengths(lengths: I64, most_tokens: int) -> list[tuple[int, int]]:
    """Ranges of consecutive instances whose lengths add up to at most `most_tokens`.

    An instance longer than that stands alone. Example: [3, 4, 2, 9, 1] with 7 ->
    [(0, 2), (2, 3), (3, 4), (4, 5)].
    """
    bounds = offsets_of(lengths)
    ranges, first = [], 0
    while first < len(lengths):
        fits = int(np.searchsorted(bounds, bounds[first] + most_tokens, side="right")) - 1
        last = max(fits, first + 1)
        ranges.append((first, last))
        first = last
    return ranges


def segments_and_positions(
    offsets: I64, segment_b_start: NDArray[np.uint16]
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Segment ids [T] (0 = A, 1 = B) and places in the instance [T] of a stream.

    Args:
        offsets: [B + 1], borders of the instances, each shorter than 2**16.
        segment_b_start: [B], place of B's first token; 0 = one segment.
    """
    lengths = np.diff(offsets)
    position_ids = np.arange(offsets[-1], dtype=np.int32)
    position_ids -= np.repeat(offsets[:-1].astype(np.int32), lengths)
    start = segment_b_start.astype(np.int32)
    start = np.where(start == 0, lengths.astype(np.int32), start)
    segment_ids = position_ids >= np.repeat(start, lengths)
    return segment_ids.view(np.uint8), position_ids.astype(np.uint16)


def rank_share(count: int, rank: int, world: int) -> I64:
    """Places of a batch that fall to `rank`: every `world`-th one."""
    return np.arange(rank, count, world)


def read_steps(corpus: Corpus, steps: range, reading: Reading) -> Iterator[StepBatch]:
    """Yields this rank's share of each step, cut into micro-batches.

    Raises:
        ShardError: A shard is damaged, or has no masks where `reading.masking` is None.
    """
    share = rank_share(reading.batch, reading.rank, reading.world)
    for step in steps:
        sample = (step - 1) * reading.batch + share
        epoch, index = find_samples(corpus, sample, reading.seed, reading.phase)
        micro_batches = list(_read_samples(corpus, epoch, index, reading))
        yield StepBatch(step, micro_batches)
        del micro_batches  # not kept while the next step is made


def _read_samples(corpus: Corpus, epoch: I64, index: I64, reading: Reading) -> Iterator[MicroBatch]:
    """Micro-batches of one rank and step, masked in chunks of about `_CHUNK_TOKENS`."""
    instances = corpus.take(index)
    keys = instance_keys(reading.seed, reading.phase, epoch, index)
    ranges = cut_lengths(instances.lengths, reading.micro_batch_tokens)
    for first, last in cut_lengths(
        np.array([instances.offsets[b] - instances.offsets[a] for a, b in ranges], np.int64),
        _CHUNK_TOKENS,
    ):
        start, stop = ranges[first][0], ranges[last - 1][1]
        chunk = slice_instances(instances, start, stop)
        stream = _as_stream(corpus, chunk, keys[start:stop], reading.masking)
        yield from cut_stream(stream, reading.micro_batch_tokens)


def steps_ahead(corpus: Corpus, reading: Reading) -> int:
    """How many steps to make ahead: at least one, and together at most some 64 MB."""
    tokens = reading.batch / reading.world * corpus.num_tokens / corpus.num_instances
    return int(min(max(_AHEAD_BYTES // (tokens * _BYTES_PER_TOKEN), 1), _MOST_AHEAD))


def read_all(
    corpus: Corpus, *, micro_batch_tokens: int, masking: MaskingConfig | None, seed: int,
    limit: int | None, rank: int = 0, world: int = 1,
) -> Iterator[MicroBatch]:  # fmt: skip
    """Yields this rank's share of the first `limit` instances once, in stored order.

    The instances are cut into micro-batches that do not depend on the ranks, as many in each as
    surely fit, and every `world`-th is this rank's. So a model's results on them add up to the same
    sums for any number of ranks.
    """
    count = min(corpus.num_instances, limit or corpus.num_instances)
    reading = Reading(seed, 0, 0, masking, micro_batch_tokens, rank, world)
    each = max(1, micro_batch_tokens // corpus.info.max_seq_length)
    for start in range(rank * each, count, world * each):
        index = np.arange(start, min(start + each, count))
        yield from _read_samples(corpus, np.zeros_like(index), index, reading)
