import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.data.full_sentences import cut_long_sentences, make_full_sentences
from bert.data.instance_config import InstanceConfig
from tests.test_pairs import make_tokens

VALUES = {
    "seed": 1,
    "max_seq_length": 12,
    "objective": "full_sentences",
    "short_seq_prob": 0.0,
    "random_next_prob": None,
    "dupe_factor": 1,
    "cross_documents": False,
    "overlap": 0,
    "max_instances": None,
    "masking": None,
}


def instances_of(documents, *, order=None, seed=0, limit=10**9, **changes):
    """Each instance as a list of token ranges, and the counts."""
    config = InstanceConfig(**VALUES | changes)
    order = np.arange(len(documents)) if order is None else np.array(order)
    rng = np.random.default_rng(seed)
    layout, counts = make_full_sentences(make_tokens(documents), order, config, rng, limit)
    assert not layout.labels.any()
    ranges = list(zip(layout.starts.tolist(), layout.lengths.tolist(), strict=True))
    return [
        [(start, start + length) for start, length in ranges[low:high]]
        for low, high in zip(layout.first[:-1], layout.first[1:], strict=True)
    ], counts


def test_sentences_are_taken_while_they_fit_by_hand():
    """10 tokens of room: 4 + 5, then 3 + 3 + 3, then 9."""
    found, counts = instances_of([[4, 5, 3, 3, 3, 9]])

    assert found == [[(0, 9)], [(9, 18)], [(18, 27)]]
    assert counts == {"cut_sentences": 0, "repeated_tokens": 0}


def test_an_instance_ends_with_its_document():
    found, _ = instances_of([[4], [3, 2], [1]])

    assert found == [[(0, 4)], [(4, 9)], [(9, 10)]]


def test_instances_go_on_in_the_next_document_after_a_separator():
    """10 tokens of room: 4 + [SEP] + 3 + 2; then 1, a [SEP], and 8 fit exactly."""
    found, _ = instances_of([[4], [3, 2], [1], [8]], cross_documents=True)

    assert found == [[(0, 4), (4, 9)], [(9, 10), (10, 18)]]


def test_the_order_of_the_documents_is_the_one_that_is_given():
    found, _ = instances_of([[4], [3, 2], [1]], order=[2, 0, 1], cross_documents=True)

    assert found == [[(9, 10), (0, 4), (4, 7)], [(7, 9)]]


def test_long_sentences_are_cut_and_nothing_is_lost():
    """25 tokens are pieces of 10, 10 and 5; the 3 after them fit beside the last."""
    found, counts = instances_of([[25, 3]])

    assert found == [[(0, 10)], [(10, 20)], [(20, 28)]]
    assert counts["cut_sentences"] == 1


def test_overlap_repeats_the_tokens_before_by_hand():
    """10 of room, 2 repeated: sentences of 4 tokens, 0-8, then 6-8 again and 8-16, 14-16 again."""
    found, counts = instances_of([[4] * 5], overlap=2)

    assert found == [[(0, 8)], [(6, 16)], [(14, 20)]]
    assert counts["repeated_tokens"] == 4


def test_overlap_never_reaches_into_another_document():
    found, _ = instances_of([[4, 4], [4, 4, 4]], overlap=2, cross_documents=True)

    assert found == [[(0, 8)], [(8, 16)], [(14, 20)]]


def test_cutting_long_sentences_by_hand():
    tokens, count = cut_long_sentences(make_tokens([[25, 4], [10]]), 10)

    assert tokens.sentences.tolist() == [0, 10, 20, 25, 29, 39]
    assert tokens.documents.tolist() == [0, 4, 5]
    assert count == 1


def test_a_pass_ends_when_it_has_enough_and_starts_as_without_a_limit():
    documents = [[4, 5, 3]] * 20
    some, _ = instances_of(documents, limit=7)
    many, _ = instances_of(documents)

    assert len(some) == 7
    assert some == many[:7]


def test_short_targets_are_drawn_for_about_the_configured_share_of_instances():
    """One-token sentences: full instances have 126 tokens. Binomial, n about 4,500, p = 0.1."""
    found, _ = instances_of([[1] * 500_000], max_seq_length=128, short_seq_prob=0.1)

    short = [end - start < 126 for ((start, end),) in found]
    share = 0.1 * 124 / 125
    assert abs(np.mean(short) - share) < 5 * np.sqrt(share * (1 - share) / len(short))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    documents=st.lists(
        st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=8
    ),
    length=st.integers(8, 40),
    overlap=st.integers(0, 8),
    short=st.sampled_from([0.0, 0.5, 1.0]),
    cross=st.booleans(),
    seed=st.integers(0, 100),
)
def test_every_token_is_there_once_but_for_the_overlap(
    documents, length, overlap, short, cross, seed
):
    overlap = min(overlap, length - 3)
    found, counts = instances_of(
        documents,
        seed=seed,
        max_seq_length=length,
        overlap=overlap,
        short_seq_prob=short,
        cross_documents=cross,
    )
    ends = np.cumsum([sum(document) for document in documents])
    times = np.zeros(ends[-1], int)
    for ranges in found:
        # [CLS] and a [SEP] after each range.
        assert 1 + sum(end - start + 1 for start, end in ranges) <= length
        assert len(ranges) == 1 or cross
        for start, end in ranges:
            assert start < end
            times[start:end] += 1
            first, last = np.searchsorted(ends, [start, end - 1], side="right")
            assert first == last

    assert (times >= 1).all()
    assert times.sum() - len(times) == counts["repeated_tokens"]
    assert overlap or (times == 1).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlap": 10}, "overlap is 10; it must be below max_seq_length - 2 = 10"),
        ({"random_next_prob": 0.5}, "random_next_prob is 0.5, but full_sentences draws no"),
        ({"objective": "next_sentence"}, "random_next_prob is null; next_sentence needs one"),
        (
            {"objective": "sentence_order", "overlap": 3},
            "overlap is 3, but only full_sentences has it",
        ),
        (
            {"objective": "sentence_order", "cross_documents": True},
            "cross_documents is True, but only full_sentences has it",
        ),
        ({"objective": "sentence_order", "random_next_prob": 0.1}, "sentence_order draws no"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        InstanceConfig(**VALUES | changes)
