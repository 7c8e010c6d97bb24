import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.data.blocks import Tokens
from bert.data.instance_config import InstanceConfig
from bert.data.pairs import make_pairs, truncate
from bert.data.shards import IS_NEXT, IS_RANDOM

VALUES = {
    "seed": 1,
    "max_seq_length": 32,
    "objective": "next_sentence",
    "short_seq_prob": 0.0,
    "random_next_prob": 0.5,
    "dupe_factor": 1,
    "cross_documents": False,
    "overlap": 0,
    "max_instances": None,
    "masking": None,
}
ORDER = {"objective": "sentence_order", "random_next_prob": None}


def make_tokens(documents):
    """Tokens of documents given as lists of sentence lengths; token i has the value i."""
    lengths = [length for document in documents for length in document]
    sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum([len(d) for d in documents])]).astype(np.int64)
    return Tokens(np.arange(sentences[-1]), sentences, ends)


def make_config(**changes):
    return InstanceConfig(**VALUES | changes)


def random_documents(seed, documents=40):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 20, rng.integers(1, 12)).tolist() for _ in range(documents)]


def pairs_of(documents, seed=0, limit=10**9, **changes):
    """Pairs as (a start, a end, b start, b end, label), and the counts."""
    tokens = make_tokens(documents)
    order = np.arange(len(documents))
    rng = np.random.default_rng(seed)
    layout, counts = make_pairs(tokens, order, make_config(**changes), rng, limit)
    assert np.array_equal(layout.first, 2 * np.arange(len(layout.labels) + 1))
    bounds = np.stack([layout.starts, layout.starts + layout.lengths], axis=1).reshape(-1, 4)
    return [(*map(int, b), int(x)) for b, x in zip(bounds, layout.labels, strict=True)], counts


def document_of(documents, token):
    ends = np.cumsum([sum(document) for document in documents])
    return int(np.searchsorted(ends, token, side="right"))


# The published algorithm, literally: one token, one sentence, one draw at a time.


def published(documents, rng, *, room, short, random_next):
    """Lengths of A and B and the label of each instance, from lists of sentence lengths."""
    found = []
    for number, document in enumerate(documents):
        target = rng.randint(2, room) if rng.random() < short else room
        chunk, i = [], 0
        while i < len(document):
            chunk.append(document[i])
            if i == len(document) - 1 or sum(chunk) >= target:
                a_end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
                a, b = sum(chunk[:a_end]), sum(chunk[a_end:])
                is_random = len(chunk) == 1 or rng.random() < random_next
                if is_random:
                    other = number
                    while other == number:
                        other = rng.randint(0, len(documents) - 1)
                    b = 0
                    for length in documents[other][rng.randint(0, len(documents[other]) - 1) :]:
                        b += length
                        if b >= target - a:
                            break
                    i -= len(chunk) - a_end
                while a + b > room:
                    if a > b:
                        a -= 1
                    else:
                        b -= 1
                found.append((a, b, int(is_random)))
                chunk = []
            i += 1
    return np.array(found)


@pytest.mark.parametrize("short", [0.0, 0.3])
@pytest.mark.parametrize("random_next", [0.5, 0.1])
def test_lengths_and_labels_are_distributed_as_by_the_published_algorithm(short, random_next):
    """Two samples of some 20,000 instances: Kolmogorov-Smirnov distances beyond 0.023 have
    probability below 1e-4 each; shares and counts of instances differ by less than 5 deviations."""
    documents = random_documents(3, 1500)
    ours, theirs = [], []
    for seed in range(4):
        pairs, _ = pairs_of(documents, seed, short_seq_prob=short, random_next_prob=random_next)
        ours += [(a1 - a0, b1 - b0, label) for a0, a1, b0, b1, label in pairs]
        rng = random.Random(seed)
        theirs.append(published(documents, rng, room=29, short=short, random_next=random_next))
    ours, theirs = np.array(ours), np.concatenate(theirs)

    assert abs(len(ours) / len(theirs) - 1) < 0.02
    for label in (IS_NEXT, IS_RANDOM):
        mine, other = ours[ours[:, 2] == label], theirs[theirs[:, 2] == label]
        assert abs(len(mine) / len(ours) - len(other) / len(theirs)) < 5 * np.sqrt(0.5 / len(ours))
        for values in (lambda t: t[:, 0], lambda t: t[:, 1], lambda t: t[:, 0] + t[:, 1]):
            left = np.cumsum(np.bincount(values(mine), minlength=40)) / len(mine)
            right = np.cumsum(np.bincount(values(other), minlength=40)) / len(other)
            bound = 2.3 * np.sqrt((len(mine) + len(other)) / (len(mine) * len(other)))
            assert np.abs(left - right).max() < bound


