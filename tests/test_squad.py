import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from bert.config import ConfigError, check
from bert.tasks import squad
from bert.tasks.features import FeatureError
from bert.tasks.squad import SquadConfig
from bert.tasks.squad_json import Answer, SquadError, SquadExample
from bert.tasks.squad_score import baseline, exact_match, metrics, normalize, token_f1
from bert.tasks.squad_windows import best_span, max_context, substring, token_span, window_bounds

CONTEXT = "Ada Lovelace wrote the first program in 1843, near London."


def make_config(**changes: Any) -> SquadConfig:
    values: dict[str, Any] = {
        "format": "squad",
        "max_seq_length": 24,
        "doc_stride": 4,
        "max_query_length": 6,
        "n_best": 20,
        "max_answer_length": 30,
        "max_misaligned_share": 0.0,
    }
    return SquadConfig(**(values | changes))


def make_tokenizer(texts: Sequence[str]) -> Tokenizer:
    """A word-level WordPiece tokenizer over the words and characters of the texts."""
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = [w for t in texts for w, _ in splitter.pre_tokenize_str(normalizer.normalize_str(t))]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set(words)), "##s"]
    ids = {word: i for i, word in enumerate(dict.fromkeys(vocab))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = splitter
    return tokenizer


def make_example(
    answer: str, *, context: str = CONTEXT, question: str = "Who ?", id_: str = "q1"
) -> SquadExample:
    return SquadExample(id_, question, context, (Answer(answer, context.index(answer), True),))


def question(id_: str = "q1", text: str = "Ada", start: int = 0) -> dict[str, Any]:
    return {"id": id_, "question": "Who ?", "answers": [{"text": text, "answer_start": start}]}


def write_squad(path: Path, *questions: dict[str, Any], context: str = CONTEXT) -> Path:
    paragraphs = [{"context": context, "qas": list(questions)}]
    path.write_text(
        json.dumps({"version": "1.1", "data": [{"title": "Ada", "paragraphs": paragraphs}]})
    )
    return path


def logits_at(length: int, position: int, value: float = 5.0) -> NDArray[np.float32]:
    logits = np.zeros(length, dtype=np.float32)
    logits[position] = value
    return logits


# Reading


def test_every_question_is_read_with_all_its_answers(tmp_path: Path) -> None:
    first = question("q1")
    first["answers"].append({"text": "Lovelace", "answer_start": 4})
    file = write_squad(tmp_path / "a.json", first, question("q2", "1843", 40))
    examples, counts = squad.read_examples([file], make_config(), role="dev")
    assert [e.id for e in examples] == ["q1", "q2"]
    assert examples[0].answers == (Answer("Ada", 0, True), Answer("Lovelace", 4, True))
    assert examples[1].target == Answer("1843", 40, True)
    assert counts == {
        "articles": 1,
        "paragraphs": 1,
        "questions": 2,
        "misaligned_questions": 0,
        "misaligned_answers": 0,
        "repeated_ids": 0,
    }


def test_files_are_read_in_their_order(tmp_path: Path) -> None:
    files = [
        write_squad(tmp_path / "b.json", question("q1")),
        write_squad(tmp_path / "a.json", question("q2")),
    ]
    assert [e.id for e in squad.read_examples(files, make_config(), role="dev")[0]] == ["q1", "q2"]


def test_truncated_json_is_refused_with_its_size_and_remedy(tmp_path: Path) -> None:
    file = write_squad(tmp_path / "a.json", question())
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(
        SquadError, match=r"a\.json \(100 bytes\) is not whole JSON: .*fetch it again"
    ):
        squad.read_examples([file], make_config(), role="dev")


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'{"data": "\xff"}')
    with pytest.raises(SquadError, match="not whole JSON: 'utf-8' codec"):
        squad.read_examples([file], make_config(), role="dev")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": []}, r"question 2 \('q2'\): it has no answer; SQuAD 1\.1 has at least one"),
        ({"question": " "}, r"question 2 \('q2'\): `question` is \" \"; it should match"),
        ({"id": 7}, r"question 2: `id` is 7; it should be a valid string"),
        (
            {"answers": [{"text": "Ada"}]},
            r"article 1 \('Ada'\), paragraph 1, question 2 \('q2'\), answer 1: key `answer_st",
        ),
        (
            {"answers": [{"text": "", "answer_start": 0}]},
            r"answer 1: `text` is \"\"; it should have",
        ),
        (
            {"answers": [{"text": "Ada", "answer_start": "0"}]},
            r"answer 1: `answer_start` is \"0\"; it should be a valid integer",
        ),
    ],
)
def test_a_wrong_question_is_named_by_article_paragraph_and_question(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    file = write_squad(tmp_path / "a.json", question("q1"), question("q2") | changes)
    with pytest.raises(SquadError, match=message):
        squad.read_examples([file], make_config(), role="dev")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "the file: `the value` is .*valid dictionary"),
        ({}, "the file: key `data` is missing"),
        ({"data": {}}, "the file: `data` is .*valid list"),
        ({"data": [3]}, "article 1: .* is 3; it should be a valid dictionary"),
        ({"data": [{"title": "Ada"}]}, r"article 1 \('Ada'\): key `paragraphs` is missing"),
        ({"data": []}, "there is no question"),
    ],
)
def test_a_file_of_another_structure_is_refused(tmp_path: Path, values: Any, message: str) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(values))
    with pytest.raises(SquadError, match=message):
        squad.read_examples([file], make_config(), role="train")


