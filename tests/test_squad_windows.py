"""Windows over long paragraphs, and the features made of them."""

import numpy as np
import pytest

from bert.tasks import squad
from bert.tasks.squad_json import Answer, SquadExample
from bert.tasks.squad_windows import max_context, token_span, window_bounds
from tests.squads import CONTEXT, make_config, make_example, make_tokenizer, without_answer

# Windows


@pytest.mark.parametrize(
    ("length", "size", "stride", "expected"),
    [
        (10, 10, 3, [(0, 10)]),
        (11, 10, 3, [(0, 10), (3, 11)]),
        (16, 10, 3, [(0, 10), (3, 13), (6, 16)]),
        (5, 2, 9, [(0, 2), (2, 4), (4, 5)]),
        (0, 4, 2, [(0, 0)]),
    ],
)
def test_windows_advance_by_the_stride_and_end_with_the_text(
    length: int, size: int, stride: int, expected: list[tuple[int, int]]
) -> None:
    assert window_bounds(length, size, stride) == expected


def test_every_token_has_its_maximum_context_in_exactly_one_window() -> None:
    for length, size, stride in [(40, 12, 5), (41, 12, 12), (13, 12, 1), (100, 31, 7)]:
        bounds = window_bounds(length, size, stride)
        marked = np.zeros(length, dtype=int)
        for (first, last), best in zip(bounds, max_context(bounds), strict=True):
            marked[first:last] += best
        assert marked.tolist() == [1] * length


# In the last case the last window is over 100 tokens shorter, which weighs more than one token.
@pytest.mark.parametrize(("length", "size", "stride"), [(27, 12, 5), (28, 12, 3), (460, 316, 128)])
def test_maximum_context_agrees_with_its_definition_token_by_token(
    length: int, size: int, stride: int
) -> None:
    bounds = window_bounds(length, size, stride)
    found = max_context(bounds)
    for token in range(length):
        scores = [
            min(token - first, last - 1 - token) + 0.01 * (last - first)
            if first <= token < last
            else -1.0
            for first, last in bounds
        ]
        holders = [i for i, (first, last) in enumerate(bounds) if first <= token < last]
        best = scores.index(max(scores))
        assert [i for i in holders if found[i][token - bounds[i][0]]] == [best]


def test_the_answer_span_is_every_token_that_shares_a_character_with_it() -> None:
    offsets = np.array([[0, 3], [4, 8], [8, 9], [10, 14]], dtype=np.int32)
    assert token_span(offsets, 4, 8) == (1, 1)
    assert token_span(offsets, 5, 9) == (1, 2)
    assert token_span(offsets, 2, 11) == (0, 3)
    assert token_span(offsets, 3, 4) is None


def test_a_feature_is_question_then_window_and_its_target_decodes_to_the_answer() -> None:
    tokenizer = make_tokenizer([CONTEXT, "Who ?"])
    example = make_example("first program")
    made = squad.make_features([example], tokenizer, make_config(), training=True)
    feature, window = made.features[0], made.places[0]
    tokens = [tokenizer.id_to_token(i) for i in feature.input_ids]
    assert feature.input_ids.dtype == np.int64
    assert tokens[:7] == ["[CLS]", "who", "?", "[SEP]", "ada", "lovelace", "wrote"]
    assert tokens[-2:] == [".", "[SEP]"]
    assert feature.segment_b_start == 4
    assert [tokens[i] for i in feature.targets] == ["first", "program"]
    start, end = (i - feature.segment_b_start for i in feature.targets)
    assert example.context[window.offsets[start, 0] : window.offsets[end, 1]] == "first program"


def test_windows_without_the_whole_answer_point_at_cls() -> None:
    tokenizer = make_tokenizer([CONTEXT, "Who ?"])
    # 12 tokens: room for 9 paragraph tokens minus the question's 2.
    config = make_config(max_seq_length=12, doc_stride=3)
    made = squad.make_features([make_example("1843")], tokenizer, config, training=True)
    held = [f.targets != (0, 0) for f in made.features]
    words = [{tokenizer.id_to_token(i) for i in f.input_ids} for f in made.features]
    assert held == ["1843" in w for w in words]
    assert {True, False} == set(held)
    assert made.counts["features_without_answer"] == held.count(False)
    assert made.counts["answers_in_no_window"] == 0


def test_an_answer_longer_than_any_window_is_counted() -> None:
    config = make_config(max_seq_length=12, doc_stride=3)
    made = squad.make_features(
        [make_example(CONTEXT)], make_tokenizer([CONTEXT, "Who ?"]), config, training=True
    )
    assert {f.targets for f in made.features} == {(0, 0)}
    assert made.counts["answers_in_no_window"] == 1


def test_long_questions_are_cut_and_counted() -> None:
    tokenizer = make_tokenizer([CONTEXT, "a b c d e f g h"])
    example = make_example("Ada", question="a b c d e f g h")
    made = squad.make_features([example], tokenizer, make_config(), training=False)
    assert {f.segment_b_start for f in made.features} == {8}
    assert all(len(f.input_ids) <= 24 for f in made.features)
    assert made.counts["cut_questions"] == 1


def test_training_skips_and_counts_questions_without_a_usable_answer() -> None:
    examples = [
        SquadExample("q1", "Who ?", CONTEXT, (Answer("Bob", 0, False),)),
        SquadExample("q2", "Who ?", CONTEXT, (Answer("Bob", 0, False), Answer("Ada", 0, True))),
        SquadExample("q3", "Who ?", CONTEXT, (Answer(" ", 3, True),)),
    ]
    tokenizer = make_tokenizer([CONTEXT, "Who ?"])
    made = squad.make_features(examples, tokenizer, make_config(), training=True)
    assert {f.example for f in made.features} == {1}
    assert made.counts["skipped_misaligned"] == made.counts["skipped_without_tokens"] == 1
    evaluated = squad.make_features(examples, tokenizer, make_config(), training=False)
    assert {f.example for f in evaluated.features} == {0, 1, 2}
    assert {f.targets for f in evaluated.features} == {()}


def test_every_window_of_a_question_without_answer_points_at_cls() -> None:
    examples = [without_answer("q1"), make_example("Ada", id_="q2")]
    config = make_config(version="2.0", max_seq_length=12, doc_stride=3)
    tokenizer = make_tokenizer([CONTEXT, "Who ?"])
    made = squad.make_features(examples, tokenizer, config, training=True)
    targets = [{f.targets for f in made.features if f.example == i} for i in range(2)]
    assert targets[0] == {(0, 0)}
    assert len(targets[1]) == 2
    windows = sum(f.example == 0 for f in made.features)
    assert windows > 1
    assert made.counts["features_without_answer"] == len(made.features) - 1
    assert made.counts["answers_in_no_window"] == made.counts["skipped_misaligned"] == 0
    evaluated = squad.make_features(examples, tokenizer, config, training=False)
    assert {f.targets for f in evaluated.features} == {()}
