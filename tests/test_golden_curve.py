"""A hundred steps whose losses are written down: a change of the numbers must be meant.

The arithmetic is held to what every x86 CPU has, so that the curve does not depend on the machine.
A change that is meant: `python -m tests.test_golden_curve > tests/data/golden_curve.json`.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch

from bert.checkpoints.checkpoint import list_steps, load_checkpoint, step_folder
from bert.config import check
from bert.manifest import ROOT
from bert.model.config import ModelConfig
from bert.ranks.ranks import Ranks
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.setup import Setup
from tests import conftest
from tests.training import lines, run

GOLDEN = ROOT / "tests" / "data" / "golden_curve.json"
PLAIN_ARITHMETIC = {
    "ATEN_CPU_CAPABILITY": "default",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "MKL_CBWR": "COMPATIBLE",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
}
PHASE = {"steps": 100, "batch": 24, "log_every": 1, "evaluation": {"every": 50}}
MICRO_BATCHES = {"micro_batch_tokens": 200, "checkpoint": {"every_steps": 100}}


def train(folder):
    """The curve: losses and gradient norms of all steps, and what was seen."""
    corpora = [
        conftest.write_counting_corpus(folder / name, counts, seed)
        for name, counts, seed in (("train", [30, 40, 20], 0), ("held_out", [40], 1))
    ]
    setup = Setup(
        1,
        check(PhaseConfig, conftest.overlay(conftest.PHASE, PHASE), where="a test"),
        check(ModelConfig, conftest.MODEL, where="a test"),
        check(RuntimeConfig, conftest.overlay(conftest.RUNTIME, MICRO_BATCHES), where="a test"),
        *corpora,
        Ranks(0, 1, 0),
        torch.device("cpu"),
    )
    run(setup, folder / "run")
    state = load_checkpoint(step_folder(folder / "run", list_steps(folder / "run")[-1])).state
    return {
        "torch": torch.__version__.split("+")[0],
        "samples_digest": state["samples_digest"],
        "loss": [line["loss"] for line in lines(folder / "run", "train")],
        "gradient_norm": [line["gradient_norm"] for line in lines(folder / "run", "train")],
        "held_out_mlm_loss": [line["mlm_loss"] for line in lines(folder / "run", "evaluate")],
    }


def test_a_hundred_steps_give_the_losses_that_are_written_down():
    """To the last of seven digits with the pinned torch; another one may round otherwise."""
    golden = json.loads(GOLDEN.read_text())

    done = subprocess.run(
        [sys.executable, "-m", "tests.test_golden_curve"], env=os.environ | PLAIN_ARITHMETIC,
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    curve = json.loads(done.stdout)

    assert curve["samples_digest"] == golden["samples_digest"]
    if curve["torch"] == golden["torch"]:
        assert curve == golden
    else:
        for name in ("loss", "gradient_norm", "held_out_mlm_loss"):
            assert curve[name] == pytest.approx(golden[name], rel=1e-3), name
    assert golden["loss"][-1] < golden["loss"][0]


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in PLAIN_ARITHMETIC.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.test_golden_curve"],
            os.environ | PLAIN_ARITHMETIC,
        )
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        sys.stdout.write(json.dumps(train(Path(scratch)), indent=1) + "\n")
