"""Fine-tuning in a test: toy tasks for all heads, in this process or in others."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import torch

from bert.checkpoints.tensor_file import write_tensors
from bert.config import check
from bert.manifest import ROOT, write_json
from bert.model.config import ModelConfig
from bert.ranks.ranks import ALONE
from bert.tasks.features import IGNORED, Feature, FeatureSet
from bert.train.config import RuntimeConfig
from bert.train.dev_set import DevSet
from bert.train.feature_outputs import predict
from bert.train.finetune import finetune
from bert.train.finetune_config import FinetuneConfig
from bert.train.finetune_setup import Tuning, build_learner, build_model
from tests.conftest import ADAMW, MODEL, RUNTIME, VOCAB, overlay
from tests.training import Stop

HEADS = ("span", "sentence", "value", "token")
LABELS = {"span": 2, "sentence": 2, "value": 1, "token": 2}
SECTION = {
    "epochs": 3,
    "steps": None,
    "batch": 8,
    "learning_rate": 3e-3,
    "layer_decay": 1.0,
    "early_stopping": None,
    "schedule": {
        "name": "linear",
        "warmup_proportion": 0.1,
        "warmup_steps": None,
        "warmup_start": 0,
        "degree": None,
        "end_factor": 0.0,
        "steps_before": 0,
        "total_steps": None,
    },
    "optimizer": ADAMW,
}
CONFIG = check(ModelConfig, MODEL, where="a test")
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
WITHOUT_DROPOUT = check(ModelConfig, MODEL | NO_DROPOUT, where="a test")


def tuning(head="sentence", seed=1, runtime=None, **changes):
    return Tuning(
        check(FinetuneConfig, SECTION | changes, where="a test"),
        check(RuntimeConfig, overlay(RUNTIME, runtime or {}), where="a test"),
        seed,
        torch.device("cpu"),
        head,
    )


def make_features(count, head, seed=0):
    """Sentences of random tokens, and a token 9 in some: whether, how often, or where it stands."""
    rng = np.random.default_rng(seed)
    features = []
    for example in range(count):
        ids = rng.integers(10, VOCAB, rng.integers(8, 20))
        ids[0], ids[5], ids[-1] = 2, 3, 3
        place = int(rng.integers(6, len(ids) - 1))
        label = 1 if head == "span" else int(rng.integers(2))
        if label:
            ids[place] = 9
        of_tokens = [IGNORED if token < 9 else int(token == 9) for token in ids.tolist()]
        targets = {
            "span": (place, place), "sentence": (label,), "value": (float(label),),
            "token": tuple(of_tokens),
        }[head]  # fmt: skip
        features.append(Feature(ids, 6, targets, example))
    return features


def answers(head, outputs):
    """What raw outputs say, one a feature."""
    if head == "span":
        return [int(rows[:, 0].argmax()) for rows in outputs]
    if head == "token":
        return [rows.argmax(1).tolist() for rows in outputs]
    return outputs.argmax(1).tolist() if head == "sentence" else outputs[:, 0].round().tolist()


class ToyTask:
    """A task whose examples are its features; its scores may be given by hand."""

    HEADLINE = "accuracy"

    def __init__(self, head, scores=None):
        self.head, self.scores = head, None if scores is None else iter(scores)

    def decode(self, examples, feature_set, outputs, config):
        return {str(i): answer for i, answer in enumerate(answers(self.head, outputs))}

    def metrics(self, gold, predictions):
        if self.scores is not None:
            return {"accuracy": next(self.scores)}
        right = [self._is_right(f, predictions[str(i)]) for i, f in enumerate(gold)]
        return {"accuracy": 100 * float(np.mean(right))}

    def _is_right(self, feature: Feature, answer: Any) -> bool:
        if self.head != "token":
            return bool(answer == feature.targets[0])
        return all(
            found == target
            for found, target in zip(answer, feature.targets, strict=True)
            if target != IGNORED
        )


def dev_set(head, scores=None, count=40):
    features = make_features(count, head, seed=1)
    return DevSet(ToyTask(head, scores), None, features, FeatureSet(features, [], {}))


def make_learner(setting, config=CONFIG):
    model = build_model(LABELS[setting.head], config, VOCAB, setting, None)
    return build_learner(model, setting)


def train(setting, running, *, count=64, dev=None, stop=None, config=CONFIG):
    """The position at the end (None if stopped), and the network."""
    learner = make_learner(setting, config)
    features, dev = make_features(count, setting.head), dev or dev_set(setting.head)
    ended = finetune(learner, features, dev, setting, running, stop or Stop(), "test")
    return ended, learner.network


def outputs_of(network, features, setting):
    return predict(
        network, features, setting.head, setting.runtime, setting.runtime.micro_batch_tokens,
        setting.device, setting.ranks,
    )  # fmt: skip


def lines(running, kind="train"):
    text = (running / "metrics.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, text) if line["kind"] == kind]


def losses(running):
    return [line["loss"] for line in lines(running)]


PROCESS = """
import json, os, signal, sys
from pathlib import Path
import torch
from bert.ranks.failing import failing
from bert.ranks.ranks import find_ranks, join, leave
from tests import finetuning
from tests.training import Stop

class Killed(Stop):
    def asked(self, steps):
        if super().asked(steps):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

torch.set_num_threads(1)
order, ranks = json.loads(sys.argv[1]), find_ranks()
with failing(ranks):
    join(ranks, torch.device("cpu"), timeout_s=60)
    stop = Killed(order["kill_after"] or float("inf"))
    for head in order["heads"]:
        finetuning.train_and_write(Path(order["out"]) / head, head, order, stop, ranks)
    leave(ranks)
"""


def train_and_write(out, head, order, stop, ranks=ALONE):
    """Trains in `out`/running, and writes what there is at the end; `order` as of `run_process`."""
    setting = tuning(head, **order["changes"])._replace(ranks=ranks)
    config = WITHOUT_DROPOUT if order["no_dropout"] else CONFIG
    dev = dev_set(head, count=order["dev"].get(head, 40))
    ended, network = train(
        setting, out / "running", count=order["count"], dev=dev, stop=stop, config=config
    )
    predictions = dev.predictions(network, setting)
    if ranks.rank == 0:
        write_json(out / "predictions.json", predictions)
        write_json(out / "ended.json", ended)
        write_tensors(out / "model.safetensors", network.state_dict())


def make_order(kill_after=None, no_dropout=False, count=64, dev=None, **changes):
    """What a process is told; `dev`: head to number of dev features, 40 without."""
    return {
        "kill_after": kill_after, "no_dropout": no_dropout, "count": count, "dev": dev or {},
        "changes": changes,
    }  # fmt: skip


def run_process(out, heads, order, *, world=1):
    """Does `train_and_write` for each head in `world` processes; the status of the first."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "process.py").write_text(PROCESS)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
    command = [sys.executable, *(torchrun if world > 1 else []), str(out / "process.py")]
    command += [json.dumps(order | {"out": str(out), "heads": heads})]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=variables, timeout=180, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, -9), done.stderr[-3000:]
    return done.returncode
