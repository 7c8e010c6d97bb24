import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bert.checkpoints.checkpoint import optimizer_tensors, write_checkpoint
from bert.config import check
from bert.data.vocab import load_vocabulary, write_vocabulary
from bert.manifest import read_manifest, sha256_file, write_json
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.optim.config import AdamWConfig
from bert.optim.groups import make_optimizer
from tests.conftest import ADAMW, MODEL

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).parent.parent
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s"]


@pytest.fixture
def run_folder(tmp_path):
    """A run with a model section, a vocabulary and a final checkpoint."""
    write_json(tmp_path / "config/model.json", MODEL)
    (tmp_path / "vocab").mkdir()
    write_vocabulary(tmp_path / "vocab", TOKENS, lowercase=True)
    model = BertForPretraining(check(ModelConfig, MODEL, where="test"), len(TOKENS))
    initialize(model, 0.02, torch.Generator().manual_seed(1))
    optimizer = make_optimizer(model.named_parameters(), check(AdamWConfig, ADAMW, where="test"))
    digest = load_vocabulary(tmp_path / "vocab").sha256
    state = {"model": MODEL, "vocabulary_sha256": digest, "step": 1}
    parts = {"model": model.state_dict(), "optimizer": optimizer_tensors(model, optimizer)}
    write_checkpoint(tmp_path / "pretrain/phase1/checkpoint", parts, state)
    return tmp_path


def export(folder):
    command = [sys.executable, ROOT / "scripts/export.py", "--config", "config/model.json"]
    command += ["--checkpoint", "pretrain/phase1/checkpoint", "--vocab", "vocab"]
    command += ["--output", "export", "--log", "export.log"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_run_becomes_a_folder_with_a_receipt(run_folder):
    result = export(run_folder)
    assert result.returncode == 0, result.stderr
    manifest = read_manifest(run_folder / "export/manifest.json", stage="export")
    checkpoint = run_folder / "pretrain/phase1/checkpoint/model.safetensors"
    weights = load_file(checkpoint)
    assert manifest["inputs"]["model.safetensors"] == sha256_file(checkpoint)
    assert manifest["inputs"]["vocabulary"] == sha256_file(run_folder / "vocab/vocab.txt")
    assert manifest["counts"] == {
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "tensors": len(weights),
    }
    model, info = transformers.BertForPreTraining.from_pretrained(
        run_folder / "export/model", output_loading_info=True
    )
    assert not any(info.values())
    name = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(model.state_dict()[name], weights[name])
    card = (run_folder / "export/model/README.md").read_text("utf-8")
    assert sha256_file(checkpoint) in card
    assert str(run_folder) not in card + json.dumps(manifest)


def test_another_vocabulary_or_model_section_is_refused_and_nothing_is_written(run_folder):
    write_vocabulary(run_folder / "vocab", [*TOKENS[:-1], "dog"], lowercase=True)
    write_json(run_folder / "config/model.json", MODEL | {"hidden_act": "relu"})
    result = export(run_folder)
    assert result.returncode == 1
    assert "model is {" in result.stderr
    assert "vocabulary_sha256 is" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (run_folder / "export").exists()
