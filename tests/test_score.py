import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bert.manifest import ROOT, read_manifest, sha256_file, write_manifest
from bert.tasks import mrpc, squad
from bert.tasks.predictions import PredictionError, coverage, read_predictions

SQUAD = {
    "format": "squad",
    "version": "1.1",
    "max_seq_length": 384,
    "doc_stride": 128,
    "max_query_length": 64,
    "n_best": 20,
    "max_answer_length": 30,
    "null_threshold": 0.0,
    "max_misaligned_share": 0.0,
}
MRPC = {"format": "mrpc", "layout": "glue", "max_seq_length": 128}
CONTEXT = "Ada Lovelace wrote the first program in 1843."


class Example(NamedTuple):
    id: str


def write_json(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values))
    return path


def write_dev(tmp_path: Path, *files: Path) -> Path:
    listed = [{"path": str(f), "sha256": sha256_file(f), "bytes": f.stat().st_size} for f in files]
    manifest = tmp_path / "dev.json"
    write_manifest(
        manifest, stage="fetch", config=[], inputs={}, counts={}, outputs=[], files=listed
    )
    return manifest


def score(
    tmp_path: Path, task: dict[str, Any], dev: Path, predictions: Any
) -> subprocess.CompletedProcess[str]:
    """Runs the script and exits with 3 if that has loaded torch."""
    arguments = {
        "config": write_json(tmp_path / "finetune.task.json", {"task": task}),
        "dev": dev,
        "predictions": write_json(tmp_path / "predictions.json", predictions),
        "output": tmp_path / "score" / "metrics.json",
        "task": "the_task",
        "start": "random",
        "trial": "rate-2e-05.seed-7",
        "log": tmp_path / "logs" / "score.log",
    }
    argv = ["score", *(str(x) for name, value in arguments.items() for x in (f"--{name}", value))]
    code = (
        f"import runpy, sys; sys.argv = {argv!r}; sys.path.insert(0, {str(ROOT)!r}); "
        "runpy.run_path('scripts/score.py', run_name='__main__'); "
        "sys.exit(3 if 'torch' in sys.modules else 0)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def answered(**texts: str) -> dict[str, Any]:
    """Predictions of SQuAD: question to a text, which is also its only answer."""
    logits = {"probability": 1.0, "start_logit": 0.5, "end_logit": 0.25}
    return {
        name: {"text": text, "n_best": [{"text": text} | logits], "null_odds": None}
        for name, text in texts.items()
    }


def squad_dev(tmp_path: Path) -> Path:
    answers = [{"text": "1843", "answer_start": 40}, {"text": "in 1843", "answer_start": 37}]
    questions = [{"id": f"q{i}", "question": "When?", "answers": answers} for i in range(4)]
    data = [{"title": "Ada", "paragraphs": [{"context": CONTEXT, "qas": questions}]}]
    file = write_json(tmp_path / "squad_dev.json", {"version": "1.1", "data": data})
    return write_dev(tmp_path, file)


def test_squad_is_scored_without_torch(tmp_path: Path) -> None:
    # "in" is half of "in 1843": F1 2/3; q2 is missing.
    predictions = answered(q0="1843!", q1="in", q3="Ada", q9="1843")
    dev = squad_dev(tmp_path)
    done = score(tmp_path, SQUAD, dev, predictions)
    assert done.returncode == 0, done.stderr
    found = read_manifest(tmp_path / "score" / "metrics.json", stage="score")
    assert found["metrics"] == {
        "exact_match": 25.0,
        "f1": pytest.approx(100 * (1 + 2 / 3) / 4),
    }
    # Each question answered with the paragraph: 7 words without the article, 2 of them gold.
    assert found["baseline"] == {
        "exact_match": 0.0,
        "f1": pytest.approx(100 * 2 * (2 / 7) / (2 / 7 + 1)),
    }
    assert (found["task"], found["start"], found["seed"]) == ("the_task", "random", 7)
    assert (found["trial"], found["headline"]) == ("rate-2e-05.seed-7", "f1")
    assert found["config"] == {"task": SQUAD}
    assert found["counts"]["questions"] == 4
    assert found["counts"]["missing_predictions"] == found["counts"]["unknown_predictions"] == 1
    assert found["inputs"] == {
        "dev/0/squad_dev.json": sha256_file(tmp_path / "squad_dev.json"),
        "predictions": sha256_file(tmp_path / "predictions.json"),
    }


def test_mrpc_is_scored_without_torch(tmp_path: Path) -> None:
    header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    rows = "1\t1\t2\ta\tb\n1\t3\t4\ta\tb\n0\t5\t6\ta\tb\n"
    (tmp_path / "dev.tsv").write_text(header + rows)
    predictions = {
        "1 2": {"label": 1, "probability": 0.9},
        "3 4": {"label": 0, "probability": 0.1},
        "5 6": {"label": 0, "probability": 0.2},
    }
    done = score(tmp_path, MRPC, write_dev(tmp_path, tmp_path / "dev.tsv"), predictions)
    assert done.returncode == 0, done.stderr
    found = read_manifest(tmp_path / "score" / "metrics.json", stage="score")
    assert found["metrics"] == {
        "accuracy": pytest.approx(200 / 3),
        "f1": pytest.approx(200 / 3),
    }
    assert found["baseline"] == {"accuracy": pytest.approx(200 / 3), "f1": pytest.approx(80.0)}


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    dev = squad_dev(tmp_path)
    outputs = []
    for _ in range(2):
        done = score(tmp_path, SQUAD, dev, answered(q0="1843"))
        assert done.returncode == 0, done.stderr
        outputs.append((tmp_path / "score" / "metrics.json").read_bytes())
    assert outputs[0] == outputs[1]


def test_predictions_of_other_data_write_no_score(tmp_path: Path) -> None:
    done = score(tmp_path, SQUAD, squad_dev(tmp_path), answered(other="1843"))
    assert done.returncode == 1
    assert "None of the 4 examples has a prediction (e.g. 'q0'; the 1 predictions" in done.stderr
    assert not (tmp_path / "score" / "metrics.json").exists()


def test_predictions_are_read_back_as_written(tmp_path: Path) -> None:
    answers = answered(q1="caf\u00e9", q2="")
    labels = {"1 2": {"label": 1, "probability": 0.1 + 0.2}}
    assert read_predictions(write_json(tmp_path / "a.json", answers), squad) == answers
    assert read_predictions(write_json(tmp_path / "b.json", labels), mrpc) == labels


@pytest.mark.parametrize(
    ("text", "task", "message"),
    [
        ('{"q1": "x"', squad, "the whole file: Invalid JSON"),
        ("[]", squad, "the whole file: Input should be an object"),
        ('{"q1": "x"}', squad, "'q1': Input should be an object"),
        ('{"q1": {"text": 3}}', squad, "'q1', 'text': .*valid string"),
        ('{"1 2": {"label": 2, "probability": 0.5}}', mrpc, "'1 2', 'label': .*0 or 1"),
        ('{"1 2": {"label": 1, "probability": 1.5}}', mrpc, "'1 2', 'probability': .*equal to 1"),
        ('{"1 2": {"label": 1}}', mrpc, "'1 2', 'probability': Field required"),
    ],
)
def test_malformed_predictions_are_refused(
    tmp_path: Path, text: str, task: Any, message: str
) -> None:
    file = tmp_path / "predictions.json"
    file.write_text(text)
    with pytest.raises(PredictionError, match=message):
        read_predictions(file, task)


def test_missing_and_unknown_predictions_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    gold = [Example("a"), Example("b"), Example("c")]
    with caplog.at_level(logging.WARNING):
        counts = coverage(gold, {"a": "x", "z": "x"})
    assert counts == {"missing_predictions": 2, "unknown_predictions": 1}
    assert "1 predictions are of no example" in caplog.text
    assert coverage(gold, {"a": 0, "b": 0, "c": 0}) == {
        "missing_predictions": 0,
        "unknown_predictions": 0,
    }


def test_predictions_of_no_example_at_all_are_refused() -> None:
    with pytest.raises(PredictionError, match="None of the 1 examples has a prediction"):
        coverage([Example("a")], {"b": "x"})
