"""Sentence-pair instances for next-sentence prediction, by the algorithm published with BERT.

Source: google-research/bert `create_pretraining_data.py`, `create_instances_from_document` and
`truncate_seq_pair`. An instance is two ranges of one flat token array, so nothing is copied until
it is written.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.config import Section, knob
from bert.data.shards import IS_NEXT, IS_RANDOM


class PairsConfig(Section):
    """Section `encode.<phase>`: how documents become instances."""

    seed: int = knob("Seed of all draws; each part mixes in its phase and number.", ge=0)
    max_seq_length: int = knob("Longest instance in tokens, special tokens included.", ge=8)
    short_seq_prob: float = knob(
        "Share of documents whose target length is drawn uniformly from 2 up (published 0.1).",
        ge=0,
        le=1,
    )
    random_next_prob: float = knob(
        "Probability that segment B comes from another document (published 0.5).", ge=0, le=1
    )
    dupe_factor: int = knob("Passes over the documents, each with other pairs.", ge=1)


class Tokens(NamedTuple):
    """The tokenised documents of one part.

    Sentence s is ids[sentences[s]:sentences[s+1]]; document d is sentences documents[d] up to
    documents[d+1]. No document and no sentence is empty.
    """

    ids: NDArray[Any]  # [T], dtype of `input_ids`
    sentences: NDArray[np.int64]  # [S + 1]
    documents: NDArray[np.int64]  # [D + 1]


class Pair(NamedTuple):
    """Token ranges of segments A and B in `Tokens.ids`, and the label."""

    a: tuple[int, int]
    b: tuple[int, int]
    label: int


def make_pairs(tokens: Tokens, config: PairsConfig, rng: np.random.Generator) -> Iterator[Pair]:
    """Yields the instances of all passes over the documents of one part, in document order.

    Raises:
        ValueError: The part holds fewer than two documents, so no random next can be drawn.
    """
    count = len(tokens.documents) - 1
    if count < 2:
        raise ValueError(
            f"A text part holds {count} document(s); next-sentence prediction draws from another "
            "document and needs at least 2. Choose a smaller `split.parts`."
        )
    for _ in range(config.dupe_factor):
        for document in range(count):
            yield from _document_pairs(tokens, document, config, rng)


def _document_pairs(
    tokens: Tokens, document: int, config: PairsConfig, rng: np.random.Generator
) -> Iterator[Pair]:
    room = config.max_seq_length - 3  # [CLS] A [SEP] B [SEP]
    target = room
    if rng.random() < config.short_seq_prob:
        target = int(rng.integers(2, room + 1))
    bounds = tokens.sentences
    first, end = int(tokens.documents[document]), int(tokens.documents[document + 1])
    while first < end:
        # A chunk grows until it reaches the target; it may overshoot, truncation mends that.
        last = first + 1
        while last < end and bounds[last] - bounds[first] < target:
            last += 1
        a_end = first + 1 if last - first < 2 else first + int(rng.integers(1, last - first))
        a = int(bounds[first]), int(bounds[a_end])
        if last - first == 1 or rng.random() < config.random_next_prob:
            b = _random_next(tokens, document, target - (a[1] - a[0]), rng)
            yield _truncate(a, b, IS_RANDOM, room, rng)
            first = a_end  # the sentences not used for A start the next chunk
        else:
            yield _truncate(a, (a[1], int(bounds[last])), IS_NEXT, room, rng)
            first = last


def _random_next(
    tokens: Tokens, document: int, target: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Sentences of another document from a random one on, until they reach `target` tokens."""
    # Differs from google/bert, which draws up to ten times and may end in the same document:
    # one draw among the others.
    other = int(rng.integers(len(tokens.documents) - 2))
    other += other >= document
    first, end = int(tokens.documents[other]), int(tokens.documents[other + 1])
    start = int(rng.integers(first, end))
    last = start + 1
    while last < end and tokens.sentences[last] - tokens.sentences[start] < target:
        last += 1
    return int(tokens.sentences[start]), int(tokens.sentences[last])


def _truncate(
    a: tuple[int, int], b: tuple[int, int], label: int, room: int, rng: np.random.Generator
) -> Pair:
    """Shortens the longer segment until both fit into `room` tokens, at either end by chance.

    The original removes one token at a time from the longer segment (B in a tie), from the front
    or the back with probability one half. The lengths that result do not depend on chance, and
    the number taken from the front is binomial: drawing it at once is the same distribution.

    Example, room 9: of lengths 10 and 4, A loses 5; of lengths 6 and 6, B loses 2 and A 1.
    """
    length_a, length_b = a[1] - a[0], b[1] - b[0]
    excess = length_a + length_b - room
    if excess <= 0:
        return Pair(a, b, label)
    gap = length_a - length_b
    if gap >= 0:
        from_longer = min(excess, gap)
        rest = excess - from_longer
        cut_a, cut_b = from_longer + rest // 2, rest - rest // 2
    else:
        from_longer = min(excess, -gap)
        rest = excess - from_longer
        cut_a, cut_b = rest // 2, from_longer + rest - rest // 2
    return Pair(_cut(a, cut_a, rng), _cut(b, cut_b, rng), label)


def _cut(segment: tuple[int, int], count: int, rng: np.random.Generator) -> tuple[int, int]:
    front = int(rng.binomial(count, 0.5)) if count else 0
    return segment[0] + front, segment[1] - (count - front)
