"""Scores of SQuAD 2.0, by hand and by the official scripts."""

import logging

import pytest

from bert.tasks.squad_json import Answer, SquadExample
from bert.tasks.squad_score import baseline, metrics
from tests.squad_odd import odd_data

# What the scripts of https://rajpurkar.github.io/SQuAD-explorer/ print for the files that
#     python -m tests.squad_odd FOLDER
# writes: python evaluate-v1.1.py dev-v1.1.json predictions.json
OFFICIAL_1 = {"exact_match": 34.86973947895792, "f1": 25.083076205320694}
# and: python evaluate-v2.0.py dev-v2.0.json predictions.json -n null_odds.json -t 1e9
OFFICIAL_2 = {
    "exact": 32.0,
    "f1": 37.47468253968252,
    "HasAns_exact": 27.521710086840347,
    "HasAns_f1": 34.83591521667674,
    "NoAns_exact": 45.32803180914513,
    "NoAns_f1": 45.32803180914513,
    "best_exact": 34.95,
    "best_exact_thresh": 2.25,
    "best_f1": 39.62468253968241,
    "best_f1_thresh": 4.75,
}


def gold(id_: str, *answers: str) -> SquadExample:
    found = tuple(Answer(answer, 0, True) for answer in answers)
    return SquadExample(id_, "?", "x y", found, impossible=not answers)


def predict(**given: tuple[str, float | None]) -> dict[str, dict[str, object]]:
    return {id_: {"text": text, "null_odds": odds} for id_, (text, odds) in given.items()}


def test_scores_of_odd_answers_are_those_of_the_official_scripts_to_the_last_bit() -> None:
    questions, predictions = odd_data(seed=1, count=2000)
    examples = [gold(id_, *answers) for id_, answers in questions]
    assert metrics(examples, predictions) == OFFICIAL_2
    with_answer = [e._replace(impossible=None) for e in examples if e.answers]
    assert metrics(with_answer, predictions) == OFFICIAL_1


def test_no_answer_is_right_only_where_there_is_none() -> None:
    examples = [gold("q1"), gold("q2"), gold("q3", "x"), gold("q4", "x y z")]
    scores = metrics(
        examples, predict(q1=("", None), q2=("x", None), q3=("", None), q4=("X, y", None))
    )
    # F1 of "X, y": precision 1, recall 2/3.
    assert scores == {
        "exact": 25.0,
        "f1": pytest.approx(100 * (1 + 0.8) / 4),
        "HasAns_exact": 0.0,
        "HasAns_f1": pytest.approx(40.0),
        "NoAns_exact": 50.0,
        "NoAns_f1": 50.0,
    }


def test_answers_that_normalise_to_nothing_count_as_no_answer() -> None:
    # Right are texts that normalise to nothing, too, unless an answer is left.
    assert metrics([gold("q1", "the")], predict(q1=("A!", None)))["f1"] == 100.0
    assert metrics([gold("q1", "the", "x")], predict(q1=("", None)))["f1"] == 0.0
    assert metrics([gold("q1")], predict(q1=("the", None)))["exact"] == 100.0


def test_without_a_kind_of_question_there_are_no_metrics_of_it() -> None:
    assert metrics([gold("q1", "x")], predict(q1=("x", None))) == {
        "exact": 100.0, "f1": 100.0, "HasAns_exact": 100.0, "HasAns_f1": 100.0,
    }  # fmt: skip
    assert set(metrics([gold("q1")], predict(q1=("", None)))) == {
        "exact", "f1", "NoAns_exact", "NoAns_f1",
    }  # fmt: skip


def test_the_best_threshold_answers_the_questions_of_the_lowest_odds() -> None:
    examples = [gold("q1", "x"), gold("q2"), gold("q3", "x y"), gold("q4")]
    # From no answer at all (2 right), by odds: q1 +1, q3 +1 (F1: +2/3 only), q2 -1, q4 -1.
    scores = metrics(
        examples, predict(q1=("x", -3.0), q2=("x", 1.0), q3=("y x y", -0.5), q4=("x", 2.0))
    )
    assert (scores["best_exact"], scores["best_exact_thresh"]) == (75.0, -3.0)
    assert scores["best_f1"] == pytest.approx(100 * (2 + 1 + 0.8) / 4)
    assert scores["best_f1_thresh"] == -0.5
    worst = metrics(examples, predict(q2=("x", -1.0), q1=("z", 1.0), q3=("", 2.0), q4=("", 3.0)))
    assert (worst["best_exact"], worst["best_exact_thresh"]) == (50.0, 0.0)


def test_a_missing_prediction_is_wrong_whether_there_is_an_answer_or_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    examples = [gold("q1", "x"), gold("q2"), gold("q3", "x"), gold("q4")]
    with caplog.at_level(logging.WARNING):
        scores = metrics(examples, predict(q1=("x", -1.0), q2=("", 1.0), other=("x", -2.0)))
    assert {value for name, value in scores.items() if not name.endswith("thresh")} == {50.0}
    assert scores["best_f1_thresh"] == -1.0
    assert "2 of 4 questions have no prediction" in caplog.text


def test_the_baseline_is_the_better_of_no_answer_and_the_whole_paragraph() -> None:
    few, many = [gold("q1", "x y"), gold("q2")], [gold("q1", "x z"), gold("q2")]
    assert baseline([*few, gold("q3", "x y")])["f1"] == pytest.approx(100 * 2 / 3)
    assert baseline([*many, gold("q3")])["f1"] == pytest.approx(100 * 2 / 3)
    assert baseline([*many, gold("q3")])["NoAns_f1"] == 100.0
