"""The command: files and single requests through a published model."""

import json
import logging

import pytest

from bert.kernels.compiled import use_kernels
from bert.predict.requests import RequestError
from bert.predict.terminal import readable
from tests.published import CONTEXT, publish
from tests.stages import Job, run_apart, run_here


@pytest.fixture
def predict(tmp_path):
    """Calls the script on the published model of a task."""
    folders = {}

    def call(name, *arguments):
        if name not in folders:
            folders[name] = publish(tmp_path / "published" / name, name)
        arguments = ["--model", str(folders[name]), "--threads", "1", *map(str, arguments)]
        run_here(Job("predict", arguments, []))

    yield call
    logging.getLogger("bert.tasks").setLevel(logging.NOTSET)
    use_kernels("torch")


def test_a_file_is_answered_line_by_line_in_its_order(predict, tmp_path, capsys):
    questions = tmp_path / "questions.jsonl"
    lines = [{"question": "Who", "context": CONTEXT, "id": i} for i in ("b", "a")]
    lines.append({"question": "who " * 20, "context": "Ada in London"})
    questions.write_text("".join(json.dumps(line) + "\n" for line in lines))

    predict("squad", "--input", questions, "--output", tmp_path / "answers.jsonl")

    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").open()]
    assert [answer["id"] for answer in answers] == ["b", "a", 3]
    assert answers[0]["answer"] == answers[1]["answer"]
    assert set(answers[0]) == {"id", "answer", "start", "end", "score", "n_best", "null_odds"}
    assert "3 requests answered\n1 times the end of a question was cut" in capsys.readouterr().err


def test_equal_files_give_equal_bytes(predict, tmp_path):
    table = tmp_path / "pairs.tsv"
    table.write_text("first\tsecond\n" + "Ada\tBob\n" * 3)

    for name in ("one", "two"):
        predict("rte", "--input", table, "--output", tmp_path / name)

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_text().count("\n") == 3


def test_a_bad_line_leaves_the_output_as_it_was(predict, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "Ada"}\n{"txt": "Ada"}\n')
    (tmp_path / "out.jsonl").write_text("of the last time")

    with pytest.raises(RequestError, match=r"in\.jsonl, line 2: `txt` is not a known key"):
        predict("conll", "--input", tmp_path / "in.jsonl", "--output", tmp_path / "out.jsonl")

    assert (tmp_path / "out.jsonl").read_text() == "of the last time"
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("squad", ["--question", "Who", "--context", "Ada"], "Ada"),
        ("sst2", ["--sentence", "Ada"], "positive"),
        ("rte", ["--first", "Ada", "--second", "Bob"], "not_entailment"),
    ],
)
def test_one_request_is_answered_for_a_person(predict, capsys, name, arguments, expected):
    predict(name, *arguments)

    said = capsys.readouterr().out
    assert expected in said
    assert " %  #" in said


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "there is nothing to answer"),
        (["--input", "a.jsonl"], "--input and --output go together"),
        (["--input", "a.jsonl", "--output", "b", "--text", "Ada"], "--text and --input were given"),
        (["--text", "Ada", "--threads", "0"], "'0' is no number of threads"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(predict, capsys, arguments, problem):
    with pytest.raises(SystemExit):
        predict("conll", *arguments)

    assert problem in capsys.readouterr().err


def test_a_text_of_another_task_is_refused(predict):
    with pytest.raises(RequestError, match="the command line: `question` is missing"):
        predict("squad", "--text", "Ada")


def test_requests_pass_from_standard_input_to_standard_output(tmp_path):
    folder = publish(tmp_path, "stsb")
    arguments = ["--model", str(folder), "--threads", "1", "--input", "-", "--output", "-"]

    run = run_apart(Job("predict", arguments, []), input='{"first": "Ada", "second": "Bob"}\n')

    assert run.returncode == 0
    assert set(json.loads(run.stdout)) == {"id", "value"}


def test_what_is_not_there_is_said():
    """By hand; three quarters of 24 signs are 18."""
    none = {"text": "", "start": None, "end": None, "probability": 0.75}
    text = {"text": "in\n1843", "start": 4, "end": 11, "probability": 0.25}
    found = {"answer": "", "start": None, "end": None, "n_best": [none, text]}

    assert readable("span", found) == (
        "(no answer stands in the text)\n\n"
        " 75.0 %  ##################        (no answer)\n"
        " 25.0 %  ######                    in 1843\n"
    )
    assert readable("token", {"entities": []}) == "(no entity stands in the text)\n"
    assert readable("value", {"value": 4.25}) == "4.250\n"
