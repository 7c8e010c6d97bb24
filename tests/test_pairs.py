import numpy as np
import pytest

from bert.data.pairs import Pair, PairsConfig, Tokens, _truncate, make_pairs
from bert.data.shards import IS_NEXT, IS_RANDOM


def make_tokens(documents):
    """Tokens of documents given as lists of sentence lengths; token i has the value i."""
    lengths = [length for document in documents for length in document]
    sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ends = np.concatenate([[0], np.cumsum([len(d) for d in documents])]).astype(np.int64)
    return Tokens(np.arange(sentences[-1]), sentences, ends)


def make_config(**changes):
    values = {
        "seed": 1,
        "max_seq_length": 32,
        "short_seq_prob": 0.0,
        "random_next_prob": 0.5,
        "dupe_factor": 1,
    }
    return PairsConfig(**values | changes)


def random_corpus(seed, documents=40):
    rng = np.random.default_rng(seed)
    return make_tokens(
        [rng.integers(1, 20, rng.integers(1, 12)).tolist() for _ in range(documents)]
    )


def document_of(tokens, token):
    sentence = np.searchsorted(tokens.sentences, token, side="right") - 1
    return int(np.searchsorted(tokens.documents, sentence, side="right") - 1)


@pytest.mark.parametrize("seed", range(5))
def test_no_instance_is_longer_than_the_limit_or_has_an_empty_segment(seed):
    tokens = random_corpus(seed)

    for pair in make_pairs(tokens, make_config(short_seq_prob=0.3), np.random.default_rng(seed)):
        length_a, length_b = pair.a[1] - pair.a[0], pair.b[1] - pair.b[0]
        assert length_a + length_b + 3 <= 32
        assert length_a > 0
        assert length_b > 0


@pytest.mark.parametrize("seed", range(5))
def test_random_next_comes_from_another_document_and_next_from_the_same(seed):
    tokens = random_corpus(seed)

    for pair in make_pairs(tokens, make_config(), np.random.default_rng(seed)):
        same = document_of(tokens, pair.a[0]) == document_of(tokens, pair.b[0])
        assert same == (pair.label == IS_NEXT)


def test_without_random_next_b_follows_a():
    """Two documents of four sentences of five tokens; 13 tokens of room hold three sentences.

    The chunk of the first document is its first three sentences; A is the first one or two. Only a
    chunk of one sentence, the fourth, is always paired at random.
    """
    tokens = make_tokens([[5, 5, 5, 5], [5, 5, 5, 5]])
    config = make_config(max_seq_length=16, random_next_prob=0.0)

    pairs = list(make_pairs(tokens, config, np.random.default_rng(0)))

    assert [pair.label for pair in pairs] == [IS_NEXT, IS_RANDOM, IS_NEXT, IS_RANDOM]
    assert all(pair.b[0] <= pair.a[1] + 2 for pair in pairs if pair.label == IS_NEXT)


def test_sentences_not_used_beside_a_random_next_come_back():
    """With random next always, A's of a document cover it without gap when nothing is cut."""
    tokens = make_tokens([[2] * 30, [1] * 3])
    config = make_config(random_next_prob=1.0, max_seq_length=64)

    pairs = [p for p in make_pairs(tokens, config, np.random.default_rng(3)) if p.a[1] <= 60]

    assert [pair.a[0] for pair in pairs[1:]] == [pair.a[1] for pair in pairs[:-1]]
    assert (pairs[0].a[0], pairs[-1].a[1]) == (0, 60)


def test_short_targets_are_drawn_for_about_the_configured_share_of_documents():
    """One-sentence pairs come from short targets only: documents of 200 one-token sentences fill
    61 tokens of room otherwise. Binomial, n = 400, p = 0.1: five deviations are 30."""
    tokens = make_tokens([[1] * 200] * 400)
    config = make_config(max_seq_length=64, short_seq_prob=0.1, random_next_prob=0.0)

    firsts = {}
    for pair in make_pairs(tokens, config, np.random.default_rng(7)):
        firsts.setdefault(document_of(tokens, pair.a[0]), pair)
    short = sum((p.a[1] - p.a[0]) + (p.b[1] - p.b[0]) < 61 for p in firsts.values())

    assert abs(short - 400 * 0.1 * 59 / 60) < 30


def test_more_than_half_of_the_labels_are_random_when_half_is_asked_for():
    """The published consequence: one-sentence chunks are always random."""
    pairs = list(make_pairs(random_corpus(1, 400), make_config(), np.random.default_rng(1)))

    assert np.mean([pair.label for pair in pairs]) > 0.5


def truncate_one_by_one(length_a, length_b, room):
    """The original's loop: one token at a time from the longer segment, B in a tie."""
    while length_a + length_b > room:
        if length_a > length_b:
            length_a -= 1
        else:
            length_b -= 1
    return length_a, length_b


@pytest.mark.parametrize("length_a", range(1, 12))
@pytest.mark.parametrize("length_b", range(1, 12))
def test_truncation_leaves_the_lengths_of_the_published_loop(length_a, length_b):
    cut = _truncate((0, length_a), (20, 20 + length_b), IS_NEXT, 9, np.random.default_rng(0))

    lengths = cut.a[1] - cut.a[0], cut.b[1] - cut.b[0]
    assert lengths == truncate_one_by_one(length_a, length_b, 9)


def test_truncation_takes_tokens_from_both_ends_evenly():
    """Binomial, 20 of 1000 draws with p = 0.5: mean 10, deviation of the mean 0.0707."""
    rng = np.random.default_rng(2)
    fronts = [_truncate((0, 25), (0, 4), IS_NEXT, 9, rng).a[0] for _ in range(1000)]

    assert abs(np.mean(fronts) - 10) < 5 * 0.0707


def test_each_pass_makes_other_pairs():
    tokens = random_corpus(4)

    twice = list(make_pairs(tokens, make_config(dupe_factor=2), np.random.default_rng(4)))
    once = list(make_pairs(tokens, make_config(), np.random.default_rng(4)))

    assert twice[: len(once)] == once
    assert twice[len(once) :] != once
    assert all(isinstance(pair, Pair) for pair in twice)


def test_a_part_of_one_document_is_refused():
    with pytest.raises(ValueError, match=r"holds 1 document.*smaller `split.parts`"):
        list(make_pairs(make_tokens([[3, 3]]), make_config(), np.random.default_rng(0)))
