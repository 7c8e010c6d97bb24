"""Counts over instances as training sees them: lengths, labels, targets, structure, duplicates."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.batches import MicroBatch
from bert.data.corpus import Corpus
from bert.data.masking import MaskingConfig, num_predictions
from bert.data.randomness import U64, make_key, random_bits
from bert.data.shards import ShardInfo
from bert.data.vocab import Vocabulary
from bert.examine.config import ExamineConfig

_PLACES = 10
_TOKEN_KEY = make_key(0x696E7370)


class Findings(NamedTuple):
    """Sums over the instances looked at; shares are made of them by `bert.examine.rules`."""

    instances: int
    duplicates: int  # instances whose text stood there before
    tokens: int
    unknown_tokens: int
    lengths: NDArray[np.int64]  # [max_seq_length + 1], instances of each length; too long: last
    pairs: int  # instances of two segments
    random_next: int  # of these, label 1
    misshapen: int  # not [CLS] ... [SEP], or B does not follow a [SEP], or [PAD], [MASK] in text
    wanted_targets: int  # by the masking section; 0 if the masks are stored ones
    targets: int
    special_targets: int
    shown_mask: int
    shown_random: int
    shown_same: int
    targets_by_place: NDArray[np.int64]  # [10], tenths of the instance
    tokens_by_place: NDArray[np.int64]  # [10]


def spread(corpus: Corpus, config: ExamineConfig) -> Iterator[NDArray[np.int64]]:
    """Instance numbers to look at, an array for each of the evenly spaced shards.

    Each shard gives its first instances: within a shard they stand in random order already.
    """
    filled = np.flatnonzero(corpus.counts)
    places = np.linspace(0, len(filled) - 1, min(config.shards, len(filled))).astype(np.int64)
    left = config.instances
    for done, shard in enumerate(filled[np.unique(places)].tolist()):
        wanted = -(-left // (len(np.unique(places)) - done))
        count = min(wanted, int(corpus.counts[shard]))
        left -= count
        if count:
            yield corpus.first[shard] + np.arange(count)


def look(
    batches: Iterable[MicroBatch], info: ShardInfo, vocabulary: Vocabulary,
    masking: MaskingConfig | None,
) -> Findings:  # fmt: skip
    """Counts over `batches`, as the loader gives them.

    Args:
        batches: Streams of masked instances.
        info: What the shards state.
        vocabulary: The vocabulary of the run.
        masking: The section the masks were drawn by; None for stored masks.

    Raises:
        ValueError: There is no instance.
    """
    sums: list[NDArray[np.int64]] = []
    hashes: list[U64] = []
    for batch in batches:
        sums.append(_count(batch, info, vocabulary, masking))
        hashes.append(fingerprints(original_stream(batch), batch.cu_seqlens))
    if not sums:
        raise ValueError("There is no instance to look at; run the rule `shard` again.")
    total = np.sum(sums, axis=0)
    seen = np.concatenate(hashes)
    width = info.max_seq_length + 1
    lengths, scalars, places = np.split(total, [width, len(total) - 2 * _PLACES])
    pairs, random_next, tokens, unknown, misshapen, wanted, targets, special = map(int, scalars[:8])
    mask, random, same = map(int, scalars[8:])
    of_targets, of_tokens = np.split(places, 2)
    return Findings(
        len(seen),
        len(seen) - len(np.unique(seen)),
        tokens,
        unknown,
        lengths,
        pairs,
        random_next,
        misshapen,
        wanted,
        targets,
        special,
        mask,
        random,
        same,
        of_targets,
        of_tokens,
    )


def original_stream(batch: MicroBatch) -> NDArray[np.int64]:
    """The tokens of a stream as they were before masking, [T] int64."""
    ids = batch.input_ids.astype(np.int64)
    ids[batch.masked_lm_positions] = batch.masked_lm_ids
    return ids


def fingerprints(ids: NDArray[np.int64], cu_seqlens: NDArray[np.int32]) -> U64:
    """A 64-bit hash of each instance's tokens and their places, [B] uint64."""
    starts = cu_seqlens[:-1].astype(np.int64)
    lengths = np.diff(cu_seqlens)
    place = np.arange(len(ids)) - np.repeat(starts, lengths)
    mixed = random_bits(
        _TOKEN_KEY, (place.astype(np.uint64) << np.uint64(32)) | ids.astype(np.uint64)
    )
    hashes: U64 = np.add.reduceat(mixed, starts)
    return hashes


def _count(
    batch: MicroBatch, info: ShardInfo, vocabulary: Vocabulary, masking: MaskingConfig | None
) -> NDArray[np.int64]:
    """One row of sums: lengths, scalars in the order of `look`, targets and tokens by place."""
    ids = original_stream(batch)
    lengths = np.diff(batch.cu_seqlens).astype(np.int64)
    starts = batch.cu_seqlens[:-1].astype(np.int64)
    is_pair = np.maximum.reduceat(batch.segment_ids, starts) > 0
    shown = batch.input_ids[batch.masked_lm_positions].astype(np.int64)
    same, mask = shown == batch.masked_lm_ids, shown == info.mask_id
    wanted = 0 if masking is None else int(num_predictions(lengths, masking).sum())
    tenth = (batch.position_ids.astype(np.int64) * _PLACES) // np.repeat(lengths, lengths)
    scalars = [
        int(is_pair.sum()),
        int(batch.next_sentence_labels[is_pair].sum()),
        len(ids),
        int((ids == vocabulary.unk_id).sum()),
        int(_misshapen(ids, batch, starts, lengths, vocabulary).sum()),
        wanted,
        len(shown),
        int(np.isin(batch.masked_lm_ids, list(vocabulary.special_ids)).sum()),
        int(mask.sum()),
        int((~mask & ~same).sum()),
        int((same & ~mask).sum()),
    ]
    return np.concatenate(
        [
            np.bincount(
                np.minimum(lengths, info.max_seq_length), minlength=info.max_seq_length + 1
            ),
            scalars,
            np.bincount(tenth[batch.masked_lm_positions], minlength=_PLACES),
            np.bincount(tenth, minlength=_PLACES),
        ]
    ).astype(np.int64)


def _misshapen(
    ids: NDArray[np.int64], batch: MicroBatch, starts: NDArray[np.int64],
    lengths: NDArray[np.int64], vocabulary: Vocabulary,
) -> NDArray[np.bool_]:  # fmt: skip
    """Instances that are not [CLS] A [SEP] or [CLS] A [SEP] B [SEP], bool [B]."""
    wrong = (ids[starts] != vocabulary.cls_id) | (ids[starts + lengths - 1] != vocabulary.sep_id)
    inside = np.isin(ids, [vocabulary.pad_id, vocabulary.mask_id, vocabulary.cls_id])
    inside[starts] = False
    first_of_b = np.zeros(len(ids), np.bool_)
    first_of_b[1:] = (batch.segment_ids[1:] == 1) & (batch.segment_ids[:-1] == 0)
    first_of_b[starts] = False
    before_b = np.zeros(len(ids), np.bool_)
    before_b[1:] = first_of_b[1:] & (ids[:-1] != vocabulary.sep_id)
    result: NDArray[np.bool_] = wrong | np.logical_or.reduceat(inside | before_b, starts)
    return result
