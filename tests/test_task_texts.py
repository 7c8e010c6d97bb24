import json
from pathlib import Path

import pytest

from bert.tasks.mrpc_tsv import MrpcError
from bert.tasks.texts import task_texts


def test_texts_of_squad_are_contexts_and_questions_each_once(tmp_path: Path) -> None:
    question = {"answers": [{"text": "cats", "answer_start": 0}]}
    paragraph = {
        "context": "cats sit",
        "qas": [{"id": str(i), "question": f"who {i}?"} | question for i in range(2)],
    }
    file = tmp_path / "train.json"
    file.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    assert task_texts("squad", [file, file]) == ["cats sit", "who 0?", "who 1?"]


def test_texts_of_mrpc_are_both_sentences_of_every_row(tmp_path: Path) -> None:
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    for name, row in (("train", "1\t1\t2\tone\ttwo\n"), ("dev", "0\t3\t4\tthree\tone\n")):
        (tmp_path / f"{name}.tsv").write_text(header + row)
    files = [tmp_path / "train.tsv", tmp_path / "dev.tsv"]
    assert task_texts("mrpc", files) == ["one", "two", "three"]


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.tsv").write_text("1\t2\n")
    with pytest.raises(MrpcError, match="expected the header"):
        task_texts("mrpc", [tmp_path / "ids.tsv"])
