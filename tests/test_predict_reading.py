"""Files of requests: every form that is read, and every line that is refused."""

import io
import json
from pathlib import Path

import pytest

from bert.predict.reading import read_requests
from bert.predict.requests import (
    LONGEST_TEXT,
    PairRequest,
    RequestError,
    SentenceRequest,
    SpanRequest,
    TokenRequest,
    check_request,
)


def written(tmp_path, name, text):
    file = tmp_path / name
    file.write_bytes(text.encode("utf-8"))
    return file


def test_json_lines_keep_their_order_and_get_their_number_as_id(tmp_path):
    text = '{"first": "a\u2028b", "second": "c"}\r\n{"id": "x", "first": "d", "second": "e"}\n'

    found = read_requests(written(tmp_path, "pairs.jsonl", "\ufeff" + text), PairRequest)

    assert found == [
        PairRequest(id=1, first="a\u2028b", second="c"),
        PairRequest(id="x", first="d", second="e"),
    ]


def test_standard_input_is_json_lines(monkeypatch):
    content = io.TextIOWrapper(io.BytesIO(b'{"sentence": "yes"}'))
    monkeypatch.setattr("sys.stdin", content)

    assert read_requests(Path("-"), SentenceRequest) == [SentenceRequest(id=1, sentence="yes")]


def test_quotation_marks_are_text_in_tsv_and_quote_in_csv(tmp_path):
    tsv = written(tmp_path, "a.tsv", 'id\tsentence\n7\t"Yes", he said\n')
    csv = written(tmp_path, "a.csv", 'sentence\n"""Yes"", he\nsaid"\n')

    assert read_requests(tsv, SentenceRequest)[0].sentence == '"Yes", he said'
    assert read_requests(tsv, SentenceRequest)[0].id == "7"
    assert read_requests(csv, SentenceRequest)[0].sentence == '"Yes", he\nsaid'


def test_words_of_a_table_stand_between_spaces(tmp_path):
    file = written(tmp_path, "a.tsv", "words\nAda  wrote\n")

    assert read_requests(file, TokenRequest)[0].words == ["Ada", "wrote"]


def test_questions_of_a_squad_file_are_read_with_or_without_answers(tmp_path):
    asked = [{"id": "q1", "question": "Who?", "answers": []}, {"id": "q2", "question": "When?"}]
    data = {"data": [{"paragraphs": [{"context": "Ada.", "qas": asked}]}]}

    found = read_requests(written(tmp_path, "dev.json", json.dumps(data)), SpanRequest)

    assert [(one.id, one.question, one.context) for one in found] == [
        ("q1", "Who?", "Ada."),
        ("q2", "When?", "Ada."),
    ]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.jsonl", '{"sentence": "a"}\n\n{"sentence": "b"}\n', "line 2 is not JSON"),
        ("a.jsonl", '{"sentence": "a"}\n{"sentence": ', "line 2 is not JSON"),
        ("a.jsonl", '["a"]\n', "line 1 is ['a']; expected an object with `sentence`"),
        ("a.jsonl", '{"sentence": "a", "label": 1}\n', "line 1: `label` is not a known key"),
        ("a.jsonl", '{"id": 1}\n', "line 1: `sentence` is missing"),
        ("a.jsonl", "", "has no request"),
        ("a.tsv", "sentence\n", "has no request"),
        ("a.tsv", "sentence\na\tb\n", "line 2 has 2 columns; expected 1"),
        ("a.tsv", "sentence\tsentence\na\tb\n", "line 1 is ['sentence', 'sentence']"),
        ("a.tsv", "text\na\n", "line 2: `sentence` is missing; `text` is not a known key"),
        ("a.csv", 'sentence\n"a" b\n', "line 2 is no row of a table"),
        ("a.json", "{}", "JSON lines. Name the file *.jsonl"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path, name, text, problem):
    with pytest.raises(RequestError) as caught:
        read_requests(written(tmp_path, name, text), SentenceRequest)

    assert problem in str(caught.value)
    assert name in str(caught.value)


def test_every_bad_line_is_counted_and_the_first_are_named(tmp_path):
    file = written(tmp_path, "a.jsonl", "no\n" * 12 + '{"sentence": "a"}\n')

    with pytest.raises(RequestError) as caught:
        read_requests(file, SentenceRequest)

    assert "12 requests are none" in str(caught.value)
    assert "line 10 " in str(caught.value)
    assert "line 11 " not in str(caught.value)
    assert "and 2 more" in str(caught.value)


def test_bytes_that_are_no_utf_8_are_refused_with_their_line(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"sentence": "a"}\n{"sentence": "\xff"}\n')

    with pytest.raises(RequestError, match=r"line 2: .*expected UTF-8"):
        read_requests(file, SentenceRequest)


@pytest.mark.parametrize("data", [{}, {"data": [{"paragraphs": [{"context": "a"}]}]}, ["data"]])
def test_json_that_is_no_squad_file_is_refused(tmp_path, data):
    with pytest.raises(RequestError, match="is not in SQuAD's form"):
        read_requests(written(tmp_path, "dev.json", json.dumps(data)), SpanRequest)


@pytest.mark.parametrize(
    ("kind", "values", "problem"),
    [
        (SentenceRequest, {"sentence": " \n"}, "`sentence` is empty"),
        (SentenceRequest, {"sentence": 3}, "`sentence` is 3; it must be a valid string"),
        (SentenceRequest, {"sentence": "a" * (LONGEST_TEXT + 1)}, "has 100,001 characters"),
        (SentenceRequest, {"sentence": "a", "id": 1.5}, "`id` is 1.5; it must be text or a whole"),
        (SentenceRequest, {"sentence": "a", "id": True}, "`id` is True"),
        (SentenceRequest, {"sentence": "\ud800"}, "`sentence` is '\\ud800'"),
        (TokenRequest, {}, "it needs one of `text` and `words`"),
        (TokenRequest, {"text": "a", "words": ["a"]}, "it needs one of `text` and `words`"),
        (TokenRequest, {"words": []}, "`words`"),
        (TokenRequest, {"words": ["a b"]}, "in which there is a space"),
        (SpanRequest, {}, "`question` is missing; `context` is missing. Expected `question` and"),
        (PairRequest, {str(i): i for i in range(9)}, "and 8 more problems"),
    ],
)
def test_a_request_that_is_none_is_refused_in_words(kind, values, problem):
    with pytest.raises(RequestError) as caught:
        check_request(kind, values, "line 7")

    assert problem in str(caught.value)
    assert str(caught.value).startswith("line 7")