def test_of_many_wrong_questions_ten_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    file = write_squad(tmp_path / "a.json", *({"id": f"q{i}", "question": "?"} for i in range(13)))
    with pytest.raises(SquadError, match=r"question 10 .*\n  - and 3 more"):
        squad.read_examples([file], make_config(), role="train")


def test_misaligned_answers_are_counted_but_never_moved(tmp_path: Path) -> None:
    # "Lovelace" stands at 4; -3 would match the end of the text if it were counted from the back.
    questions = [question("q1"), question("q2", "Lovelace", 5), question("q3", "on.", -3)]
    file = write_squad(tmp_path / "a.json", *questions)
    examples, counts = squad.read_examples(
        [file], make_config(max_misaligned_share=0.7), role="train"
    )
    assert counts["misaligned_questions"] == counts["misaligned_answers"] == 2
    assert examples[1].answers == (Answer("Lovelace", 5, False),)
    assert examples[1].target is None
    assert examples[2].target is None


def test_more_misaligned_questions_than_allowed_fail_and_show_the_difference(
    tmp_path: Path,
) -> None:
    good, bad = question("q1"), question("q2", "Ada Lovelace wrote the  first", 0)
    file = write_squad(tmp_path / "a.json", good, bad)
    with pytest.raises(
        SquadError, match=r"1 of 2 questions .*'q2'.*' Lovelace wrote the  first' where"
    ):
        squad.read_examples([file], make_config(max_misaligned_share=0.49), role="train")
    squad.read_examples([file], make_config(max_misaligned_share=0.5), role="train")


def test_a_repeated_id_is_refused_in_gold_data_and_counted_in_training(tmp_path: Path) -> None:
    file = write_squad(tmp_path / "a.json", question("q1"), question("q1"), question("q2"))
    assert squad.read_examples([file], make_config(), role="train")[1]["repeated_ids"] == 1
    with pytest.raises(SquadError, match=r"1 question ids .* once, e\.g\. 'q1'"):
        squad.read_examples([file], make_config(), role="dev")


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


# Scores, worked by hand from the rules of evaluate-v1.1.py


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


def test_each_metric_takes_its_best_over_the_gold_answers() -> None:
    example = gold("q1", "Paris", "Paris in France", "the city of Paris")
    # Exact with none; F1 against the three: 2/3, 4/5, 2/5.
    scores = metrics([example], {"q1": "Paris France"})
    assert scores == {"exact_match": 0.0, "f1": pytest.approx(80.0)}
    assert metrics([example], {"q1": "paris"}) == {"exact_match": 100.0, "f1": 100.0}


def test_a_missing_prediction_scores_zero_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    examples = [gold("q1", "x"), gold("q2", "x"), gold("q3", "a x b"), gold("q4", "x")]
    with caplog.at_level(logging.WARNING):
        scores = metrics(examples, {"q1": "x", "q3": "x", "q4": "", "other": "x"})
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