corpora = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    documents=corpora,
    seed=st.integers(0, 2**32),
    length=st.integers(8, 40),
    short=st.sampled_from([0.0, 0.5, 1.0]),
    objective=st.sampled_from(["next_sentence", "sentence_order"]),
)
def test_the_laws_of_a_pair_hold_for_odd_corpora(documents, seed, length, short, objective):
    """Never too long, no empty segment, labels true, and what is left out or cut away counted."""
    changes = ORDER if objective == "sentence_order" else {}
    pairs, counts = pairs_of(
        documents, seed, max_seq_length=length, short_seq_prob=short, **changes
    )

    for a0, a1, b0, b1, label in pairs:
        assert a1 - a0 > 0
        assert b1 - b0 > 0
        assert a1 - a0 + b1 - b0 + 3 <= length
        same = document_of(documents, a0) == document_of(documents, b0)
        if objective == "next_sentence":
            assert same == (label == IS_NEXT)
            assert label == IS_RANDOM or a1 <= b0
        else:
            assert same
            assert (a0 > b0) == (label == IS_RANDOM)
    lone = sum(document == [1] for document in documents)
    assert counts["lone_sentences"] >= (lone if len(documents) == 1 else 0)
    assert pairs or counts["lone_sentences"]


def test_without_random_next_b_follows_a():
    """Two documents of four sentences of five tokens; 13 tokens of room hold three sentences.

    The chunk of the first document is its first three sentences; A is the first one or two. Only a
    chunk of one sentence, the fourth, is always paired at random.
    """
    pairs, _ = pairs_of([[5, 5, 5, 5], [5, 5, 5, 5]], max_seq_length=16, random_next_prob=0.0)

    assert [label for *_, label in pairs] == [IS_NEXT, IS_RANDOM, IS_NEXT, IS_RANDOM]
    assert all(b0 <= a1 + 2 for _, a1, b0, _, label in pairs if label == IS_NEXT)


def test_sentences_not_used_beside_a_random_next_come_back():
    """With random next always, A's of a document cover it without gap when nothing is cut."""
    pairs, _ = pairs_of([[2] * 30, [1] * 3], 3, random_next_prob=1.0, max_seq_length=64)

    own = [(a0, a1) for a0, a1, *_ in pairs if a1 <= 60]
    assert [a0 for a0, _ in own[1:]] == [a1 for _, a1 in own[:-1]]
    assert (own[0][0], own[-1][1]) == (0, 60)


def test_a_document_alone_gives_true_pairs_only():
    """No other document to draw from: whole chunks in order, a sentence alone in two halves."""
    pairs, counts = pairs_of([[7, 7, 7]], random_next_prob=1.0)
    halves, _ = pairs_of([[9]])

    assert [label for *_, label in pairs] == [IS_NEXT]
    assert halves == [(0, 4, 4, 9, IS_NEXT)]
    assert counts == {"truncated_tokens": 0, "lone_sentences": 0}


def test_a_document_of_one_token_alone_is_left_out_and_counted():
    assert pairs_of([[1]]) == ([], {"truncated_tokens": 0, "lone_sentences": 1})


