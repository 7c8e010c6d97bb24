"""Masked-language-model targets, drawn at load time as a function of (seed, epoch, instance).

Each draw is a hash of its instance's key and a place, so masks do not depend on the batch, the
worker or the rank that asks. Which tokens are predicted: `bert.data.targets`. What stands in their
place: 80 % [MASK], 10 % a random token, 10 % the token itself (Devlin et al. 2019, section 3.1);
drawn for each token, or once for a whole span (Joshi et al. 2020).
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from bert.config import Section, knob
from bert.data.randomness import U64, make_key, random_below, random_bits
from bert.data.shards import Instances, ShardInfo
from bert.data.targets import (
    MOST_INSTANCES,
    Block,
    Targets,
    choose_spans,
    choose_tokens,
    choose_words,
)

I64 = NDArray[np.int64]
_BLOCK_TOKENS = 1 << 16  # the arrays of a block stay in the processor's cache


class SpanConfig(Section):
    """Lengths of masked spans."""

    geometric_p: float = knob(
        "Parameter of the geometric distribution of a span's words (SpanBERT 0.2).", gt=0, lt=1
    )
    max_words: int = knob("Most words of a span (SpanBERT 10).", ge=1, le=1000)


class MaskingConfig(Section):
    """How tokens are chosen for prediction and what stands in their place."""

    unit: Literal["token", "whole_word", "span"] = knob(
        "What is chosen: single tokens, whole words (Google's whole-word masking), or spans of "
        "whole words (SpanBERT)."
    )
    mask_prob: float = knob("Share of an instance's tokens that are predicted.", gt=0, le=1)
    max_predictions: int = knob("Most predicted tokens in one instance.", ge=1)
    mask_token_share: float = knob(
        "Share of predicted tokens shown as [MASK] (published 0.8).", ge=0, le=1
    )
    random_token_share: float = knob(
        "Share of predicted tokens shown as a random one (published 0.1).", ge=0, le=1
    )
    span: SpanConfig | None = knob("Lengths of the spans, for unit span; null otherwise.")

    @model_validator(mode="after")
    def _fits_together(self) -> "MaskingConfig":
        total = self.mask_token_share + self.random_token_share
        if total > 1:
            raise ValueError(
                f"mask_token_share + random_token_share is {total:g}; they must add up to at most "
                "1, the rest stays as it is. Lower one of them."
            )
        if (self.unit == "span") != (self.span is not None):
            raise ValueError(
                f"unit is {self.unit} and span is {self.span and self.span.model_dump()}; unit "
                "span needs the lengths of its spans, every other unit has span: null."
            )
        return self


class Masked(NamedTuple):
    """A token stream with targets; ids have the dtype of the stream that was masked."""

    input_ids: NDArray[Any]  # [T], replaced where chosen
    masked_lm_positions: NDArray[np.int32]  # [M], indices into the stream, ascending
    masked_lm_ids: NDArray[Any]  # [M], the original tokens


def num_predictions(lengths: I64, config: MaskingConfig) -> I64:
    """Predicted tokens of instances with `lengths` tokens, special ones counted, [N] int64.

    min(max_predictions, max(1, round(length * mask_prob))), rounding half to even, as published.
    An instance with fewer ordinary tokens has fewer, and so has one whose words do not add up to
    exactly this number; none has more.
    """
    wanted = np.rint(lengths * config.mask_prob).astype(np.int64)
    counts: I64 = np.minimum(config.max_predictions, np.maximum(1, wanted))
    return counts


def mask_tokens(
    input_ids: NDArray[Any],
    offsets: NDArray[Any],
    keys: U64,
    config: MaskingConfig,
    info: ShardInfo,
) -> Masked:
    """Draws the targets of a stream of instances, unmasked, each shorter than 2**16 tokens.

    Args:
        input_ids: [T] integers, instances end to end; not changed.
        offsets: [B + 1] integers, borders of the instances.
        keys: [B] uint64, one key an instance, see `instance_keys`.
        config: The masking knobs.
        info: Vocabulary facts; special tokens are never chosen and never drawn.

    Differs from google-research/bert: [UNK] is never a target, a random token is never special,
    and a piece that continues a word does not reach back over a [SEP]. Differs from SpanBERT's
    code: the number of predictions is BERT's, a span starts at each word with equal chance (there
    at each token), spans do not overlap, and the last one ends between words.
    """
    bounds = offsets.astype(np.int64)
    masked = input_ids.copy()
    special, ordinary = _token_kinds(info)
    continues = info.is_continuation() if config.unit != "token" else None
    pieces: list[NDArray[np.int32]] = []
    for first, last in _blocks(bounds):
        tokens = slice(bounds[first], bounds[last])
        ids = input_ids[tokens]
        block = _make_block(bounds[first : last + 1], keys[first:last], ~special[ids])
        targets = _choose(block, config, None if continues is None else continues[ids])
        shown = _replacements(block, targets, ids[targets.positions], config, info, ordinary)
        masked[tokens][targets.positions] = shown
        pieces.append((targets.positions + bounds[first]).astype(np.int32))
    positions = np.concatenate([np.zeros(0, np.int32), *pieces])
    return Masked(masked, positions, input_ids[positions])


def stored_masks(instances: Instances) -> Masked | None:
    """The static masks of a stream, or None if it has none."""
    if instances.masked_lm_ids is None:
        return None
    return Masked(instances.input_ids, _stored_positions(instances), instances.masked_lm_ids)


def original_ids(instances: Instances) -> NDArray[Any]:
    """The tokens of a stream as they were before static masking, [T]; a copy if there are masks."""
    if instances.masked_lm_ids is None:
        return instances.input_ids
    restored = instances.input_ids.copy()
    restored[_stored_positions(instances)] = instances.masked_lm_ids
    return restored


def with_masks(instances: Instances, masked: Masked) -> Instances:
    """The instances of a stream with `masked` as their static masks."""
    bounds = instances.offsets.astype(np.int64)
    ends: I64 = np.searchsorted(masked.masked_lm_positions, bounds).astype(np.int64)
    place = masked.masked_lm_positions - np.repeat(bounds[:-1], ends[1:] - ends[:-1])
    return instances._replace(
        input_ids=masked.input_ids,
        masked_lm_offsets=ends.astype(np.uint64),
        masked_lm_positions=place.astype(np.uint16),
        masked_lm_ids=masked.masked_lm_ids,
    )


def _stored_positions(instances: Instances) -> NDArray[np.int32]:
    """Static masks by their place in the stream, [M]."""
    assert instances.masked_lm_offsets is not None
    assert instances.masked_lm_positions is not None
    ends = instances.masked_lm_offsets.astype(np.int64)
    counts = ends[1:] - ends[:-1]
    starts = np.repeat(instances.offsets[:-1].astype(np.int64), counts)
    positions: NDArray[np.int32] = (starts + instances.masked_lm_positions).astype(np.int32)
    return positions


def instance_keys(seed: int, phase: int, epoch: I64, instance: I64) -> U64:
    """Keys of instances in their epochs, [B] uint64; both arguments are [B] int64."""
    base = random_bits(make_key(seed, phase, 0x6D61736B), epoch.astype(np.uint64))
    return random_bits(base, instance.astype(np.uint64))


def _token_kinds(info: ShardInfo) -> tuple[NDArray[np.bool_], I64]:
    """Whether an id is special, [vocab_size], and the ids that are not."""
    special = np.zeros(info.vocab_size, np.bool_)
    special[list(info.special_ids)] = True
    return special, np.flatnonzero(~special)


def _blocks(bounds: I64) -> Iterator[tuple[int, int]]:
    """Ranges of instances with about `_BLOCK_TOKENS` tokens."""
    first, count = 0, len(bounds) - 1
    while first < count:
        fits = int(np.searchsorted(bounds, bounds[first] + _BLOCK_TOKENS, side="right")) - 1
        last = min(max(fits, first + 1), first + MOST_INSTANCES)
        yield first, last
        first = last


def _make_block(bounds: I64, keys: U64, candidate: NDArray[np.bool_]) -> Block:
    offsets = bounds - bounds[0]
    lengths = np.diff(offsets)
    instance = np.repeat(np.arange(len(keys)), lengths)
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return Block(offsets, keys, instance, place, candidate)


def _choose(block: Block, config: MaskingConfig, continues: NDArray[np.bool_] | None) -> Targets:
    wanted = num_predictions(np.diff(block.offsets), config)
    if continues is None:
        return choose_tokens(block, wanted)
    if config.span is None:
        return choose_words(block, wanted, continues)
    return choose_spans(block, wanted, continues, config.span.geometric_p, config.span.max_words)


def _replacements(
    block: Block, targets: Targets, original: NDArray[Any], config: MaskingConfig,
    info: ShardInfo, ordinary: I64,
) -> NDArray[Any]:  # fmt: skip
    keys = block.keys[block.instance[targets.positions]]
    place = block.place[targets.positions].astype(np.uint64)
    decision = block.place[targets.decided_by].astype(np.uint64)
    uniform = (random_bits(keys ^ np.uint64(1), decision) >> np.uint64(11)) * 2.0**-53
    drawn = ordinary[random_below(keys ^ np.uint64(2), place, len(ordinary))]
    keep_from = config.mask_token_share + config.random_token_share
    shown = np.where(uniform < keep_from, drawn, original)
    return np.where(uniform < config.mask_token_share, info.mask_id, shown)
