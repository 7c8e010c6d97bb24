"""A writer and what it writes."""

import torch

from bert.checkpoints.checkpoint import (
    list_steps,
    load_checkpoint,
    step_folder,
)
from bert.checkpoints.config import CheckpointConfig, ResultConfig
from bert.checkpoints.result import takes_snapshot
from bert.checkpoints.writer import CheckpointWriter

LAST = ResultConfig(weights="last", average_last=None, average_every=None)
BEST = ResultConfig(weights="best", average_last=None, average_every=None)
AVERAGE = ResultConfig(weights="average", average_last=3, average_every=2)
MB = 1 << 20


def config(asynchronous=True, keep_last=2, every_steps=3):
    return CheckpointConfig(
        every_steps=every_steps, every_samples=None, from_samples=0, keep_last=keep_last,
        keep_every=None, asynchronous=asynchronous,
    )  # fmt: skip


def writer_of(running, result=LAST, **changes):
    return CheckpointWriter(running, config(**changes), result, active=True)


def made(value, size=1000):
    """Tensors of several types and forms; `size` fp32 numbers in each of the large ones."""
    return {
        "model": {"w": torch.full((size,), float(value)), "n": torch.tensor(value)},
        "optimizer": {"exp_avg:w": torch.full((size // 10, 10), value + 0.5).t()},
        "preconditioner": {"a:w": torch.full((size,), value, dtype=torch.bfloat16)},
    }


def value_of(folder):
    """The one value of a checkpoint that `made` made; all of its numbers are looked at."""
    loaded = load_checkpoint(folder)
    (value,) = loaded.model["w"].unique().tolist()
    assert loaded.model["n"].item() == value
    assert loaded.optimizer["exp_avg:w"].unique().tolist() == [value + 0.5]
    return value


def toy_run(running, steps, result, *, asynchronous=True, size=30_000, before=lambda step: None):
    """Trains from the newest checkpoint to `steps`; returns the step it ended at."""
    writer = writer_of(running, result, asynchronous=asynchronous)
    weight, moment = torch.ones(size), torch.zeros(size)
    done = list_steps(running)
    if done:
        loaded = load_checkpoint(step_folder(running, done[-1]))
        weight, moment = loaded.model["w"], loaded.optimizer["exp_avg:w"]
    step = done[-1] if done else 0
    while step < steps:
        step += 1
        before(step)
        moment.mul_(0.9).add_(weight, alpha=0.1)
        weight.add_(moment.sin(), alpha=0.01 * step)
        best = result.weights == "best" and step % 2 == 0
        loss = step * 7 % 11 / 10 if best else None  # lowest at step 22
        whole = step % 3 == 0 or best or step == steps
        snapshot = takes_snapshot(step, result)
        if whole or snapshot:
            parts = {"model": {"w": weight}, "optimizer": {"exp_avg:w": moment}}
            state = {"step": step, "held_out_loss": loss} if whole else None
            writer.save(step, parts, state, snapshot=snapshot, must=step == steps)
    writer.close()
    return step
