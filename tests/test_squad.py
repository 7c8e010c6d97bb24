"""From logits to answers."""

import logging

import numpy as np
import pytest

from bert.tasks import squad
from bert.tasks.features import FeatureError
from bert.tasks.squad_windows import best_span, substring
from tests.squads import CONTEXT, logits_at, make_config, make_example, make_tokenizer

# Decoding


def test_best_span_agrees_with_trying_every_pair() -> None:
    rng = np.random.default_rng([3])
    for _ in range(50):
        start, end = rng.normal(size=(2, 12)).astype(np.float32)
        admitted = rng.random((2, 12)) < 0.7
        pairs = {
            (i, j): float(start[i]) + float(end[j])
            for i in range(12)
            for j in range(i, min(i + 4, 12))
            if admitted[0, i] and admitted[1, j]
        }
        found = best_span(start, end, admitted, n_best=12, max_answer_length=4)
        best = max(pairs, key=lambda pair: pairs[pair]) if pairs else None
        assert (found[1:] if found else None) == best


def test_only_the_n_best_starts_and_ends_are_paired() -> None:
    start = np.array([0, 3, 2, 1], dtype=np.float32)
    end = np.array([5, 0, 4, 1], dtype=np.float32)
    admitted = np.ones((2, 4), dtype=np.bool_)
    assert best_span(start, end, admitted, n_best=1, max_answer_length=4) is None
    assert best_span(start, end, admitted, n_best=2, max_answer_length=4) == (7.0, 1, 2)
    assert best_span(start, end, admitted, n_best=2, max_answer_length=1) == (6.0, 2, 2)


def test_between_equal_spans_the_earlier_wins() -> None:
    zeros = np.zeros(4, dtype=np.float32)
    admitted = np.ones((2, 4), dtype=np.bool_)
    assert best_span(zeros, zeros, admitted, n_best=4, max_answer_length=4) == (0.0, 0, 0)


@pytest.mark.parametrize("answer", ["Ada Lovelace", "1843", "London.", "first program in"])
def test_logits_at_the_targets_decode_to_the_very_answer(answer: str) -> None:
    tokenizer = make_tokenizer([CONTEXT, "Who ?"])
    config = make_config(max_seq_length=14, doc_stride=3)
    examples = [make_example("Ada", id_="q0"), make_example(answer)]
    made = squad.make_features(examples, tokenizer, config, training=True)
    outputs = [
        (logits_at(len(f.input_ids), f.targets[0]), logits_at(len(f.input_ids), f.targets[1]))
        for f in made.features
    ]
    predictions = squad.decode(examples, made, outputs, config)
    assert predictions == {"q0": "Ada", "q1": answer}
    assert squad.metrics(examples, predictions) == {"exact_match": 100.0, "f1": 100.0}


def test_an_answer_may_start_only_where_its_window_gives_most_context() -> None:
    tokenizer = make_tokenizer([CONTEXT, "Who ?"])
    config = make_config(max_seq_length=12, doc_stride=3)
    example = make_example("Ada")
    made = squad.make_features([example], tokenizer, config, training=False)
    assert not made.places[0].max_context[-1]
    flat = [np.zeros(len(f.input_ids), dtype=np.float32) for f in made.features]
    outputs = [(values, values) for values in flat]
    last = len(flat[0]) - 2
    outputs[0] = (logits_at(len(flat[0]), last, 9.0), logits_at(len(flat[0]), last, 9.0))
    word = CONTEXT[slice(*made.places[0].offsets[-1])]
    assert squad.decode([example], made, outputs, config)["q1"] != word


def test_a_question_whose_likeliest_positions_admit_no_answer_gets_an_empty_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = make_config(n_best=1)
    examples = [make_example("Ada")]
    made = squad.make_features(examples, make_tokenizer([CONTEXT, "Who ?"]), config, training=False)
    on_cls = logits_at(len(made.features[0].input_ids), 0)
    with caplog.at_level(logging.WARNING):
        assert squad.decode(examples, made, [(on_cls, on_cls)], config) == {"q1": ""}
    assert "1 of 1 questions got no answer" in caplog.text


def test_the_answer_keeps_case_accents_and_spacing_of_the_paragraph() -> None:
    # The second "cafe" is written with an accent as a character of its own, which no token covers.
    context = "The Caf\u00e9  Cafe\u0301, \u6771\u4eac \U0001f600 Zo\u00eb"
    tokenizer = make_tokenizer([context, "Who ?"])
    for answer in ["Caf\u00e9  Cafe\u0301", "\u6771\u4eac \U0001f600", "Zo\u00eb"]:
        example = make_example(answer, context=context)
        made = squad.make_features([example], tokenizer, make_config(), training=True)
        length = len(made.features[0].input_ids)
        start, end = (logits_at(length, i) for i in made.features[0].targets)
        assert squad.decode([example], made, [(start, end)], make_config()) == {"q1": answer}


def test_only_accents_are_added_behind_an_answer() -> None:
    assert substring("cafe\u0301\u0301s", 0, 4) == "cafe\u0301\u0301"
    assert substring("cafes", 0, 4) == "cafe"


def test_outputs_that_do_not_belong_to_the_features_are_refused() -> None:
    examples = [make_example("Ada")]
    config = make_config()
    made = squad.make_features(examples, make_tokenizer([CONTEXT, "Who ?"]), config, training=False)
    good = np.zeros(len(made.features[0].input_ids), dtype=np.float32)
    with pytest.raises(FeatureError, match="0 outputs for 1 features"):
        squad.decode(examples, made, [], config)
    with pytest.raises(FeatureError, match=r"'q1' have the shapes .*expected \(\d+,\)"):
        squad.decode(examples, made, [(good, good[:-1])], config)
    with pytest.raises(FeatureError, match="'q1' are not all finite"):
        squad.decode(examples, made, [(good, good * np.float32("nan"))], config)
