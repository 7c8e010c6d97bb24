"""From logits to the answers of SQuAD 1.1, and the official files."""

import json
import logging

import numpy as np
import pytest

from bert.tasks import squad
from bert.tasks.features import FeatureError, FeatureSet
from bert.tasks.squad_windows import substring
from tests.squads import (
    CONTEXT,
    logits_at,
    make_config,
    make_example,
    make_tokenizer,
    without_answer,
)


@pytest.mark.parametrize("answer", ["Ada Lovelace", "1843", "London.", "first program in"])
def test_logits_at_the_targets_decode_to_the_very_answer(answer: str) -> None:
    tokenizer = make_tokenizer([CONTEXT, "Who ?"])
    config = make_config(max_seq_length=14, doc_stride=3)
    examples = [make_example("Ada", id_="q0"), make_example(answer)]
    made = squad.make_features(examples, tokenizer, config, training=True)
    outputs = [logits_at(len(f.input_ids), *map(int, f.targets)) for f in made.features]
    predictions = squad.decode(examples, made, outputs, config)
    assert [p["text"] for p in predictions.values()] == ["Ada", answer]
    assert [p["null_odds"] for p in predictions.values()] == [None, None]
    assert squad.metrics(examples, predictions) == {"exact_match": 100.0, "f1": 100.0}


def test_an_answer_may_start_only_where_its_window_gives_most_context() -> None:
    tokenizer = make_tokenizer([CONTEXT, "Who ?"])
    config = make_config(max_seq_length=12, doc_stride=3)
    example = make_example("Ada")
    made = squad.make_features([example], tokenizer, config, training=False)
    assert not made.places[0].max_context[-1]
    outputs = [np.zeros((len(f.input_ids), 2), dtype=np.float32) for f in made.features]
    last = len(outputs[0]) - 2
    outputs[0] = logits_at(len(outputs[0]), last, last, 9.0)
    word = CONTEXT[slice(*made.places[0].offsets[-1])]
    assert squad.decode([example], made, outputs, config)["q1"]["text"] != word


def test_a_question_whose_likeliest_positions_admit_no_answer_gets_an_empty_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = make_config(n_best=1)
    examples = [make_example("Ada")]
    made = squad.make_features(examples, make_tokenizer([CONTEXT, "Who ?"]), config, training=False)
    on_cls = logits_at(len(made.features[0].input_ids), 0, 0)
    with caplog.at_level(logging.WARNING):
        found = squad.decode(examples, made, [on_cls], config)["q1"]
    nothing = {"text": "", "probability": 1.0, "start_logit": 0.0, "end_logit": 0.0}
    assert found == {"text": "", "n_best": [nothing], "null_odds": None}
    assert "1 of 1 questions got no answer" in caplog.text


def test_the_answer_keeps_case_accents_and_spacing_of_the_paragraph() -> None:
    # The second "cafe" is written with an accent as a character of its own, which no token covers.
    context = "The Caf\u00e9  Cafe\u0301, \u6771\u4eac \U0001f600 Zo\u00eb"
    tokenizer = make_tokenizer([context, "Who ?"])
    for answer in ["Caf\u00e9  Cafe\u0301", "\u6771\u4eac \U0001f600", "Zo\u00eb"]:
        example = make_example(answer, context=context)
        made = squad.make_features([example], tokenizer, make_config(), training=True)
        feature = made.features[0]
        output = logits_at(len(feature.input_ids), *map(int, feature.targets))
        assert squad.decode([example], made, [output], make_config())["q1"]["text"] == answer


def test_only_accents_are_added_behind_an_answer() -> None:
    assert substring("cafe\u0301\u0301s", 0, 4) == "cafe\u0301\u0301"
    assert substring("cafes", 0, 4) == "cafe"


def test_outputs_that_do_not_belong_to_the_features_are_refused() -> None:
    examples = [make_example("Ada")]
    config = make_config()
    made = squad.make_features(examples, make_tokenizer([CONTEXT, "Who ?"]), config, training=False)
    good = np.zeros((len(made.features[0].input_ids), 2), dtype=np.float32)
    with pytest.raises(FeatureError, match="0 outputs for 1 features"):
        squad.decode(examples, made, [], config)
    with pytest.raises(FeatureError, match=r"'q1' have the shape \(16, 2\); expected \(17, 2\)"):
        squad.decode(examples, made, [good[:-1]], config)
    with pytest.raises(FeatureError, match="'q1' are not all finite"):
        squad.decode(examples, made, [good * np.float32("nan")], config)
    with pytest.raises(FeatureError, match="Question 'q1' has no feature"):
        squad.decode(examples, FeatureSet([], [], {}), [], config)


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_what_is_decoded_is_a_prediction_and_is_written_as_run_squad_writes_it(
    version: str,
) -> None:
    config = make_config(version=version)
    examples = [make_example("Ada", id_="q2"), without_answer("q1")]
    made = squad.make_features(examples, make_tokenizer([CONTEXT, "Who ?"]), config, training=False)
    outputs = [
        logits_at(len(f.input_ids), 4, 4, 5.5, null=null)
        for f, null in zip(made.features, (2.0, 7.0), strict=True)
    ]
    predictions = squad.decode(examples, made, outputs, config)
    for prediction in predictions.values():
        squad.PREDICTION.model_validate(prediction, strict=True)
    # In the order of the questions, whatever the order of the predictions.
    files = squad.official_files(examples, dict(sorted(predictions.items())), config)
    texts = '{\n    "q2": "Ada",\n    "q1": "Ada"\n}\n'
    if version == "1.1":
        assert set(files) == {"predictions.json", "nbest_predictions.json"}
        assert files["predictions.json"] == texts
    else:
        assert files["predictions.json"] == texts.replace('"q1": "Ada"', '"q1": ""')
        assert files["null_odds.json"] == '{\n    "q2": -7.0,\n    "q1": 3.0\n}\n'
    best = json.loads(files["nbest_predictions.json"])
    assert list(best) == ["q2", "q1"]
    assert best["q2"] == predictions["q2"]["n_best"]
    assert list(best["q2"][0]) == ["text", "probability", "start_logit", "end_logit"]


def test_a_missing_prediction_is_in_no_official_file() -> None:
    prediction = {"text": "", "n_best": [], "null_odds": 1.5}
    examples = [without_answer("q1"), without_answer("q2")]
    files = squad.official_files(examples, {"q2": prediction}, make_config(version="2.0"))
    assert [json.loads(text) for text in files.values()] == [{"q2": ""}, {"q2": []}, {"q2": 1.5}]


def test_the_network_has_a_start_and_an_end_for_each_token() -> None:
    assert (squad.HEAD, squad.HEADLINE) == ("span", "f1")
    assert squad.labels(make_config()) == ("start", "end")
