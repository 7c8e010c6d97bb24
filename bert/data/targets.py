"""Which tokens of a stream are predicted: single tokens, whole words, or spans of words.

All three draw from one order: the candidates of an instance by the size of their hash. A single
token is a candidate by itself; a word is a piece and the pieces that continue it. Everything is
worked out for all instances of a block together, never token by token.

- token: Devlin et al. 2019, section 3.1. The first candidates of the order.
- whole_word: `create_masked_lm_predictions` of google-research/bert with its whole-word switch.
  Words in random order; one that would overshoot the number of predictions is skipped.
- span: Joshi et al. 2020 (SpanBERT), section 3.1. Words in random order start a span of a
  geometric number of words, clipped by leaving out longer ones; it ends early at a special token,
  at a word that is taken already, or at the number of predictions, always between words.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.randomness import U64, random_bits

I64 = NDArray[np.int64]
_PLACE_BITS = np.uint64(16)
_RANDOM_BITS = np.uint64(32)
_PLACE_MASK = np.uint64((1 << 16) - 1)
MOST_INSTANCES = 1 << 16  # of a block: what is left of 64 bits


class Block(NamedTuple):
    """Some instances of a stream: T tokens, B instances (at most `MOST_INSTANCES`)."""

    offsets: I64  # [B + 1], borders of the instances, from 0
    keys: U64  # [B], one an instance
    instance: I64  # [T], number of the token's instance
    place: I64  # [T], place of the token in its instance, below 2**16
    candidate: NDArray[np.bool_]  # [T], may be predicted: not a special token


class Targets(NamedTuple):
    """Chosen tokens: M of them, by their place in the block, ascending."""

    positions: I64  # [M]
    decided_by: I64  # [M], the token whose draw says what stands in its place


def choose_tokens(block: Block, wanted: I64) -> Targets:
    """`wanted` [B] candidates of each instance, or all if it has fewer."""
    positions = np.flatnonzero(block.candidate)
    instance = block.instance[positions]
    order = _shuffled(block, positions, block.place[positions])
    counts = np.bincount(instance, minlength=len(wanted))
    first = np.cumsum(counts) - counts
    taken = np.minimum(wanted, counts)
    ends = np.cumsum(taken)
    rank = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - taken, taken)
    within = order[np.repeat(first, taken) + rank].astype(np.int64)
    chosen = np.sort(within + np.repeat(block.offsets[:-1], taken))
    return Targets(chosen, chosen)


def choose_words(block: Block, wanted: I64, continues: NDArray[np.bool_]) -> Targets:
    """Whole words with at most `wanted` [B] pieces in all; `continues` [T] marks such pieces."""
    words = _find_words(block, continues)
    taken = _take(words, wanted.copy(), np.ones(len(words.first), np.int64))
    chosen = words.token[taken[words.of_token] >= 0]
    return Targets(chosen, chosen)  # each piece is replaced by its own draw, as in Google's code


def choose_spans(
    block: Block, wanted: I64, continues: NDArray[np.bool_], geometric_p: float, max_words: int
) -> Targets:
    """Spans of whole words with at most `wanted` [B] pieces in all, each replaced as a whole."""
    words = _find_words(block, continues)
    chances = geometric_p * (1 - geometric_p) ** np.arange(max_words)
    limits = np.cumsum(chances) / chances.sum()
    draw = _bits(block, words.first, 3) >> np.uint64(11)
    reach = 1 + np.minimum(np.searchsorted(limits, draw * 2.0**-53, side="right"), max_words - 1)
    taken = _take(words, wanted.copy(), reach)
    head = taken[words.of_token]
    return Targets(words.token[head >= 0], words.first[head[head >= 0]])


class _Words(NamedTuple):
    """The words of a block: W words, C candidate tokens."""

    token: I64  # [C], places of the candidates in the block
    of_token: I64  # [C], their words
    first: I64  # [W], place of the first piece
    size: I64  # [W], pieces
    opens_run: NDArray[np.bool_]  # [W], has no word directly before it
    order: I64  # [W], words of each instance in random order, instance by instance
    starts: I64  # [B + 1], borders of the instances in `order`


def _find_words(block: Block, continues: NDArray[np.bool_]) -> _Words:
    token = np.flatnonzero(block.candidate)
    alone = block.place[token] == 0
    alone |= ~block.candidate[token - 1]  # place 0 is decided above, so -1 does no harm
    begins = alone | ~continues[token]
    of_token = np.cumsum(begins) - 1
    first = token[begins]
    instance = block.instance[first]
    counts = np.bincount(instance, minlength=len(block.keys))
    starts = np.concatenate([[0], np.cumsum(counts)])
    within = np.arange(len(first)) - starts[instance]
    order = _shuffled(block, first, within).astype(np.int64) + starts[instance]
    return _Words(token, of_token, first, np.bincount(of_token, minlength=len(first)),
                  alone[begins], order, starts)  # fmt: skip


def _take(words: _Words, left: I64, reach: I64) -> I64:
    """First word of the span that took each word, [W], or -1.

    Args:
        words: The words.
        left: [B], tokens that may be taken; counted down in place.
        reach: [W], most words of a span that starts here.
    """
    taken = np.full(len(words.first), -1)
    counts = np.diff(words.starts)
    active = np.flatnonzero(left > 0)
    for rank in range(int(counts.max(initial=0))):
        active = active[(counts[active] > rank) & (left[active] > 0)]
        if not len(active):
            break
        start = words.order[words.starts[active] + rank]
        _grow(words, taken, left, reach, active, start)
    return taken


def _grow(
    words: _Words, taken: I64, left: I64, reach: I64, instance: I64, start: I64
) -> None:  # fmt: skip
    """Lets one span an instance grow from word `start`, all of them together, word by word."""
    for step in range(int(reach[start].max())):
        word = start + step
        going = (step < reach[start]) & (word < len(taken))
        instance, start, word = instance[going], start[going], word[going]
        free = (taken[word] < 0) & (words.size[word] <= left[instance])
        if step:
            free &= ~words.opens_run[word]
        instance, start, word = instance[free], start[free], word[free]
        if not len(word):
            return
        taken[word] = start
        left[instance] -= words.size[word]


def _shuffled(block: Block, positions: I64, label: I64) -> U64:
    """`label` (below 2**16) of the tokens at `positions` by instance and then by hash."""
    shuffled = _bits(block, positions, 0)
    shuffled >>= np.uint64(64) - _RANDOM_BITS
    shuffled <<= _PLACE_BITS
    shuffled |= label.astype(np.uint64)
    shuffled |= block.instance[positions].astype(np.uint64) << (_RANDOM_BITS + _PLACE_BITS)
    shuffled.sort()
    shuffled &= _PLACE_MASK
    return shuffled


def _bits(block: Block, positions: I64, purpose: int) -> U64:
    keys = block.keys[block.instance[positions]] ^ np.uint64(purpose)
    return random_bits(keys, block.place[positions].astype(np.uint64))
