"""The tasks of GLUE: what each predicts and scores, and how it reads its published layout."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from bert.config import check
from bert.tasks.config import TaskSection, task_module
from bert.tasks.features import FeatureError
from bert.tasks.glue_tsv import TableError
from bert.tasks.sentence import SentenceExample
from tests.test_mrpc import make_tokenizer

MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
    "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\t{labels}\tgold_label\n"
)
MNLI_ROW = "{0}\t7\t7n\tslate\t(\t)\t(\t)\tA {0} .\tB {0} .\t{1}\t{2}\n"
THREE = "index\tsentence1\tsentence2\tlabel\n"
# Format: header, rows of the dev file, and the examples' first, second and label.
LAYOUTS: dict[str, tuple[str, list[str], list[tuple[str, str | None, float]]]] = {
    "cola": (
        "",
        ["gj04\t1\t\tIt's fine.", "bc01\t0\t*\tHim fine is."],
        [("It's fine.", None, 1), ("Him fine is.", None, 0)],
    ),
    "sst2": (
        "sentence\tlabel\n",
        ["a joy \t1", 'a " bore \t0'],
        [("a joy ", None, 1), ('a " bore ', None, 0)],
    ),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n",
        ["0\tnews\tf\t2012\t1\tn\tn\tA.\tB.\t5.000", "1\tnews\tf\t2012\t2\tn\tn\tC.\tD.\t0.25"],
        [("A.", "B.", 5.0), ("C.", "D.", 0.25)],
    ),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n",
        ["201\t1\t2\tWho?\tWho is it?\t1", "17\t3\t4\tWhat?\tWhy?\t0"],
        [("Who?", "Who is it?", 1), ("What?", "Why?", 0)],
    ),
    "qnli": (
        "index\tquestion\tsentence\tlabel\n",
        ["0\tWho?\tHe did.\tentailment", "1\tWhy?\tHe did.\tnot_entailment"],
        [("Who?", "He did.", 0), ("Why?", "He did.", 1)],
    ),
    "rte": (
        THREE,
        ["0\tA.\tB.\tnot_entailment", "1\tC.\tD.\tentailment"],
        [("A.", "B.", 1), ("C.", "D.", 0)],
    ),
    "wnli": (THREE, ["0\tA.\tB.\t0", "1\tC.\tD.\t1"], [("A.", "B.", 0), ("C.", "D.", 1)]),
}
FORMATS = [*LAYOUTS, "mnli"]


def config_of(format: str, **changes: Any) -> Any:
    task = {"format": format, "max_seq_length": 128, "max_bad_share": 0.0} | changes
    return check(TaskSection, {"task": task}, where="test").task


def read(folder: Path, format: str, role: Any = "dev", **changes: Any) -> Any:
    files = sorted(folder.iterdir())
    return task_module(format).read_examples(files, config_of(format, **changes), role=role)


def gold(*labels: float, part: str = "") -> list[SentenceExample]:
    prefix = f"{part}-" if part else ""
    return [SentenceExample(f"{prefix}{i}", "a", "b", y, part) for i, y in enumerate(labels)]


@pytest.mark.parametrize("format", list(LAYOUTS))
@pytest.mark.parametrize("role", ["train", "dev"])
def test_a_published_layout_is_read(tmp_path: Path, format: str, role: Any) -> None:
    header, rows, expected = LAYOUTS[format]
    (tmp_path / f"{role}.tsv").write_text(header + "\n".join(rows) + "\n")
    examples, counts = read(tmp_path, format, role)
    assert [(e.first, e.second, e.label) for e in examples] == expected
    assert [e.id for e in examples] == (["201", "17"] if format == "qqp" else ["0", "1"])
    assert (counts["rows"], counts["bad_rows"], counts["examples"]) == (2, 0, 2)
    names = task_module(format).labels(config_of(format))
    labels = {f"label_{name}": 1 for name in names if format != "stsb"}
    assert {k: v for k, v in counts.items() if k.startswith("label")} == labels


def write_mnli(folder: Path) -> None:
    """Three dev rows matched, two mismatched; the train file has fewer columns."""
    labels = "\t".join(f"label{i}" for i in range(1, 6))
    for name, golds in (
        ("dev_matched", ["neutral", "entailment", "contradiction"]),
        ("dev_mismatched", ["entailment", "entailment"]),
    ):
        rows = [MNLI_ROW.format(i, "\t".join([y] * 5), y) for i, y in enumerate(golds)]
        (folder / f"{name}.tsv").write_text(MNLI.format(labels=labels) + "".join(rows))
    row = MNLI_ROW.format(0, "neutral", "neutral")
    (folder / "train.tsv").write_text(MNLI.format(labels="label1") + row)


def test_mnli_is_trained_on_one_file_and_scored_on_two(tmp_path: Path) -> None:
    write_mnli(tmp_path)
    train, _ = read(tmp_path, "mnli", "train")
    assert train == [SentenceExample("0", "A 0 .", "B 0 .", 1)]
    dev, counts = read(tmp_path, "mnli")
    assert [e.id for e in dev] == [
        "matched-0", "matched-1", "matched-2", "mismatched-0", "mismatched-1",
    ]  # fmt: skip
    assert counts["label_entailment"] == 3
    task = task_module("mnli")
    predictions = {e.id: {"label": "entailment"} for e in dev}
    assert task.metrics(dev, predictions) == {
        "accuracy_matched": pytest.approx(100 / 3),
        "accuracy_mismatched": 100.0,
    }
    # The commonest label of both files together.
    assert task.baseline(dev) == task.metrics(dev, predictions)
    assert task.official_files(dev, predictions, config_of("mnli")) == {
        "MNLI-m.tsv": "index\tprediction\n0\tentailment\n1\tentailment\n2\tentailment\n",
        "MNLI-mm.tsv": "index\tprediction\n0\tentailment\n1\tentailment\n",
    }


def test_mnlis_dev_data_are_both_files(tmp_path: Path) -> None:
    write_mnli(tmp_path)
    (tmp_path / "dev_mismatched.tsv").unlink()
    with pytest.raises(TableError, match=r"has 0 files named 'dev_mismatched.tsv'"):
        read(tmp_path, "mnli")


def test_the_published_zip_file_is_read_as_its_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "RTE.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        header, rows, _ = LAYOUTS["rte"]
        archive.writestr("RTE/", "")
        archive.writestr("RTE/train.tsv", header + rows[0] + "\n")
        archive.writestr("RTE/dev.tsv", header + rows[1] + "\n")
        archive.writestr("RTE/original/raw/dev.tsv", "another")
    assert [e.first for e in read(tmp_path, "rte", "train")[0]] == ["A."]
    assert [e.first for e in read(tmp_path, "rte", "dev")[0]] == ["C."]


@pytest.mark.parametrize("format", FORMATS)
def test_every_task_keeps_to_the_interface(format: str) -> None:
    task, config = task_module(format), config_of(format)
    labels = task.labels(config)
    assert (task.HEAD == "value") is (format == "stsb")
    assert len(labels) == {"stsb": 1, "mnli": 3}.get(format, 2)
    parts = ["matched", "mismatched"] if format == "mnli" else [""]
    examples = [e for part in parts for e in gold(0, 1, 1, part=part)]
    assert task.HEADLINE in task.baseline(examples)
    made = task.make_features(examples, make_tokenizer(), config, training=True)
    assert [f.targets for f in made.features] == [(e.label,) for e in examples]
    outputs = np.eye(len(examples), len(labels), dtype=np.float32)
    predictions = task.decode(examples, made, outputs, config)
    TypeAdapter(dict[str, task.PREDICTION]).validate_python(predictions, strict=True)  # type: ignore[name-defined]
    assert task.metrics(examples, predictions).keys() == task.baseline(examples).keys()
    files = task.official_files(examples, predictions, config)
    assert all(text.startswith("index\tprediction\n0\t") for text in files.values())


def test_labels_are_decoded_with_their_probabilities() -> None:
    task, config = task_module("mnli"), config_of("mnli")
    examples = gold(0, 0, 0)
    made = task.make_features(examples, make_tokenizer(), config, training=False)
    outputs = np.log([[1, 2, 5], [1, 1, 1], [1, 1, 1]]).astype(np.float32)
    outputs[2] = [-3000, 3000, 0]
    found = task.decode(examples, made, outputs, config)
    assert [p["label"] for p in found.values()] == ["contradiction", "entailment", "neutral"]
    shares = list(found["0"]["probabilities"].values())
    assert list(found["0"]["probabilities"]) == ["entailment", "neutral", "contradiction"]
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8])
    assert found["2"]["probabilities"] == {"entailment": 0, "neutral": 1, "contradiction": 0}


def test_outputs_of_another_width_or_not_finite_are_refused() -> None:
    task, config = task_module("stsb"), config_of("stsb")
    made = task.make_features(gold(1, 2), make_tokenizer(), config, training=False)
    for outputs, message in [
        (np.zeros((2, 2), np.float32), r"shape \(2, 2\); expected \[2, 1\]"),
        (np.zeros((3, 1), np.float32), "3 outputs for 2 features"),
        (np.full((2, 1), np.nan, np.float32), "not all finite"),
    ]:
        with pytest.raises(FeatureError, match=message):
            task.decode(gold(1, 2), made, outputs, config)


def test_values_are_kept_in_predictions_and_clipped_to_the_scale_for_the_site() -> None:
    task, config = task_module("stsb"), config_of("stsb")
    examples = gold(0, 2.5, 5)
    made = task.make_features(examples, make_tokenizer(), config, training=False)
    outputs = np.array([[-0.5], [1.25], [5.5]], np.float32)
    found = task.decode(examples, made, outputs, config)
    assert [p["value"] for p in found.values()] == [-0.5, 1.25, 5.5]
    text = task.official_files(examples, found, config)["STS-B.tsv"]
    assert text == "index\tprediction\n0\t0.000\n1\t1.250\n2\t5.000\n"


def test_the_site_wants_the_labels_as_the_files_write_them() -> None:
    for format, expected in (("cola", "1"), ("wnli", "1"), ("rte", "not_entailment")):
        task = task_module(format)
        predictions = {"0": {"label": task.labels(config_of(format))[1]}}
        (text,) = task.official_files(gold(0), predictions, config_of(format)).values()
        assert text == f"index\tprediction\n0\t{expected}\n"


@pytest.mark.parametrize(
    ("format", "prediction"),
    [
        ("rte", {"label": "maybe", "probabilities": {"entailment": 0.5, "not_entailment": 0.5}}),
        ("rte", {"label": "entailment", "probabilities": {"entailment": 1.0}}),
        ("rte", {"label": "entailment", "probabilities": {"entailment": 1.5, "maybe": 0.0}}),
        ("rte", {"label": "entailment"}),
        ("stsb", {"value": float("nan")}),
        ("stsb", {"value": "3"}),
        ("stsb", {"value": 3.0, "label": "x"}),
    ],
)
def test_a_malformed_prediction_is_refused(format: str, prediction: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(task_module(format).PREDICTION).validate_python(prediction, strict=True)


def test_a_missing_prediction_counts_as_wrong() -> None:
    label = {"label": "acceptable"}
    scores = task_module("cola").metrics(gold(1, 1, 0, 0), {"0": label, "1": label})
    assert scores == {"matthews": 0.0}  # all called acceptable
    entailed = {"label": "entailment"}
    dev = gold(0, 0, part="matched") + gold(0, part="mismatched")
    scores = task_module("mnli").metrics(dev, {"matched-0": entailed, "mismatched-0": entailed})
    assert scores == {"accuracy_matched": 50.0, "accuracy_mismatched": 100.0}
    # The value at the far end of the scale: 5 for a 0, 0 for a 5.
    stsb = task_module("stsb").metrics(gold(0, 5), {})
    assert stsb == {"pearson": pytest.approx(-100), "spearman": pytest.approx(-100)}


def test_the_baseline_is_the_commonest_label_or_the_mean() -> None:
    # Of RTE's published dev data 146 of 277 are entailed.
    assert task_module("rte").baseline(gold(*[0] * 146, *[1] * 131)) == {
        "accuracy": pytest.approx(52.71, abs=0.005)
    }
    assert task_module("cola").baseline(gold(1, 1, 0)) == {"matthews": 0.0}
    assert task_module("stsb").baseline(gold(0, 1, 5)) == {"pearson": 0.0, "spearman": 0.0}
    # Equally many: the last label, so that F1 is not 0.
    assert task_module("qqp").baseline(gold(1, 0))["f1"] == pytest.approx(200 / 3)
