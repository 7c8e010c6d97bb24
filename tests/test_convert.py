import json
import subprocess
import sys
import zipfile

import pytest
import torch

from bert.checkpoints.checkpoint import load_checkpoint
from bert.checkpoints.tensor_file import read_tensors, write_tensors
from bert.manifest import ROOT, read_manifest, sha256_file, write_json, write_manifest
from tests.foreign_weights import (
    SECTION,
    assert_same,
    identity,
    network,
    vocabulary_folder,
)


@pytest.fixture
def run_folder(tmp_path):
    """A run whose fetched item is a .pt file of a training, and its vocabulary."""
    vocabulary_folder(tmp_path / "vocab")
    content = {"model": network().state_dict(), "optimizer": {"state": {0: torch.zeros(2)}}}
    torch.save(content, tmp_path / "ckpt_5.pt")
    (tmp_path / "notes.txt").write_text("a note")
    fetched(tmp_path, tmp_path / "ckpt_5.pt", tmp_path / "notes.txt")
    write_json(tmp_path / "config/model.json", SECTION | {"num_hidden_layers": 7})
    return tmp_path


def fetched(folder, *raw):
    write_manifest(
        folder / "fetch/weights.json",
        stage="fetch",
        config={},
        inputs={},
        counts={},
        outputs=[],
        files=[{"path": str(file), "bytes": file.stat().st_size} for file in raw],
    )


def convert(folder, before):
    write_json(folder / "config/convert.json", {"raw": "weights", "before": before})
    command = [sys.executable, ROOT / "scripts/convert.py", "--config", "config/convert.json"]
    command += ["--model", "config/model.json", "--raw", "fetch/weights.json", "--vocab", "vocab"]
    command += ["--output", "convert", "--log", "convert.log"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_weights_become_a_checkpoint_a_section_and_a_receipt_of_every_tensor(run_folder):
    result = convert(run_folder, "phase1")

    assert result.returncode == 0, result.stderr
    assert "num_hidden_layers: files 2, section 7, taken 2" in result.stderr
    assert "no file says the number of attention heads" in result.stderr
    checkpoint = load_checkpoint(run_folder / "convert/checkpoint")
    assert_same(checkpoint.model, network().state_dict())
    assert not checkpoint.optimizer
    for key, value in identity(run_folder / "vocab").items():
        assert key == "step" or checkpoint.state[key] == value
    assert json.loads((run_folder / "convert/model.json").read_text()) == SECTION
    manifest = read_manifest(run_folder / "convert/manifest.json", stage="convert")
    count = len(network().state_dict())
    assert manifest["counts"]["used"] == count
    assert manifest["counts"]["skipped"] == 1
    assert manifest["counts"]["tensors"] == count + 1
    assert manifest["used"] == {name: name for name in network().state_dict()}
    assert manifest["skipped"] == {"optimizer.state.0": "state of the training besides the weights"}
    assert manifest["inputs"]["raw/ckpt_5.pt"] == sha256_file(run_folder / "ckpt_5.pt")
    assert manifest["other_files"] == ["notes.txt"]
    assert str(run_folder) not in json.dumps(manifest)


def test_an_archive_of_the_files_gives_the_same_checkpoint_and_is_in_the_receipt(run_folder):
    archive = run_folder / "weights.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for name in ("ckpt_5.pt", "notes.txt", ".hidden"):
            packed.write(run_folder / "ckpt_5.pt", f"weights/{name}")
    fetched(run_folder, archive)

    result = convert(run_folder, "phase1")

    assert result.returncode == 0, result.stderr
    assert_same(load_checkpoint(run_folder / "convert/checkpoint").model, network().state_dict())
    manifest = read_manifest(run_folder / "convert/manifest.json", stage="convert")
    assert manifest["inputs"]["raw/weights.zip"] == sha256_file(archive)
    member = manifest["inputs"]["raw/weights.zip/weights/ckpt_5.pt"]
    assert member == sha256_file(run_folder / "ckpt_5.pt")
    assert manifest["other_files"] == ["notes.txt", "weights/.hidden"]
    assert str(run_folder) not in json.dumps(manifest)
    assert not list(run_folder.glob(".*"))


def test_a_file_of_no_tensors_is_read_back(tmp_path):
    receipt = write_tensors(tmp_path / "none.safetensors", {})

    assert read_tensors(tmp_path / "none.safetensors", receipt) == {}
