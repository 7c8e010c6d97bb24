"""predictions.json on its way into scoring."""

import json
from pathlib import Path
from typing import Any

import pytest

from bert.tasks import conll, squad
from bert.tasks.predictions import PredictionError, coverage, read_predictions
from tests.squads import make_example

ANSWER = {"text": "Ada", "probability": 1.0, "start_logit": 2, "end_logit": -1.5}
PREDICTION: dict[str, Any] = {"text": "Ada", "n_best": [ANSWER], "null_odds": None}


def write(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values), "utf-8")
    return path


def test_predictions_of_squad_are_read_as_they_were_written(tmp_path: Path) -> None:
    values = {"q1": PREDICTION, "q2": PREDICTION | {"text": "", "null_odds": -3.25}}
    found = read_predictions(write(tmp_path / "a.json", values), squad)
    assert found == values
    assert list(found) == ["q1", "q2"]


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        ("Ada", "'q1': Input should be an object"),
        ({"text": "Ada"}, "'q1', 'n_best': Field required"),
        (PREDICTION | {"n_best": []}, "'q1', 'n_best': List should have at least 1 item"),
        (PREDICTION | {"text": None}, "'q1', 'text': Input should be a valid string"),
        (PREDICTION | {"null_odds": "3"}, "'q1', 'null_odds': Input should be a valid number"),
        (PREDICTION | {"null_odds": float("nan")}, "'q1', 'null_odds': Input should be a finite"),
        (PREDICTION | {"odds": 1}, "'q1', 'odds': Extra inputs are not permitted"),
        (
            PREDICTION | {"n_best": [ANSWER | {"start_logit": float("nan")}]},
            "'q1', 'n_best', 0, 'start_logit': Input should be a finite number",
        ),
        (
            PREDICTION | {"n_best": [ANSWER | {"end_logit": float("inf")}]},
            "'q1', 'n_best', 0, 'end_logit': Input should be a finite number",
        ),
        (
            PREDICTION | {"n_best": [ANSWER | {"probability": 1.5}]},
            "'q1', 'n_best', 0, 'probability': Input should be less than or equal to 1",
        ),
    ],
)
def test_a_prediction_of_another_form_is_refused_with_its_place(
    tmp_path: Path, prediction: Any, message: str
) -> None:
    file = write(tmp_path / "predictions.json", {"q1": prediction})
    with pytest.raises(PredictionError, match=message):
        read_predictions(file, squad)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "the whole file: Input should be an object"),
        ('{"q1": {"text"', "the whole file: Invalid JSON: EOF"),
        ("", "the whole file: Invalid JSON: EOF"),
    ],
)
def test_a_file_without_whole_predictions_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "predictions.json"
    file.write_text(content)
    with pytest.raises(PredictionError, match=rf"predictions\.json does not hold .*{message}"):
        read_predictions(file, squad)


def test_two_predictions_of_one_example_are_refused(tmp_path: Path) -> None:
    one = f'"q1": {json.dumps(PREDICTION)}'
    file = tmp_path / "predictions.json"
    file.write_text(f"{{{one}, {one}}}")
    with pytest.raises(PredictionError, match="has the key 'q1' more than once"):
        read_predictions(file, squad)


def test_missing_and_unknown_predictions_are_counted() -> None:
    gold = [make_example("Ada", id_=id_) for id_ in ("q1", "q2", "q3")]
    counts = coverage(gold, {"q1": PREDICTION, "other": PREDICTION})
    assert counts == {"missing_predictions": 2, "unknown_predictions": 1}


def test_predictions_of_other_data_are_refused() -> None:
    with pytest.raises(PredictionError, match="None of the 1 examples has a prediction"):
        coverage([make_example("Ada")], {"other": PREDICTION})


@pytest.mark.parametrize("tag", ["", "PER", "b-PER", "B-", "O O"])
def test_what_is_no_tag_is_refused(tmp_path: Path, tag: str) -> None:
    good = write(tmp_path / "good.json", {"1": ["O", "B-PER", "I-PER"]})
    assert read_predictions(good, conll) == {"1": ["O", "B-PER", "I-PER"]}

    with pytest.raises(PredictionError, match="'1', 1: String should match pattern"):
        read_predictions(write(tmp_path / "bad.json", {"1": ["O", tag]}), conll)
