"""Shards to unpadded micro-batches, in an order that is a function of (seed, phase, epoch).

Sample p of the run (counting from 0 over all steps and ranks) belongs to epoch p // N. In an
epoch the shards come in a keyed random order, and the instances of a shard, too; shards are
globally shuffled already, so only one or two are open at a time. Step t (from 1) takes the samples
(t - 1) * batch up to t * batch, and rank r of W every W-th of them. Nothing is remembered: the
data position of a run is its step.
"""

import queue
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.masking import MaskingConfig, instance_keys, mask_tokens
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

I64 = NDArray[np.int64]

_INSTANCES_AT_ONCE = 1024


class MicroBatch(NamedTuple):
    """A stream of instances with their targets; T tokens, B instances, M predicted tokens."""

    input_ids: I64  # [T], masked
    segment_ids: I64  # [T], 0 = A, 1 = B
    position_ids: I64  # [T], place in its instance
    cu_seqlens: NDArray[np.int32]  # [B + 1], borders of the instances
    masked_lm_positions: I64  # [M], indices into the stream
    masked_lm_ids: I64  # [M]
    next_sentence_labels: I64  # [B], IS_NEXT = 0, IS_RANDOM = 1


class StepBatch(NamedTuple):
    """This rank's share of one optimizer step."""

    step: int
    micro_batches: list[MicroBatch]


class Corpus:
    """The shards of a phase as one indexable set; opens each when it is needed."""

    def __init__(self, files: list[Path]) -> None:
        """Reads the attributes of all files, in the given order.

        Raises:
            ShardError: A file is damaged or does not fit the others.
            ValueError: There is no instance at all.
        """
        infos = [read_info(path) for path in files]
        for path, (info, _, _) in zip(files, infos, strict=True):
            check_same(path, info, infos[0][0], companion=str(files[0]))
        self.files = files
        self.counts = np.array([count for _, count, _ in infos], np.int64)
        self.num_instances = int(self.counts.sum())
        self.num_tokens = sum(tokens for _, _, tokens in infos)
        if not self.num_instances:
            raise ValueError(f"{len(files)} shards hold no instance; run the rule `shard` again.")
        self.info: ShardInfo = infos[0][0]
        self.first = np.concatenate([[0], np.cumsum(self.counts)])
        self._open = lru_cache(maxsize=4)(lambda shard: read_instances(files[shard])[0])

    def take(self, index: I64) -> Instances:
        """The instances with these numbers (counted through all shards), in this order."""
        shard_of = np.searchsorted(self.first, index, side="right") - 1
        pieces, places = [], []
        for shard in dict.fromkeys(shard_of.tolist()):
            place = np.flatnonzero(shard_of == shard)
            pieces.append(gather(self._open(shard), index[place] - self.first[shard]))
            places.append(place)
        merged = concatenate(pieces, input_ids_dtype(self.info.vocab_size))
        return gather(merged, np.argsort(np.concatenate(places), kind="stable"))

    def order(self, seed: int, phase: int, epoch: int, ranks: I64) -> I64:
        """Instance numbers at places `ranks` of an epoch's order, same shape."""
        shards = np.random.default_rng([seed, phase, epoch]).permutation(len(self.files))
        ends = np.cumsum(self.counts[shards])
        slot = np.searchsorted(ends, ranks, side="right")
        index = np.empty_like(ranks)
        for number in np.unique(slot):
            shard, here = int(shards[number]), slot == number
            inside = ranks[here] - (ends[number] - self.counts[shard])
            key = make_key(seed, phase, epoch, shard)
            index[here] = self.first[shard] + Permutation(int(self.counts[shard]), key)(inside)
        return index


def samples_of_step(
    corpus: Corpus, step: int, batch: int, *, seed: int, phase: int
) -> tuple[I64, I64]:
    """Epochs [batch] and instance numbers [batch] of the samples of one step, over all ranks."""
    sample = np.arange((step - 1) * batch, step * batch)
    epoch = sample // corpus.num_instances
    index = np.empty_like(sample)
    for number in np.unique(epoch):
        here = epoch == number
        ranks = sample[here] - number * corpus.num_instances
        index[here] = corpus.order(seed, phase, int(number), ranks)
    return epoch, index


