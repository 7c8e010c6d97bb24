"""Masked-language-model targets, drawn at load time as a function of (seed, epoch, instance).

Each token's draw is a hash of its instance's key and its place, so masks do not depend on the
batch, the worker or the rank that asks. Source of the rule: Devlin et al. 2019, section 3.1, and
google-research/bert `create_masked_lm_predictions`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from bert.config import Section, knob
from bert.data.randomness import U64, make_key, random_below, random_bits
from bert.data.shards import ShardInfo


class MaskingConfig(Section):
    """How tokens are chosen for prediction and what stands in their place."""

    mask_prob: float = knob("Share of an instance's tokens that are predicted.", gt=0, le=1)
    max_predictions: int = knob("Most predicted tokens in one instance.", ge=1)
    mask_token_share: float = knob(
        "Share of predicted tokens shown as [MASK] (published 0.8).", ge=0, le=1
    )
    random_token_share: float = knob(
        "Share of predicted tokens shown as a random one (published 0.1).", ge=0, le=1
    )

    @model_validator(mode="after")
    def _shares_fit(self) -> "MaskingConfig":
        total = self.mask_token_share + self.random_token_share
        if total > 1:
            raise ValueError(
                f"mask_token_share + random_token_share is {total:g}; they must add up to at most "
                "1, the rest stays as it is. Lower one of them."
            )
        return self


class Masked(NamedTuple):
    """A token stream with targets."""

    input_ids: NDArray[np.int64]  # [T], replaced where chosen
    masked_lm_positions: NDArray[np.int64]  # [M], indices into the stream, ascending
    masked_lm_ids: NDArray[np.int64]  # [M], the original tokens


def num_predictions(lengths: NDArray[np.int64], config: MaskingConfig) -> NDArray[np.int64]:
    """Predicted tokens of instances with `lengths` tokens, special ones counted, [N] int64.

    min(max_predictions, max(1, round(length * mask_prob))), rounding half to even, as published.
    An instance with fewer ordinary tokens than that has fewer, see `mask_tokens`.
    """
    wanted = np.rint(lengths * config.mask_prob).astype(np.int64)
    counts: NDArray[np.int64] = np.minimum(config.max_predictions, np.maximum(1, wanted))
    return counts


def mask_tokens(
    input_ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    keys: U64,
    config: MaskingConfig,
    info: ShardInfo,
) -> Masked:
    """Draws the targets of a stream of instances.

    Args:
        input_ids: [T] int64, instances end to end; not changed.
        offsets: [B + 1] int64, borders of the instances.
        keys: [B] uint64, one key an instance, see `instance_keys`.
        config: The masking knobs.
        info: Vocabulary facts; special tokens are never chosen and never drawn.

    Differs from google/bert: [UNK] is never a target, and a random token is never special.
    """
    lengths = np.diff(offsets)
    instance = np.repeat(np.arange(len(lengths)), lengths)
    place = (np.arange(len(input_ids)) - np.repeat(offsets[:-1], lengths)).astype(np.uint64)
    special = np.array(info.special_ids, np.int64)
    priority = random_bits(keys[instance], place)
    priority[np.isin(input_ids, special)] = np.iinfo(np.uint64).max
    candidates = np.bincount(
        instance, weights=priority != np.iinfo(np.uint64).max, minlength=len(lengths)
    ).astype(np.int64)
    wanted = np.minimum(num_predictions(lengths, config), candidates)
    order = np.lexsort((priority, instance))  # within each instance, by random priority
    rank = np.arange(len(input_ids)) - np.repeat(offsets[:-1], lengths)
    chosen = np.sort(order[rank < np.repeat(wanted, lengths)])
    replaced = input_ids.copy()
    replaced[chosen] = _replacements(
        input_ids[chosen], keys[instance[chosen]], place[chosen], config, info
    )
    return Masked(replaced, chosen, input_ids[chosen])


def instance_keys(
    seed: int, phase: int, epoch: NDArray[np.int64], instance: NDArray[np.int64]
) -> U64:
    """Keys of instances in their epochs, [B] uint64; both arguments are [B] int64."""
    base = random_bits(make_key(seed, phase, 0x6D61736B), epoch.astype(np.uint64))
    return random_bits(base, instance.astype(np.uint64))


def _replacements(
    original: NDArray[np.int64], keys: U64, place: U64, config: MaskingConfig, info: ShardInfo
) -> NDArray[np.int64]:
    uniform = (random_bits(keys ^ np.uint64(1), place) >> np.uint64(11)) * 2.0**-53
    ordinary = np.setdiff1d(np.arange(info.vocab_size), info.special_ids)
    drawn = ordinary[random_below(keys ^ np.uint64(2), place, len(ordinary))]
    keep_from = config.mask_token_share + config.random_token_share
    shown = np.where(uniform < keep_from, drawn, original)
    return np.where(uniform < config.mask_token_share, info.mask_id, shown)
