"""Reading SQuAD files."""

import json
from pathlib import Path
from typing import Any

import pytest

from bert.tasks import squad
from bert.tasks.squad_format import SquadError
from bert.tasks.squad_json import Answer
from tests.squads import make_config, question, write_squad


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
        "impossible_questions": 0,
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


def test_json_without_end_to_its_nesting_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("[" * 100_000)
    with pytest.raises(SquadError, match="not whole JSON: maximum recursion depth"):
        squad.read_examples([file], make_config(), role="dev")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = write_squad(tmp_path / "a.json", question())
    expected = squad.read_examples([file], make_config(), role="dev")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert squad.read_examples([file], make_config(), role="dev") == expected


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_bytes(b'{"data": "\xff"}')
    with pytest.raises(SquadError, match="not whole JSON: 'utf-8' codec"):
        squad.read_examples([file], make_config(), role="dev")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
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
        ({"question": "Who \ud800?"}, r"`question` is \"Who \\ud800\?\"; .* unicode string"),
        (
            {"answers": [{"text": "Ada", "answer_start": float("nan")}]},
            r"answer 1: `answer_start` is NaN; it should be a",
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
