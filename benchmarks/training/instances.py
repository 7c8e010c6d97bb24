"""The instances of a case, as two shards: as they are, and filled up to the case's length.

Both have the same masks, stored, so that all variants see the same tokens and predict the same
ones. "Filled up" means that [PAD] is appended as if it were part of the sequence: the model then
computes what a padded system computes, position for position, without a mask of attention.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bert.data.masking import MaskingConfig, instance_keys, mask_tokens, with_masks
from bert.data.shard_writer import write_instances
from bert.data.shards import Instances, ShardInfo

PAD, UNK, CLS, SEP, MASK = 0, 100, 101, 102, 103  # of Google's uncased vocabulary
VOCABULARY = 30_522
FILES = {False: "plain.h5", True: "padded.h5"}


def masking_of(predictions: int) -> MaskingConfig:
    """The published masks: 15 % of a sequence's tokens, `predictions` at most."""
    return MaskingConfig(
        unit="token", span=None, mask_prob=0.15, max_predictions=predictions,
        mask_token_share=0.8, random_token_share=0.1,
    )  # fmt: skip


def made_info(length: int) -> ShardInfo:
    """Facts of instances whose tokens are made up."""
    return ShardInfo(length, "0" * 64, VOCABULARY, MASK, (PAD, UNK, CLS, SEP, MASK))


def made_instances(lengths: tuple[int, ...], seed: int) -> Instances:
    """Random tokens between [CLS] and [SEP]s, two segments of about the same length."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(lengths)
    ids = rng.integers(1000, VOCABULARY, ends[-1]).astype(np.uint16)
    starts = np.concatenate([[0], ends[:-1]])
    halves = np.array(lengths) // 2
    ids[starts], ids[starts + halves - 1], ids[ends - 1] = CLS, SEP, SEP
    return Instances(
        ids,
        np.concatenate([[0], ends]).astype(np.uint64),
        halves.astype(np.uint16),
        rng.integers(0, 2, len(lengths)).astype(np.uint8),
    )


def write_case(folder: Path, instances: Instances, info: ShardInfo, predictions: int) -> None:
    """Masks the instances and writes both shards, see `FILES`.

    Args:
        folder: Made here.
        instances: Without masks.
        info: Of the corpus they come from; max_seq_length is what they are filled up to.
        predictions: Most predicted tokens of an instance.
    """
    folder.mkdir(parents=True)
    count = len(instances.lengths)
    keys = instance_keys(1, 1, np.zeros(count, np.int64), np.arange(count))
    masking = masking_of(predictions)
    masked = mask_tokens(instances.input_ids, instances.offsets, keys, masking, info)
    plain = with_masks(instances, masked)
    for padded, name in FILES.items():
        chosen = fill_up(plain, info.max_seq_length) if padded else plain
        write_instances(folder / name, chosen, info, seed=1, config={})


def fill_up(instances: Instances, length: int) -> Instances:
    """The same instances with [PAD] behind their last token, each `length` tokens long."""
    there: NDArray[np.bool_] = np.arange(length) < instances.lengths[:, None]
    filled = np.full(there.shape, PAD, instances.input_ids.dtype)
    filled[there] = instances.input_ids
    offsets = np.arange(len(there) + 1, dtype=np.uint64) * np.uint64(length)
    return instances._replace(input_ids=filled.ravel(), offsets=offsets)
