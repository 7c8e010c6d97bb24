import json
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from bert.checkpoints.tensor_file import write_tensors
from bert.config import check
from bert.convert.published import load_published
from bert.data.vocab import load_vocabulary
from bert.manifest import ROOT, read_manifest, sha256_file, write_json, write_manifest
from bert.model.config import ModelConfig
from bert.model.heads import task_network
from tests.conftest import MODEL
from tests.foreign_weights import TOKENS, vocabulary_folder

NONE = {"config": {}, "inputs": {}, "counts": {}, "outputs": []}
TASK = {"format": "mrpc", "layout": "glue", "max_seq_length": 24}
F1 = {1: 80.0, 2: 84.0, 3: 82.0}


@pytest.fixture
def run_folder(tmp_path):
    """A run with three fine-tuned networks and their scores."""
    vocabulary_folder(tmp_path / "vocab")
    vocabulary = load_vocabulary(tmp_path / "vocab").sha256
    write_json(tmp_path / "config/model.json", MODEL)
    write_json(tmp_path / "config/finetune.mrpc.task.json", {"task": TASK})
    model = check(ModelConfig, MODEL, where="test")
    for seed, f1 in F1.items():
        weights = tmp_path / f"finetune/mrpc/pretrained/seed-{seed}/model.safetensors"
        weights.parent.mkdir(parents=True)
        write_tensors(weights, task_network("sentence", model, TOKENS, 2).state_dict())
        facts = {"task": "mrpc", "start": "pretrained", "seed": seed}
        tuned = {"config": {"learning_rate": 2e-5}, "inputs": {"model.safetensors": "ab" * 32}}
        tuned["inputs"]["vocabulary"] = vocabulary
        more = {"weights": sha256_file(weights)}
        receipt, predictions = (
            weights.with_name(name) for name in ("manifest.json", "predictions.json")
        )
        predictions.write_text(f'{{"seed": {seed}}}')
        tuned["outputs"] = [predictions]
        write_manifest(receipt, stage="finetune", **(NONE | tuned), **facts, **more)
        scored = {"trial": f"seed-{seed}", "headline": "f1", "metrics": {"f1": f1}}
        path = tmp_path / f"score/mrpc/pretrained/seed-{seed}/metrics.json"
        scored["inputs"] = {"predictions": sha256_file(predictions)}
        write_manifest(path, stage="score", **(NONE | scored), **facts)
    return tmp_path


def publish(folder, pick):
    write_json(folder / "config/publish.json", {"pick": pick})
    command = [sys.executable, ROOT / "scripts/publish.py", "--config", "config/publish.json"]
    command += ["--task-config", "config/finetune.mrpc.task.json", "--model", "config/model.json"]
    command += ["--task", "mrpc", "--vocab", "vocab", "--output", "publish/mrpc", "--log", "log"]
    names = [f"mrpc/pretrained/seed-{seed}" for seed in F1]
    command += ["--scores", *(f"score/{name}/metrics.json" for name in names)]
    command += ["--weights", *(f"finetune/{name}/model.safetensors" for name in names)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_picked_run_becomes_a_folder_with_a_receipt_of_all_runs(run_folder):
    result, seed = publish(run_folder, "median"), 3

    assert result.returncode == 0, result.stderr
    weights = run_folder / f"finetune/mrpc/pretrained/seed-{seed}/model.safetensors"
    found = load_published(run_folder / "publish/mrpc/model").network.state_dict()
    name = "bert.encoder.layer.1.output.dense.weight"
    assert found[name].equal(load_file(weights)[name])
    manifest = read_manifest(run_folder / "publish/mrpc/manifest.json", stage="publish")
    assert manifest["picked"] == {
        "trial": f"seed-{seed}", "headline": "f1", "metrics": {"f1": F1[seed]}
    }  # fmt: skip
    assert manifest["scores"]["all"]["f1"]["median"] == 82.0
    assert manifest["scores"]["all"]["f1"]["sd"] == 2.0
    assert manifest["counts"]["runs"] == 3
    assert manifest["inputs"]["weights"] == sha256_file(weights)
    assert manifest["inputs"]["finetune/model.safetensors"] == "ab" * 32
    assert {"score/seed-1", "score/seed-2", "score/seed-3"} < manifest["inputs"].keys()
    card = (run_folder / "publish/mrpc/model/README.md").read_text()
    assert f"the weights of `seed-{seed}`" in card
    assert "pipeline_tag: text-classification" in card
    assert sha256_file(weights) in card
    assert str(run_folder) not in card + json.dumps(manifest)
