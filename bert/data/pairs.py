"""Sentence-pair instances, by the algorithm published with BERT, and ALBERT's variant of it.

Source: google-research/bert `create_pretraining_data.py`, `create_instances_from_document` and
`truncate_seq_pair`; google-research/albert, file and function of the same names. A document grows
chunks of sentences up to a target length; a chunk is cut into A and B between two sentences.

- next_sentence: B follows A, or it comes from another document; the sentences that B displaced
  then start the next chunk. A chunk of one sentence always gets a B from elsewhere, so more than
  the asked-for share of labels is IS_RANDOM.
- sentence_order: A and B follow each other, and are swapped with probability one half; IS_RANDOM
  then means swapped.

Deviations: the other document is one of the same block, not of the whole file, and is drawn once
among the others (the original draws up to ten times, and may end in the same document and say
IS_RANDOM). Where there is no other document, and in sentence_order, a chunk of one sentence is cut
in its middle, and its halves are A and B (ALBERT's code takes B from elsewhere and says that A and
B are swapped); a sentence of one token cannot be cut and is left out and counted.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.data.blocks import Tokens
from bert.data.instance_config import InstanceConfig
from bert.data.layout import Layout
from bert.data.ragged import I64
from bert.data.randomness import uniforms
from bert.data.shards import IS_NEXT, IS_RANDOM

_SWAP_PROBABILITY = 0.5  # Lan et al. 2020, section 3.1


class Pairs(NamedTuple):
    """N pairs as token ranges [start, end) of their segments, and labels."""

    a: I64  # [N, 2]
    b: I64  # [N, 2]
    labels: NDArray[np.uint8]  # [N]


def make_pairs(
    tokens: Tokens, order: I64, config: InstanceConfig, rng: np.random.Generator, limit: int
) -> tuple[Layout, dict[str, int]]:
    """The instances of one pass over the documents of a block.

    Args:
        tokens: The block.
        order: Numbers of its documents, in the order in which they are visited.
        config: The section; its objective is next_sentence or sentence_order.
        rng: Source of all draws.
        limit: Most instances; the pass ends when it has them.

    Returns:
        The layout, and the counts `truncated_tokens` (cut away so that a pair fits) and
        `lone_sentences` (left out, see the module's last line).
    """
    pairs, lone = _draw_pairs(tokens, order, config, rng, limit)
    room = config.max_seq_length - 3  # [CLS] A [SEP] B [SEP]
    a, b, cut = truncate(pairs.a, pairs.b, room, rng)
    bounds = np.stack([a, b], axis=1).reshape(-1, 2)
    layout = Layout(
        np.ascontiguousarray(bounds[:, 0]),
        bounds[:, 1] - bounds[:, 0],
        np.arange(len(a) + 1) * 2,
        pairs.labels,
    )
    return layout, {"truncated_tokens": cut, "lone_sentences": lone}


def truncate(a: I64, b: I64, room: int, rng: np.random.Generator) -> tuple[I64, I64, int]:
    """Shortens the longer segments until pairs fit into `room` tokens, at either end by chance.

    The original removes one token at a time from the longer segment (B in a tie), from the front
    or the back with probability one half. The lengths that result do not depend on chance, and
    the number taken from the front is binomial: drawing it at once is the same distribution.

    Example, room 9: of lengths 10 and 4, A loses 5; of lengths 6 and 6, B loses 2 and A 1.

    Args:
        a: [N, 2] token ranges.
        b: [N, 2] token ranges.
        room: Tokens of A and B together.
        rng: Source of the draws.

    Returns:
        The shortened ranges, and how many tokens were cut away.
    """
    length_a, length_b = a[:, 1] - a[:, 0], b[:, 1] - b[:, 0]
    excess = np.maximum(length_a + length_b - room, 0)
    gap = length_a - length_b
    from_longer = np.minimum(excess, np.abs(gap))
    rest = excess - from_longer
    cut_a = rest // 2 + np.where(gap > 0, from_longer, 0)
    cut_b = rest - rest // 2 + np.where(gap < 0, from_longer, 0)
    return _cut(a, cut_a, rng), _cut(b, cut_b, rng), int(excess.sum())


def _cut(segment: I64, count: I64, rng: np.random.Generator) -> I64:
    front = rng.binomial(count, 0.5)
    return np.stack([segment[:, 0] + front, segment[:, 1] - (count - front)], axis=1)


def _draw_pairs(
    tokens: Tokens, order: I64, config: InstanceConfig, rng: np.random.Generator, limit: int
) -> tuple[Pairs, int]:
    draw = uniforms(rng).__next__
    bounds, documents = tokens.sentences.tolist(), tokens.documents.tolist()
    room = config.max_seq_length - 3
    swap = config.objective == "sentence_order"
    has_others = len(documents) > 2 and not swap
    random_next = config.random_next_prob or 0.0 if has_others else 0.0
    rows: list[int] = []  # five numbers a pair: a start, a end, b start, b end, label
    lone = 0
    for document in order.tolist():
        first, end = documents[document], documents[document + 1]
        target = room
        if draw() < config.short_seq_prob:
            target = 2 + int(draw() * (room - 1))
        while first < end:
            start = bounds[first]
            # A chunk grows until it reaches the target; it may overshoot, truncation mends that.
            last = min(bisect_left(bounds, start + target, first + 1, end + 1), end)
            alone = last - first == 1
            a_end = first + 1 if alone else first + 1 + int(draw() * (last - first - 1))
            middle, stop = bounds[a_end], bounds[last]
            if has_others and (alone or draw() < random_next):
                wanted = target - (middle - start)
                b = _random_next(bounds, documents, document, wanted, draw)
                rows += (start, middle, *b, IS_RANDOM)
                first = a_end  # the sentences not used for A start the next chunk
                continue
            first = last
            if alone:
                middle = (start + stop) // 2
                if middle == start:
                    lone += 1
                    continue
            if swap and draw() < _SWAP_PROBABILITY:
                rows += (middle, stop, start, middle, IS_RANDOM)
            else:
                rows += (start, middle, middle, stop, IS_NEXT)
        if len(rows) >= 5 * limit:
            break
    table = np.array(rows, np.int64).reshape(-1, 5)[:limit]
    return Pairs(table[:, 0:2], table[:, 2:4], table[:, 4].astype(np.uint8)), lone


def _random_next(
    bounds: list[int],
    documents: list[int],
    document: int,
    wanted: int,
    draw: Callable[[], float],
) -> tuple[int, int]:
    """Sentences of another document from a random one on, until they reach `wanted` tokens."""
    other = int(draw() * (len(documents) - 2))
    other += other >= document
    first, end = documents[other], documents[other + 1]
    first += int(draw() * (end - first))
    last = min(bisect_left(bounds, bounds[first] + wanted, first + 1, end + 1), end)
    return bounds[first], bounds[last]
