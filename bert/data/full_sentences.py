"""Single-segment instances of contiguous full sentences, without a second task, as in RoBERTa.

Source: Liu et al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach", section 4.2.
An instance takes sentences while they fit. DOC-SENTENCES stays inside one document;
FULL-SENTENCES goes on in the next, with a [SEP] between documents. The document order is that of
the pass, so every pass has other neighbours.

A sentence that is longer than an instance (or than what an instance has beside its overlap) is cut
into pieces, which then count as sentences: no token is lost.
"""

from bisect import bisect_right

import numpy as np

from bert.data.blocks import Tokens
from bert.data.instance_config import InstanceConfig
from bert.data.layout import Layout
from bert.data.ragged import I64, offsets_of
from bert.data.randomness import uniforms
from bert.data.shards import IS_NEXT


def make_full_sentences(
    tokens: Tokens, order: I64, config: InstanceConfig, rng: np.random.Generator, limit: int
) -> tuple[Layout, dict[str, int]]:
    """The instances of one pass over the documents of a block.

    Args:
        tokens: The block.
        order: Numbers of its documents, in the order in which they are visited.
        config: The section; its objective is full_sentences.
        rng: Source of all draws.
        limit: Most instances; the pass ends when it has them.

    Returns:
        The layout, and the counts `cut_sentences` (longer than an instance) and
        `repeated_tokens` (of overlaps).
    """
    room = config.max_seq_length - 2  # [CLS] sentences [SEP]
    cut, longer = cut_long_sentences(tokens, room - config.overlap)
    bounds, documents = cut.sentences.tolist(), cut.documents.tolist()
    draw = uniforms(rng).__next__
    ranges: list[int] = []  # start and end of each
    first = [0]  # range with which each instance begins
    target = used = repeated = 0

    def begin() -> None:
        nonlocal target, used
        is_short = draw() < config.short_seq_prob
        target, used = 2 + int(draw() * (room - 1)) if is_short else room, 0

    def close() -> None:
        if used:
            first.append(len(ranges) // 2)
            begin()

    begin()
    for document in order.tolist():
        sentence, end = documents[document], documents[document + 1]
        start = bounds[sentence]
        while sentence < end:
            space = target - used - (used > 0)  # a [SEP] parts it from the document before
            last = bisect_right(bounds, start + space, sentence, end + 1) - 1
            if last <= sentence and used:
                close()
                continue
            last = max(last, sentence + 1)  # at least one, whatever a short target says
            ranges += (start, bounds[last])
            used += (used > 0) + bounds[last] - start
            sentence = last
            if sentence < end:
                close()
                start = max(start, bounds[sentence] - config.overlap)
                repeated += bounds[sentence] - start
        if not config.cross_documents:
            close()
        if len(first) > limit:
            break
    close()
    table = np.array(ranges, np.int64).reshape(-1, 2)
    labels = np.full(len(first) - 1, IS_NEXT, np.uint8)
    layout = Layout(table[:, 0], table[:, 1] - table[:, 0], np.array(first, np.int64), labels)
    return layout.head(limit), {"cut_sentences": longer, "repeated_tokens": repeated}


def cut_long_sentences(tokens: Tokens, longest: int) -> tuple[Tokens, int]:
    """The same documents with sentences of at most `longest` tokens, and how many were cut.

    Example: a sentence of 25 tokens with `longest` 10 becomes pieces of 10, 10 and 5.
    """
    lengths = np.diff(tokens.sentences)
    pieces = -(-lengths // longest)
    place = np.arange(pieces.sum()) - np.repeat(offsets_of(pieces)[:-1], pieces)
    starts = np.repeat(tokens.sentences[:-1], pieces) + place * longest
    sentences = np.append(starts, tokens.sentences[-1])
    documents = offsets_of(pieces)[tokens.documents]
    return Tokens(tokens.ids, sentences, documents), int(np.count_nonzero(pieces > 1))
