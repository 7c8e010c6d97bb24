import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from bert.tasks import mrpc
from bert.tasks.features import FeatureError
from bert.tasks.glue_tsv import TableError
from bert.tasks.mrpc import MrpcConfig
from bert.tasks.sentence import SentenceExample, kept_lengths

HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
ROWS = '1\t10\t11\tIt rains .\tRain falls .\n0\t20\t21\tHe said " no .\tShe ran .\n'


def make_config(**changes: Any) -> MrpcConfig:
    values: dict[str, Any] = {"format": "mrpc", "layout": "glue", "max_seq_length": 128}
    return MrpcConfig(**(values | changes))


def make_tokenizer() -> Tokenizer:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefg"]
    ids = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8"))
    return path


def pairs(*labels: int) -> list[SentenceExample]:
    return [SentenceExample(f"{i} {i + 1}", "a", "b", label) for i, label in enumerate(labels)]


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_glue_rows_are_read_with_quotes_as_text(tmp_path: Path, mark: str, end: str) -> None:
    file = write(tmp_path / "dev.tsv", (mark + HEADER + ROWS).replace("\n", end))
    examples, counts = mrpc.read_examples([file], make_config(), role="dev")
    assert examples == [
        SentenceExample("10 11", "It rains .", "Rain falls .", 1),
        SentenceExample("20 21", 'He said " no .', "She ran .", 0),
    ]
    assert counts == {"rows": 2, "pairs": 2, "paraphrases": 1}


def test_only_a_line_feed_ends_a_row(tmp_path: Path) -> None:
    file = write(tmp_path / "dev.tsv", HEADER + "1\t10\t11\tone\u2028two\x85three\tfour\rfive\n")
    example = mrpc.read_examples([file], make_config(), role="dev")[0][0]
    assert (example.first, example.second) == ("one\u2028two\x85three", "four\rfive")


@pytest.mark.parametrize("reverse", [False, True])
def test_microsofts_rows_are_split_by_the_listed_pairs(tmp_path: Path, reverse: bool) -> None:
    files = [
        write(tmp_path / "msr.txt", HEADER + ROWS + "1\t30\t31\tx\ty\n"),
        write(tmp_path / "dev_ids.tsv", "20\t21\n"),
    ]
    files = files[::-1] if reverse else files
    config = make_config(layout="microsoft")
    train, train_counts = mrpc.read_examples(files, config, role="train")
    dev, dev_counts = mrpc.read_examples(files, config, role="dev")
    assert [e.id for e in train] == ["10 11", "30 31"]
    assert [e.id for e in dev] == ["20 21"]
    assert train_counts == {"rows": 3, "pairs": 2, "paraphrases": 2}
    assert dev_counts == {"rows": 3, "pairs": 1, "paraphrases": 0}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\t30\t31\tx", r"dev\.tsv, line 4 has 4 columns; expected 5"),
        ("1\t30\t31\tx\ty\tz", "line 4 has 6 columns"),
        ("", "line 4 has 1 columns"),
        ("2\t30\t31\tx\ty", "line 4: Quality is '2'; expected 0 or 1"),
        ("1\t\t31\tx\ty", "line 4: #1 ID is empty"),
        ("1\t30\t31\tx\t ", "line 4: #2 String is empty"),
        ("1\t10\t11\tx\ty", r"line 4: the pair 10 11 stands already in .*line 2"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    file = write(tmp_path / "dev.tsv", HEADER + ROWS + row + "\n")
    with pytest.raises(TableError, match=message):
        mrpc.read_examples([file], make_config(), role="dev")


def test_a_row_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "dev.tsv"
    file.write_bytes(HEADER.encode() + b"1\t10\t11\tcaf\xe9\ty\n")
    with pytest.raises(TableError, match="line 2: 'utf-8' codec"):
        mrpc.read_examples([file], make_config(), role="dev")


@pytest.mark.parametrize("text", ["", ROWS, "sentence1\tsentence2\tlabel\n"])
def test_a_file_without_the_header_is_refused(tmp_path: Path, text: str) -> None:
    file = write(tmp_path / "dev.tsv", text)
    with pytest.raises(TableError, match=r"line 1 is .*expected the header"):
        mrpc.read_examples([file], make_config(), role="dev")


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "msr.txt", HEADER + ROWS)
    both = write(tmp_path / "dev_ids.tsv", "10\t11\n20\t21\n")
    with pytest.raises(TableError, match="no pair for the train split"):
        mrpc.read_examples([file, both], make_config(layout="microsoft"), role="train")


def test_another_number_of_files_than_the_layout_has_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "dev.tsv", HEADER + ROWS)
    with pytest.raises(TableError, match=r"dev split has 2 files .*layout 'glue' expects 1"):
        mrpc.read_examples([file, file], make_config(), role="dev")
    with pytest.raises(TableError, match=r"dev split has 1 files .*layout 'microsoft' expects 2"):
        mrpc.read_examples([file], make_config(layout="microsoft"), role="dev")


def test_a_listed_pair_without_a_row_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "msr.txt", HEADER + ROWS)
    ids = write(tmp_path / "dev_ids.tsv", "20\t21\n21\t20\n")
    with pytest.raises(TableError, match=r"1 of 2 pairs of .* have no row in .*'21 20'"):
        mrpc.read_examples([file, ids], make_config(layout="microsoft"), role="dev")


def test_two_files_that_are_not_microsofts_pair_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "msr.txt", HEADER + ROWS)
    ids = write(tmp_path / "dev_ids.tsv", "20\t21\n")
    config = make_config(layout="microsoft")
    with pytest.raises(
        TableError, match=r"dev_ids\.tsv, line 1 is \['20', '21'\]; expected the head"
    ):
        mrpc.read_examples([ids, ids], config, role="dev")
    with pytest.raises(TableError, match="line 1 has 5 columns; expected the 2 ids"):
        mrpc.read_examples([file, file], config, role="dev")


