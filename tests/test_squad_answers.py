"""The n best answers of a question, and whether it has one; worked by hand.

A paragraph of four words stands after `[CLS] ? [SEP]`, so word i is token 3 + i.
"""

import math
from typing import Any

import numpy as np
import pytest

from bert.tasks.features import Feature
from bert.tasks.squad_answers import WindowLogits, answer_question
from bert.tasks.squad_windows import Window, answer_pairs
from tests.squads import make_config

WORDS = "red blue blue cat"
OFFSETS = np.array([[0, 3], [4, 8], [9, 13], [14, 17]], dtype=np.int32)


def window(
    start: list[float], end: list[float], *, null: tuple[float, float] = (-9.0, -9.0)
) -> WindowLogits:
    """All four words; start and end logits of each, and of `[CLS]`; -9 elsewhere."""
    logits = np.full((8, 2), -9.0, dtype=np.float32)
    logits[0] = null
    logits[3:7, 0], logits[3:7, 1] = start, end
    return WindowLogits(
        Feature(np.zeros(8, dtype=np.int64), 3, (), 0),
        Window(OFFSETS, np.ones(4, np.bool_)),
        logits,
    )


def answer(*windows: WindowLogits, **changes: Any) -> dict[str, Any]:
    values = {"version": "2.0", "n_best": 3, "max_answer_length": 1} | changes
    return answer_question(WORDS, windows, make_config(**values))


def test_pairs_agree_with_trying_every_pair_in_the_order_of_their_ranks() -> None:
    rng = np.random.default_rng([3])
    for _ in range(50):
        start, end = rng.permutation(24).reshape(2, 12).astype(np.float32)
        admitted = rng.random((2, 12)) < 0.7
        starts, ends = (sorted(range(12), key=lambda i: -values[i])[:7] for values in (start, end))
        expected = [
            (i, j)
            for i in starts
            for j in ends
            if admitted[0, i] and admitted[1, j] and 0 <= j - i < 4
        ]
        found = answer_pairs(start, end, admitted, n_best=7, max_answer_length=4)
        assert list(zip(*(column.tolist() for column in found), strict=True)) == expected


def test_answers_stand_by_their_sum_of_logits_each_text_once_over_all_windows() -> None:
    # Sums: red 5, blue 4 and 3 of two places, cat 1; red again 6 and cat 2 from the other window.
    first = window([3, 2, 2, 1], [2, 2, 1, 0])
    second = window([4, -9, -9, 1], [2, -9, -9, 1])
    found = answer(first, second, version="1.1", n_best=4)
    assert found["text"] == "red"
    assert found["null_odds"] is None
    assert [(a["text"], a["start_logit"], a["end_logit"]) for a in found["n_best"]] == [
        ("red", 4.0, 2.0), ("blue", 2.0, 2.0), ("cat", 1.0, 1.0),
    ]  # fmt: skip
    total = math.exp(6) + math.exp(4) + math.exp(2)
    expected = [math.exp(score) / total for score in (6, 4, 2)]
    assert [a["probability"] for a in found["n_best"]] == pytest.approx(expected, rel=1e-12)


def test_no_more_than_n_best_answers_are_kept() -> None:
    # Starts and ends of red and the first blue give "red" 5, "red blue" 4.5 and "blue" 3.5.
    only = window([3, 2, 1, 0], [2, 1.5, 1, 0])
    found = answer(only, version="1.1", n_best=2, max_answer_length=4)["n_best"]
    assert [a["text"] for a in found] == ["red", "red blue"]


def test_between_equal_answers_the_earlier_window_then_the_earlier_start_wins() -> None:
    first = window([0, 0, -9, -9], [0, 0, -9, -9])
    second = window([-9, -9, -9, 0], [-9, -9, -9, 0])
    texts = [a["text"] for a in answer(first, second, version="1.1", n_best=8)["n_best"]]
    assert texts[:3] == ["red", "blue", "cat"]


def test_the_null_score_is_the_least_of_all_windows_and_the_odds_its_lead() -> None:
    # Null sums 5, 3 and 4; the best answer has 3 + 1.5 = 4.5 in the last window.
    windows = [
        window([0, 0, 0, 0], [0, 0, 0, 0], null=(2, 3)),
        window([1, 0, 0, 0], [0, 0, 0, 0], null=(4, -1)),
        window([0, 3, 0, 0], [0, 1.5, 0, 0], null=(2, 2)),
    ]
    found = answer(*windows, null_threshold=-1.5)
    assert found["null_odds"] == 3 - 4.5
    assert found["text"] == "blue"
    assert [(a["text"], a["start_logit"], a["end_logit"]) for a in found["n_best"]] == [
        ("blue", 3.0, 1.5), ("", 4.0, -1.0), ("red", 1.0, 0.0),
    ]  # fmt: skip
    assert sum(a["probability"] for a in found["n_best"]) == pytest.approx(1)


def test_no_answer_needs_odds_above_the_threshold() -> None:
    only = window([1, 0, 0, 0], [1, 0, 0, 0], null=(2, 2.5))
    assert answer(only, null_threshold=2.5)["text"] == "red"
    assert answer(only, null_threshold=2.4375)["text"] == ""
    assert answer(only, null_threshold=2.4375)["null_odds"] == 2.5


def test_no_answer_stands_behind_the_n_best_if_it_is_not_one_of_them() -> None:
    found = answer(window([3, 2, 2, 1], [2, 2, 1, 0], null=(-5, -4)), n_best=2)
    assert [a["text"] for a in found["n_best"]] == ["red", "blue", ""]
    assert found["null_odds"] == -14.0


def test_no_answer_gives_way_to_an_answer_of_the_same_score() -> None:
    found = answer(window([3, -9, -9, -9], [2, -9, -9, -9], null=(1, 4)), n_best=2)
    assert [a["text"] for a in found["n_best"]] == ["red", ""]
    assert found["null_odds"] == 0.0


def test_where_no_answer_is_admitted_its_logits_count_as_zero() -> None:
    found = answer(window([-99] * 4, [-99] * 4, null=(-1, -2)), n_best=1)
    assert [a["text"] for a in found["n_best"]] == [""]
    assert found == {"text": "", "n_best": found["n_best"], "null_odds": -3.0}


def test_the_answers_of_2_0_are_those_of_1_1_and_no_answer() -> None:
    rng = np.random.default_rng([4])
    for _ in range(100):
        values = rng.normal(size=(3, 2, 4)).tolist()
        windows = [window(s, e, null=tuple(rng.normal(size=2))) for s, e in values]
        one = answer(*windows, version="1.1", n_best=20, max_answer_length=4)
        two = answer(*windows, version="2.0", n_best=20, max_answer_length=4)
        texts = [a["text"] for a in two["n_best"]]
        assert [t for t in texts if t] == [a["text"] for a in one["n_best"]]
        scores = [a["start_logit"] + a["end_logit"] for a in two["n_best"]]
        assert scores == sorted(scores, reverse=True)
        assert texts.count("") == 1
        assert two["text"] == (one["text"] if two["null_odds"] <= 0 else "")
        best, null = scores[texts.index(one["text"])], scores[texts.index("")]
        assert two["null_odds"] == pytest.approx(null - best)