def test_tokens_cut_away_are_counted():
    """20 and 20 tokens into 29 of room: 11 are cut."""
    _, counts = pairs_of([[20, 20]], random_next_prob=0.0)

    assert counts["truncated_tokens"] == 11


def test_half_of_the_segments_are_swapped_in_sentence_order():
    """Binomial, n = 2000, p = 0.5: five deviations are 0.056."""
    pairs, _ = pairs_of([[4] * 12] * 1000, max_seq_length=31, **ORDER)

    assert abs(np.mean([label for *_, label in pairs]) - 0.5) < 0.056
    assert all((a1 == b0) if label == IS_NEXT else (b1 == a0) for a0, a1, b0, b1, label in pairs)


def test_sentence_order_loses_no_sentence():
    """Chunks follow each other without gap when nothing is cut: 4 to a chunk of 28 tokens."""
    pairs, counts = pairs_of([[7] * 8], max_seq_length=31, **ORDER)

    covered = sorted((min(p[0], p[2]), max(p[1], p[3])) for p in pairs)
    assert covered == [(0, 28), (28, 56)]
    assert counts["truncated_tokens"] == 0


def test_short_targets_are_drawn_for_about_the_configured_share_of_documents():
    """Pairs of under 61 tokens come from short targets only: documents of 200 one-token sentences
    fill 61 tokens of room otherwise. Binomial, n = 400, p = 0.1: five deviations are 30."""
    documents = [[1] * 200] * 400
    pairs, _ = pairs_of(documents, 7, max_seq_length=64, short_seq_prob=0.1, random_next_prob=0.0)

    firsts = {}
    for a0, a1, b0, b1, _ in pairs:
        firsts.setdefault(document_of(documents, a0), a1 - a0 + b1 - b0)
    short = sum(length < 61 for length in firsts.values())
    assert abs(short - 400 * 0.1 * 59 / 60) < 30


def test_more_than_half_of_the_labels_are_random_when_half_is_asked_for():
    """The published consequence: one-sentence chunks are always random."""
    pairs, _ = pairs_of(random_documents(1, 400), 1)

    assert np.mean([label for *_, label in pairs]) > 0.5


def test_a_pass_ends_when_it_has_enough_and_starts_as_without_a_limit():
    documents = random_documents(2)
    some, _ = pairs_of(documents, 5, limit=17, max_seq_length=512)
    many, _ = pairs_of(documents, 5, max_seq_length=512)

    assert len(some) == 17
    assert some == many[:17]


def truncate_one_by_one(length_a, length_b, room):
    """The original's loop: one token at a time from the longer segment, B in a tie."""
    while length_a + length_b > room:
        if length_a > length_b:
            length_a -= 1
        else:
            length_b -= 1
    return length_a, length_b


def test_truncation_leaves_the_lengths_of_the_published_loop():
    lengths = np.array([(a, b) for a in range(1, 14) for b in range(1, 14)])
    a = np.stack([np.zeros(len(lengths), np.int64), lengths[:, 0]], axis=1)
    b = np.stack([np.full(len(lengths), 20), 20 + lengths[:, 1]], axis=1)

    cut_a, cut_b, cut = truncate(a, b, 9, np.random.default_rng(0))

    found = np.stack([cut_a[:, 1] - cut_a[:, 0], cut_b[:, 1] - cut_b[:, 0]], axis=1)
    assert found.tolist() == [list(truncate_one_by_one(x, y, 9)) for x, y in lengths]
    assert cut == (lengths - found).sum()
    assert (cut_a[:, 0] >= 0).all()
    assert (cut_a[:, 1] <= lengths[:, 0]).all()


def test_truncation_takes_tokens_from_both_ends_evenly():
    """Binomial, 20 of 1000 draws with p = 0.5: mean 10, deviation of the mean 0.0707."""
    a, b = np.tile([[0, 25]], (1000, 1)), np.tile([[0, 4]], (1000, 1))

    cut, _, _ = truncate(a, b, 9, np.random.default_rng(2))

    assert abs(cut[:, 0].mean() - 10) < 5 * 0.0707
