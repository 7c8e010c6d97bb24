"""This project's training step as a subject: the very one that `scripts/pretrain.py` runs."""

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from instances import FILES, masking_of
from subject import Subject

from bert.config import check
from bert.data.batches import StepBatch, read_steps
from bert.data.corpus import Corpus
from bert.devices.device import choose_device, describe_device
from bert.manifest import ROOT
from bert.model.config import ModelConfig
from bert.ranks.placement import place
from bert.ranks.ranks import Ranks
from bert.train.around import Folders, stand_around
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.guard import Guard
from bert.train.judge import judge, watch
from bert.train.metrics import StepResult
from bert.train.progress import Progress
from bert.train.setup import Learner, Setup, build
from bert.train.step import train_step
from bert.train.stop import StopSignal

_RATE = 1e-4
_STEPS = 1_000_000  # of the phase: more than the benchmark takes
_ADAMW = {
    "name": "adamw", "beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.01,
    "bias_correction": True, "max_grad_norm": 1.0,
}  # fmt: skip
_WARM_UP, _MEASURED = 10, 40  # steps of the loop around a step


def make(order: dict[str, Any]) -> Subject:
    """Builds model and optimizer as a phase of pretraining does.

    Args:
        order: See `worker.py`.
    """
    setup = make_setup(order)
    learner = build(setup)
    results: list[tuple[StepBatch, StepResult]] = []

    def step(batch: StepBatch) -> float:
        result = train_step(setup, learner, batch, _RATE)
        results[:] = [(batch, result)]
        if result.skipped:
            raise RuntimeError(f"step {batch.step} was skipped: {result}")
        return result.mlm_loss + result.nsp_loss

    return Subject(
        setup.device,
        describe_device(setup.device, setup.runtime),
        lambda batch: batch,
        step,
        lambda: {
            "loading_s": loading_s(setup, order["predictions"]),
            "logging_s": logging_s(setup, learner, *results[0]),
        },
    )


def make_setup(order: dict[str, Any]) -> Setup:
    """The recipe of config/config.yaml with the case's model, batch and optimizer."""
    recipe = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    changes = {name: order[name] for name in ("device", "precision", "kernels", "execution")}
    changes |= {"micro_batch_tokens": order["positions"]}
    runtime = check(RuntimeConfig, recipe["runtime"] | changes, where="the benchmark")
    device, alone = choose_device(runtime, 0), Ranks(0, 1, 0)
    place(runtime.launch, alone, device)
    model = recipe["model"] | {
        "hidden_size": order["hidden"],
        "num_attention_heads": order["heads"],
        "intermediate_size": order["intermediate"],
        "num_hidden_layers": order["layers"],
    }
    phase = recipe["pretrain"]["phase1"]
    optimizer = phase["optimizer"] if order["optimizer"] == "lamb" else _ADAMW
    phase |= {
        "start": "random", "steps": _STEPS, "batch": order["sequences"], "masking": None,
        "optimizer": optimizer,
    }  # fmt: skip
    corpus = Corpus([Path(order["folder"]) / FILES[order["padded"]]])
    return Setup(
        1,
        check(PhaseConfig, phase, where="the benchmark"),
        check(ModelConfig, model, where="the benchmark"),
        runtime, corpus, corpus, alone, device,
    )  # fmt: skip


def loading_s(setup: Setup, predictions: int) -> float:
    """Seconds to read and mask a step's batch, in one thread that has a core for itself.

    Masks are drawn anew, as a phase does. In training this runs beside the model, which waits for
    none of it as long as it takes less than a step.
    """
    reading = setup.reading()._replace(masking=masking_of(predictions))
    steps = read_steps(setup.train, range(1, 12), reading)
    next(steps)  # opens the shard
    times = []
    for _ in range(10):
        start = time.perf_counter()
        next(steps)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def logging_s(setup: Setup, learner: Learner, batch: StepBatch, result: StepResult) -> float:
    """Mean seconds of what the loop does after a step, metrics.jsonl and TensorBoard included."""
    with tempfile.TemporaryDirectory() as name:
        folders = Folders(Path(name) / "running", Path(name) / "output")
        progress = Progress(Guard(setup.config.guard))
        around = stand_around(setup, progress, folders, StopSignal(setup.runtime.stop))
        start = time.perf_counter()
        for step in itertools.count(1):
            if step == _WARM_UP + 1:
                start = time.perf_counter()
            around.watchdog.kick(step)
            progress.count(result, setup.config.batch)
            around.clock.tick(step, result, _RATE, around.metrics)
            judge(setup, learner, progress.guard, around, batch, result)
            if step % setup.config.log_every == 0:
                watch(around, step)
            if step == _WARM_UP + _MEASURED:
                break
        seconds = time.perf_counter() - start
        around.close()
    return seconds / _MEASURED
