"""Reading SQuAD 2.0, and telling it from 1.1."""

from pathlib import Path
from typing import Any

import pytest

from bert.tasks import squad
from bert.tasks.squad_format import SquadError
from tests.squads import impossible_question, make_config, question, write_squad

ONE, TWO = make_config(), make_config(version="2.0")


def test_a_question_of_2_0_has_answers_or_is_impossible(tmp_path: Path) -> None:
    answerable = question("q1") | {"is_impossible": False}
    file = write_squad(tmp_path / "a.json", answerable, impossible_question("q2"), version="v2.0")
    examples, counts = squad.read_examples([file], TWO, role="dev")
    assert [(e.id, len(e.answers), e.impossible) for e in examples] == [
        ("q1", 1, False),
        ("q2", 0, True),
    ]
    assert examples[1].target is None
    assert counts["impossible_questions"] == 1
    assert counts["misaligned_questions"] == 0


def test_a_question_of_2_0_without_the_key_is_impossible_if_it_has_no_answer(
    tmp_path: Path,
) -> None:
    file = write_squad(tmp_path / "a.json", question("q1"), question("q2") | {"answers": []})
    examples, _ = squad.read_examples([file], TWO, role="train")
    assert [e.impossible for e in examples] == [False, True]


def test_a_file_of_1_1_is_one_of_2_0_in_which_every_question_has_an_answer(tmp_path: Path) -> None:
    file = write_squad(tmp_path / "a.json", question("q1"))
    assert squad.read_examples([file], ONE, role="dev")[0][0].impossible is None
    assert squad.read_examples([file], TWO, role="dev")[0][0].impossible is False


@pytest.mark.parametrize(
    "wrong",
    [
        question("q2") | {"answers": []},
        impossible_question("q2"),
        question("q2") | {"is_impossible": True},
    ],
)
def test_a_question_of_1_1_without_answer_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    file = write_squad(tmp_path / "a.json", question("q1"), wrong)
    with pytest.raises(SquadError) as caught:
        squad.read_examples([file], ONE, role="dev")
    assert str(caught.value) == (
        f"{file} is not SQuAD 1.1:\n  - article 1 ('Ada'), paragraph 1, question 2 ('q2'): it has "
        "no answer; SQuAD 1.1 has at least one for each question. For a file with unanswerable "
        'questions set version: "2.0"'
    )


@pytest.mark.parametrize("version", ["v2.0", "2.0", "V2"])
def test_a_file_that_says_2_0_is_refused_as_1_1_though_all_its_questions_have_answers(
    tmp_path: Path, version: str
) -> None:
    file = write_squad(tmp_path / "a.json", question("q1"), version=version)
    with pytest.raises(SquadError, match=rf'version is \'{version}\', .* Set version: "2\.0"'):
        squad.read_examples([file], ONE, role="dev")
    squad.read_examples([file], TWO, role="dev")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (question("q2") | {"is_impossible": True}, "`is_impossible` is true, but it has 1 answers"),
        (
            impossible_question("q2") | {"is_impossible": False},
            "`is_impossible` is false, but it has 0 answers",
        ),
        (impossible_question("q2") | {"is_impossible": 1}, "`is_impossible` is 1; it should be"),
        (question("q2", text=""), r"`text` is \"\"; it should have at least 1 character"),
    ],
)
def test_answers_that_contradict_is_impossible_are_refused(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    file = write_squad(tmp_path / "a.json", question("q1"), wrong)
    with pytest.raises(SquadError, match=rf"question 2 \('q2'\).*: {message}"):
        squad.read_examples([file], TWO, role="train")


def test_of_many_impossible_questions_ten_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    file = write_squad(tmp_path / "a.json", *(impossible_question(f"q{i}") for i in range(12)))
    with pytest.raises(SquadError, match=r"question 10 .*\n  - and 2 more$"):
        squad.read_examples([file], ONE, role="train")
