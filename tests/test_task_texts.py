import json
import zipfile
from pathlib import Path

import pytest

from bert.tasks.glue_tsv import TableError
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


def test_texts_of_squad_are_of_either_version(tmp_path: Path) -> None:
    qas = [
        {"id": "1", "question": "who?", "answers": [{"text": "cats", "answer_start": 0}]},
        {"id": "2", "question": "why?", "answers": [], "is_impossible": True},
    ]
    file = tmp_path / "train-v2.0.json"
    data = [{"paragraphs": [{"context": "cats sit", "qas": qas}]}]
    file.write_text(json.dumps({"version": "v2.0", "data": data}))
    assert task_texts("squad", [file]) == ["cats sit", "who?", "why?"]


def test_texts_of_mrpc_are_both_sentences_of_every_row(tmp_path: Path) -> None:
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    for name, row in (("train", "1\t1\t2\tone\ttwo\n"), ("dev", "0\t3\t4\tthree\tone\n")):
        (tmp_path / f"{name}.tsv").write_text(header + row)
    files = [tmp_path / "train.tsv", tmp_path / "dev.tsv"]
    assert task_texts("mrpc", files) == ["one", "two", "three"]


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ids.tsv").write_text("1\t2\n")
    with pytest.raises(TableError, match="expected the header"):
        task_texts("mrpc", [tmp_path / "ids.tsv"])


def test_texts_of_glue_are_the_sentences_of_its_train_and_dev_files(tmp_path: Path) -> None:
    header = "index\tsentence1\tsentence2\tlabel\n"
    (tmp_path / "train.tsv").write_text(header + "0\tone\ttwo\tentailment\n1\tcut off\n")
    (tmp_path / "dev.tsv").write_text(header + "0\tthree\tone\tno such label\n")
    files = [tmp_path / "train.tsv", tmp_path / "dev.tsv"]
    assert task_texts("rte", files) == ["one", "two", "three"]


def test_a_zip_file_of_glue_gives_the_texts_of_both_splits(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "CoLA.zip", "w") as archive:
        archive.writestr("CoLA/train.tsv", "gj04\t1\t\tone\n")
        archive.writestr("CoLA/dev.tsv", "gj04\t0\t*\ttwo\n")
    assert task_texts("cola", [tmp_path / "CoLA.zip"]) == ["one", "two"]


def test_a_file_of_glue_without_known_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("index\tsentence1\tsentence2\n")
    with pytest.raises(TableError, match=r"test\.tsv is no file of this task"):
        task_texts("rte", [tmp_path / "test.tsv"])
