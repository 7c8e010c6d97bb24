"""The script on real files of a task, as the workflow calls it."""

import json
import os
import subprocess
import sys

import pytest
import torch

from bert.checkpoints.checkpoint import list_steps, write_checkpoint
from bert.config import check
from bert.data.vocab import load_vocabulary, write_vocabulary
from bert.manifest import ROOT, code_digest, read_manifest, sha256_file, write_json, write_manifest
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.tasks import mrpc
from bert.tasks.config import TaskSection
from bert.tasks.feature_stage import pack_examples
from bert.tasks.features_file import write_features
from tests.conftest import MODEL, RUNTIME, overlay
from tests.finetuning import SECTION

TEXT = "a the cat dog bird sat ran flew on under over mat tree river"
WORDS = TEXT.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TASK = {"format": "mrpc", "layout": "glue", "max_seq_length": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the stages before have left: vocabulary, features, gold, a checkpoint, sections."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "vocab").mkdir()
    write_vocabulary(folder / "vocab", [*SPECIAL, *WORDS], lowercase=True)
    vocabulary = load_vocabulary(folder / "vocab")
    task = check(TaskSection, {"task": TASK}, where="a test").task
    for role, count in (("train", 60), ("dev", 12)):
        file = folder / f"{role}.tsv"
        file.write_text("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n" + _rows(count))
        examples, _ = mrpc.read_examples([file], task, role=role)
        packed = pack_examples(
            examples, folder / "vocab", task, training=role == "train", workers=1
        )
        write_features(folder / f"{role}.h5", packed, task, vocabulary.sha256)
    listed = [
        {"path": str(file), "sha256": sha256_file(file), "bytes": file.stat().st_size}
        for file in [folder / "dev.tsv"]
    ]
    write_manifest(
        folder / "gold.json", stage="fetch", config={}, inputs={}, counts={}, outputs=[],
        files=listed,
    )  # fmt: skip
    config = check(ModelConfig, MODEL, where="a test")
    network = BertForPretraining(config, vocabulary.size)
    initialize(network, 0.02, torch.Generator().manual_seed(3))
    state = {"vocabulary_sha256": vocabulary.sha256, "model": config.model_dump()}
    parts = {"model": network.state_dict(), "optimizer": {}}
    write_checkpoint(folder / "checkpoint", parts, state)
    sections = {"config": SECTION | {"epochs": 4}, "task": {"task": TASK}, "model": MODEL}
    for name, values in sections.items():
        write_json(folder / f"{name}.json", values)
    return folder


def _rows(count):
    pairs = [(i, " ".join(WORDS[i % 5 : i % 5 + 4]), WORDS[i % 14]) for i in range(count)]
    return "".join(f"{i % 2}\t{i}\t{i}\t{text} {i}\tthe {word}\n" for i, text, word in pairs)


def run(folder, name, *, runtime=None, pretrained=True):
    """The status of the script, started as the rule does."""
    write_json(folder / f"{name}.runtime.json", overlay(RUNTIME, runtime or {}))
    options = {
        "config": "config.json", "task-config": "task.json", "model": "model.json",
        "runtime": f"{name}.runtime.json", "train": "train.h5", "dev": "dev.h5",
        "gold": "gold.json", "vocab": "vocab", "output": name, "log": f"{name}.log",
    }  # fmt: skip
    command = ["-m", "bert.ranks.launch", "--section", str(folder / f"{name}.runtime.json")]
    command += ["--here", "finetune_processes", "--", "scripts/finetune.py"]
    command += [word for key, file in options.items() for word in (f"--{key}", str(folder / file))]
    command += ["--task", "mrpc", "--seed", "3"]
    command += ["--checkpoint", str(folder / "checkpoint")] if pretrained else []
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=variables, check=False)
    return done.returncode


def test_an_interrupted_run_writes_the_same_folder(folder):
    """Stopped by its steps, with the status that asks to be started again, then left to end."""
    runtime = {"stop": {"steps": 5}}
    assert run(folder, "whole") == 0
    assert run(folder, "seed-3", runtime=runtime) == 75
    assert not (folder / "seed-3").exists()
    (running,) = (folder / "seed-3.running").iterdir()
    assert list_steps(running) == [5]
    # What pretraining keeps of its checkpoints is no business of a fine-tuning run.
    assert run(folder, "seed-3", runtime={"checkpoint": {"keep_every": 4}}) == 0

    whole, parts = folder / "whole", folder / "seed-3"
    names = sorted(p.relative_to(whole).as_posix() for p in whole.rglob("*") if p.is_file())
    assert names == [
        "manifest.json", "metrics.jsonl", "model.safetensors", "official/MRPC.tsv",
        "predictions.json",
    ]  # fmt: skip
    for name in names:
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name
    assert not (folder / "seed-3.running").exists()
    _check_receipt(folder, parts)


def _check_receipt(folder, output):
    receipt = read_manifest(output / "manifest.json", stage="finetune")
    facts = {key: receipt[key] for key in ("task", "start", "seed", "best", "code")}

    assert facts == {
        "task": "mrpc", "start": "pretrained", "seed": 3, "best": None,
        "code": code_digest("finetune"),
    }  # fmt: skip
    assert receipt["config"]["learning_rate"] == SECTION["learning_rate"]
    assert {name: receipt["counts"][name] for name in ("examples", "features", "steps")} == {
        "examples": 60, "features": 60, "steps": 30,
    }  # fmt: skip
    assert receipt["counts"]["dev_examples"] == 12
    assert receipt["inputs"]["model.safetensors"] == sha256_file(
        folder / "checkpoint" / "model.safetensors"
    )
    assert receipt["inputs"]["vocabulary"] == load_vocabulary(folder / "vocab").sha256
    assert receipt["weights"] == sha256_file(output / "model.safetensors")
    predictions = json.loads((output / "predictions.json").read_text())
    assert len(predictions) == 12


@pytest.mark.slow
def test_two_ranks_from_random_weights_write_one_folder(folder):
    """The same number of samples and steps; dropout makes other weights."""
    assert run(folder, "two", runtime={"finetune_processes": 2}, pretrained=False) == 0

    receipt = read_manifest(folder / "two" / "manifest.json", stage="finetune")
    assert (receipt["start"], receipt["device"]["ranks"]) == ("random", 2)
    assert len(json.loads((folder / "two" / "predictions.json").read_text())) == 12
    assert len((folder / "two" / "metrics.jsonl").read_text().splitlines()) == 30