def make_stream(
    corpus: Corpus, epoch: I64, index: I64, masking: MaskingConfig, *, seed: int, phase: int
) -> MicroBatch:
    """One stream of the instances `index`, masked as in their epochs; both arrays are [B]."""
    instances = corpus.take(index)
    input_ids = instances.input_ids.astype(np.int64)
    offsets = instances.offsets.astype(np.int64)
    keys = instance_keys(seed, phase, epoch, index)
    masked = mask_tokens(input_ids, offsets, keys, masking, corpus.info)
    segment_ids, position_ids = segments_and_positions(offsets, instances.segment_b_start)
    return MicroBatch(
        masked.input_ids,
        segment_ids,
        position_ids,
        offsets.astype(np.int32),
        masked.masked_lm_positions,
        masked.masked_lm_ids,
        instances.next_sentence_labels.astype(np.int64),
    )


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
                stream.masked_lm_positions[targets] - low,
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
    ranges, first, total = [], 0, 0
    for place, length in enumerate(lengths.tolist()):
        if place > first and total + length > most_tokens:
            ranges.append((first, place))
            first, total = place, 0
        total += length
    if first < len(lengths):
        ranges.append((first, len(lengths)))
    return ranges


def segments_and_positions(offsets: I64, segment_b_start: NDArray[np.uint16]) -> tuple[I64, I64]:
    """Segment ids [T] (0 = A, 1 = B) and places in the instance [T] of a stream.

    Args:
        offsets: [B + 1], borders of the instances.
        segment_b_start: [B], place of B's first token; 0 = one segment.
    """
    lengths = np.diff(offsets)
    position_ids = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    start = segment_b_start.astype(np.int64)
    start = np.where(start == 0, lengths, start)
    return (position_ids >= np.repeat(start, lengths)).astype(np.int64), position_ids


def rank_share(count: int, rank: int, world: int) -> I64:
    """Places of a batch that fall to `rank`: every `world`-th one."""
    return np.arange(rank, count, world)


class Reading(NamedTuple):
    """How a rank reads its share of the steps."""

    seed: int
    phase: int
    batch: int  # instances of a step, over all ranks
    masking: MaskingConfig
    micro_batch_tokens: int
    rank: int
    world: int


def read_steps(corpus: Corpus, steps: range, reading: Reading) -> Iterator[StepBatch]:
    """Yields this rank's share of each step, cut into micro-batches."""
    seed, phase = reading.seed, reading.phase
    for step in steps:
        epoch, index = samples_of_step(corpus, step, reading.batch, seed=seed, phase=phase)
        share = rank_share(reading.batch, reading.rank, reading.world)
        stream = make_stream(
            corpus, epoch[share], index[share], reading.masking, seed=seed, phase=phase
        )
        yield StepBatch(step, cut_stream(stream, reading.micro_batch_tokens))


def read_all(
    corpus: Corpus, *, micro_batch_tokens: int, masking: MaskingConfig, seed: int,
    limit: int | None, rank: int = 0, world: int = 1,
) -> Iterator[MicroBatch]:  # fmt: skip
    """Yields this rank's share of the first `limit` instances once, in stored order."""
    share = rank_share(min(corpus.num_instances, limit or corpus.num_instances), rank, world)
    for start in range(0, len(share), _INSTANCES_AT_ONCE):
        index = share[start : start + _INSTANCES_AT_ONCE]
        stream = make_stream(corpus, np.zeros_like(index), index, masking, seed=seed, phase=0)
        yield from cut_stream(stream, micro_batch_tokens)


def prefetch(items: Iterator[StepBatch], depth: int = 2) -> Iterator[StepBatch]:
    """Yields `items`, made up to `depth` ahead by a thread; an exception there is raised here."""
    ready: queue.Queue[StepBatch | BaseException | None] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: StepBatch | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:  # handed to the reader, which raises it
            put(error)

    threading.Thread(target=work, daemon=True, name="prefetch").start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
