"""Scores, worked by hand from the rules of evaluate-v1.1.py; those of 2.0 in their own file."""

import logging

import pytest

from bert.config import ConfigError, check
from bert.tasks.squad import SquadConfig
from bert.tasks.squad_json import Answer, SquadExample
from bert.tasks.squad_score import baseline, exact_match, metrics, normalize, token_f1
from tests.squads import make_config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Quick, brown-fox!", "quick brownfox"),
        ("(the) cat", "cat"),
        ("a.n apple", "apple"),
        ("Theatre an'the a", "theatre anthe"),
        ("\u00c9cole\u00a0des\u2003Mines", "\u00e9cole des mines"),
        ("\u201cquoted\u201d \u2013 dash", "\u201cquoted\u201d \u2013 dash"),
        ("$1,000.50", "100050"),
        ("a the an", ""),
    ],
)
def test_normalization_follows_the_official_order(text: str, expected: str) -> None:
    assert normalize(text) == expected


@pytest.mark.parametrize(
    ("prediction", "gold", "exact", "f1"),
    [
        ("the Eiffel Tower", "Eiffel tower!", 1.0, 1.0),
        ("Eiffel Tower in Paris", "Eiffel Tower", 0.0, 2 * (2 / 4) * 1 / (2 / 4 + 1)),
        ("one one two", "one two two", 0.0, 2 / 3),
        ("one one two", "one one three", 0.0, 2 / 3),
        ("Paris", "London", 0.0, 0.0),
        ("caf\u00e9", "cafe", 0.0, 0.0),
        ("", "London", 0.0, 0.0),
        ("the", "An", 1.0, 0.0),
    ],
)
def test_exact_match_and_f1_of_one_pair(
    prediction: str, gold: str, exact: float, f1: float
) -> None:
    assert exact_match(prediction, gold) == exact
    assert token_f1(prediction, gold) == pytest.approx(f1)


def gold(id_: str, *answers: str) -> SquadExample:
    return SquadExample(id_, "?", "x y", tuple(Answer(a, 0, True) for a in answers))


def predict(**texts: str) -> dict[str, dict[str, object]]:
    return {id_: {"text": text, "null_odds": None} for id_, text in texts.items()}


def test_each_metric_takes_its_best_over_the_gold_answers() -> None:
    example = gold("q1", "Paris", "Paris in France", "the city of Paris")
    # Exact with none; F1 against the three: 2/3, 4/5, 2/5.
    scores = metrics([example], predict(q1="Paris France"))
    assert scores == {"exact_match": 0.0, "f1": pytest.approx(80.0)}
    assert metrics([example], predict(q1="paris")) == {"exact_match": 100.0, "f1": 100.0}


def test_a_missing_prediction_scores_zero_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    examples = [gold("q1", "x"), gold("q2", "x"), gold("q3", "a x b"), gold("q4", "x")]
    with caplog.at_level(logging.WARNING):
        scores = metrics(examples, predict(q1="x", q3="x", q4="", other="x"))
    assert scores["exact_match"] == 25.0
    assert scores["f1"] == pytest.approx(100 * (1 + 2 / 3) / 4)
    assert "1 of 4 questions have no prediction" in caplog.text


def test_the_baseline_answers_with_the_whole_paragraph() -> None:
    # Against "x y": "x" gives precision 1/2 and recall 1; "x y" is exact.
    scores = baseline([gold("q1", "x"), gold("q2", "z", "x y")])
    assert scores == {"exact_match": 50.0, "f1": pytest.approx(100 * (2 / 3 + 1) / 2)}


def test_a_question_longer_than_the_sequence_is_refused_in_the_configuration() -> None:
    values = make_config().model_dump()
    with pytest.raises(ConfigError, match="max_seq_length 24 leaves no token for the paragraph"):
        check(SquadConfig, values | {"max_query_length": 21}, where="test")
    assert (
        check(SquadConfig, values | {"max_query_length": 20}, where="test").max_query_length == 20
    )


def test_a_version_that_there_is_not_is_refused_in_the_configuration() -> None:
    values = make_config().model_dump()
    with pytest.raises(ConfigError, match=r"version is 2\.0; it must be '1\.1' or '2\.0'"):
        check(SquadConfig, values | {"version": 2.0}, where="test")