def test_a_feature_is_both_sentences_with_the_label_as_target() -> None:
    tokenizer = make_tokenizer()
    examples = [SentenceExample("1 2", "a b", "c", 0), SentenceExample("3 4", "d", "e f g", 1)]
    made = mrpc.make_features(examples, tokenizer, make_config(), training=True)
    tokens = [[tokenizer.id_to_token(i) for i in f.input_ids] for f in made.features]
    assert tokens == [
        ["[CLS]", "a", "b", "[SEP]", "c", "[SEP]"],
        ["[CLS]", "d", "[SEP]", "e", "f", "g", "[SEP]"],
    ]
    assert [f.segment_b_start for f in made.features] == [4, 3]
    assert [f.targets for f in made.features] == [(0,), (1,)]
    assert [f.example for f in made.features] == [0, 1]
    assert made.features[0].input_ids.dtype == np.int64
    evaluated = mrpc.make_features(examples, tokenizer, make_config(), training=False)
    assert {f.targets for f in evaluated.features} == {()}


def test_long_pairs_are_cut_to_the_length_and_counted() -> None:
    tokenizer = make_tokenizer()
    examples = [SentenceExample("1 2", "a b c d e", "f g", 0), SentenceExample("3 4", "a", "b", 1)]
    made = mrpc.make_features(examples, tokenizer, make_config(max_seq_length=8), training=True)
    assert [len(f.input_ids) for f in made.features] == [8, 5]
    assert [tokenizer.id_to_token(i) for i in made.features[0].input_ids[1:4]] == ["a", "b", "c"]
    assert made.counts == {"features": 2, "cut_examples": 1}


def test_kept_lengths_agree_with_taking_tokens_one_by_one() -> None:
    for first in range(12):
        for second in range(12):
            for room in range(2, 14):
                a, b = first, second
                while a + b > room:
                    a, b = (a - 1, b) if a > b else (a, b - 1)
                assert kept_lengths(first, second, room) == (a, b)


def test_decoding_gives_label_and_probability_of_a_paraphrase() -> None:
    examples = pairs(1, 0, 1, 0)
    made = mrpc.make_features(examples, make_tokenizer(), make_config(), training=False)
    outputs = np.array([[0, np.log(3)], [2, 2], [-2000, 2000], [2000, -2000]], dtype=np.float32)
    predictions = mrpc.decode(examples, made, outputs, make_config())
    assert list(predictions) == ["0 1", "1 2", "2 3", "3 4"]
    assert [p["label"] for p in predictions.values()] == [1, 0, 1, 0]
    probability = [p["probability"] for p in predictions.values()]
    assert probability == pytest.approx([0.75, 0.5, 1.0, 0.0])


def test_outputs_that_do_not_belong_to_the_features_are_refused() -> None:
    examples = pairs(1, 0)
    made = mrpc.make_features(examples, make_tokenizer(), make_config(), training=False)
    for outputs, message in [
        (np.zeros((3, 2), dtype=np.float32), "3 outputs for 2 features"),
        (np.zeros((2, 3), dtype=np.float32), r"shape \(2, 3\); expected \[2, 2\]"),
        (np.full((2, 2), np.inf, dtype=np.float32), "sentence head are not all finite"),
    ]:
        with pytest.raises(FeatureError, match=message):
            mrpc.decode(examples, made, outputs, make_config())


def predict(*labels: int) -> dict[str, dict[str, float]]:
    return {f"{i} {i + 1}": {"label": label} for i, label in enumerate(labels)}


def test_accuracy_and_f1_of_the_paraphrase_class() -> None:
    # 2 true positives, 1 false positive, 1 false negative, 1 true negative.
    scores = mrpc.metrics(pairs(1, 1, 0, 1, 0), predict(1, 1, 1, 0, 0))
    assert scores == {"accuracy": 60.0, "f1": pytest.approx(100 * 2 * 2 / (2 * 2 + 1 + 1))}
    assert mrpc.metrics(pairs(1, 0), predict(1, 0)) == {"accuracy": 100.0, "f1": 100.0}
    assert mrpc.metrics(pairs(0, 0), predict(0, 0)) == {"accuracy": 100.0, "f1": 0.0}


def test_a_missing_prediction_counts_as_wrong_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    predictions = predict(1, 0)
    with caplog.at_level(logging.WARNING):
        scores = mrpc.metrics(pairs(1, 0, 1, 0), predictions)
    # The two missing ones: a false negative and a false positive.
    assert scores == {"accuracy": 50.0, "f1": 50.0}
    assert "2 of 4 pairs have no prediction" in caplog.text


def test_the_baseline_is_the_commonest_label() -> None:
    assert mrpc.baseline(pairs(1, 1, 1, 0)) == {
        "accuracy": 75.0,
        "f1": pytest.approx(100 * 6 / 7),
    }
    assert mrpc.baseline(pairs(0, 0, 1)) == {"accuracy": pytest.approx(200 / 3), "f1": 0.0}


def test_the_baseline_of_the_published_dev_split_is_the_known_score() -> None:
    # 279 paraphrases of 408: a model that learned nothing scores 0.6838 and 0.8122.
    scores = mrpc.baseline(pairs(*[1] * 279, *[0] * 129))
    assert scores["accuracy"] == pytest.approx(68.38, abs=0.005)
    assert scores["f1"] == pytest.approx(81.22, abs=0.005)
