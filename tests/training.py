"""Running a phase in a test: in this process, or on several ranks."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

from bert.checkpoints.checkpoint import checkpoint_digests, list_steps, step_folder
from bert.manifest import ROOT
from bert.train.around import Folders
from bert.train.metrics import exact_fields
from bert.train.pretrain import pretrain
from bert.train.setup import build


class Stop:
    """Asks to stop after so many steps."""

    def __init__(self, after=math.inf):
        self.after = after

    def asked(self, steps):
        return steps >= self.after


def run(setup, running, previous=None, stop=None):
    """Trains a phase; how far it came (None if it was stopped) and the network."""
    learner = build(setup)
    folders = Folders(running, running.parent / f"{running.name}-output", previous)
    return pretrain(setup, learner, folders, stop or Stop()), learner.network


def final_digests(running):
    """Digests of the newest checkpoint of a run."""
    return checkpoint_digests(step_folder(running, list_steps(running)[-1]))


def lines(running, kind=None):
    """Lines of metrics.jsonl, measurements left out, without those about the job."""
    text = (running / "metrics.jsonl").read_text().splitlines()
    found = [exact_fields(json.loads(line)) for line in text]
    return [line for line in found if line and kind in (None, line["kind"])]


def metrics(running, kind, key="loss"):
    """(step, value) of the lines of a kind."""
    return [(line["step"], line[key]) for line in lines(running, kind)]


RANK = """
import json, sys
from pathlib import Path
import torch
from bert.config import check
from bert.data.corpus import Corpus
from bert.model.config import ModelConfig
from bert.ranks.failing import failing
from bert.ranks.ranks import find_ranks, join, leave
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.setup import Setup
from tests import conftest
from tests.training import Stop, run

torch.set_num_threads(1)
order = json.loads(sys.argv[1])
ranks, cpu = find_ranks(), torch.device("cpu")
with failing(ranks):
    join(ranks, cpu, timeout_s=60)
    folder = Path(order["corpora"])
    corpora = [Corpus(sorted((folder / n).glob("*.h5"))) for n in ("train", "held_out")]
    setup = Setup(
        order["number"],
        check(PhaseConfig, conftest.overlay(conftest.PHASE, order["phase"]), where="a test"),
        check(ModelConfig, conftest.MODEL | order["model"], where="a test"),
        check(RuntimeConfig, conftest.overlay(conftest.RUNTIME, order["runtime"]), where="a test"),
        *corpora, ranks, cpu,
    )
    previous = order["previous"] and Path(order["previous"])
    run(setup, Path(order["running"]), previous, Stop(order["stop_after"] or float("inf")))
    leave(ranks)
"""


def run_ranks(
    world, running, corpora, *, phase=None, model=None, runtime=None, number=1, previous=None,
    stop_after=None,
):  # fmt: skip
    """Trains a phase as `run` does, in `world` processes."""
    order = {
        "corpora": str(Path(corpora[0].files[0]).parent.parent),
        "number": number,
        "phase": phase or {},
        "model": model or {},
        "runtime": runtime or {},
        "running": str(running),
        "previous": previous and str(previous),
        "stop_after": stop_after,
    }
    running.parent.mkdir(parents=True, exist_ok=True)
    script = running.parent / "rank.py"
    script.write_text(RANK)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
    command = [sys.executable, *(torchrun if world > 1 else []), str(script), json.dumps(order)]
    variables = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, env=variables, timeout=180, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
