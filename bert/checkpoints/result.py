"""What a phase hands on: the last weights, those of the best evaluation, or a mean of weights.

`best` needs no file of its own: each evaluation is followed by a running checkpoint whose state
says the held-out loss, and the one with the lowest is not deleted. `average` keeps the weights,
without moments, of every step that it may need in `average/step-<step>.safetensors`, each written
before the running checkpoint of its step and of later ones. So whatever checkpoint a run goes on
from, the weights before it are there, and those after it are made again with the same bytes.
"""

import logging
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from bert.checkpoints.checkpoint import (
    CheckpointError,
    list_steps,
    load_checkpoint,
    read_state,
    step_folder,
    write_checkpoint,
)
from bert.checkpoints.config import ResultConfig
from bert.checkpoints.tensor_file import TensorFileError, read_tensors, write_tensors
from bert.manifest import atomic_directory, atomic_file

logger = logging.getLogger(__name__)

# Key of a checkpoint's state: the held-out loss of an evaluation at its step, or null.
HELD_OUT_LOSS = "held_out_loss"


def held_out_loss(metrics: Mapping[str, float | None]) -> float | None:
    """Loss by which evaluations are compared: of tokens, and of pairs if the model has that head.

    Args:
        metrics: With `mlm_loss` and, maybe null, `nsp_loss`.

    Returns:
        Their sum, or None if it is not finite.
    """
    losses = [metrics["mlm_loss"], metrics.get("nsp_loss")]
    total = math.fsum(loss for loss in losses if loss is not None)
    return total if math.isfinite(total) else None


def best_step(running: Path) -> int | None:
    """Step of the running checkpoint with the lowest held-out loss, the earliest of equal ones."""
    losses = {
        step: loss
        for step in list_steps(running)
        if (loss := read_state(step_folder(running, step)).get(HELD_OUT_LOSS)) is not None
    }
    return min(losses, key=lambda step: (losses[step], step), default=None)


def takes_snapshot(step: int, config: ResultConfig) -> bool:
    """Whether the weights of this step may become part of an average."""
    return config.average_every is not None and step % config.average_every == 0


def averaged_steps(last: int, config: ResultConfig) -> list[int]:
    """The last step and the multiples of `average_every` before it, `average_last` in all.

    A phase may end early, so its last step is not known before; step 0 is never among them.
    """
    assert config.average_last is not None
    assert config.average_every is not None
    newest = (last - 1) // config.average_every * config.average_every
    before = range(newest, 0, -config.average_every)[: config.average_last - 1]
    return [*reversed(before), last]


def write_snapshot(running: Path, step: int, weights: Mapping[str, Tensor]) -> None:
    """Keeps the weights of a step for the average."""
    with atomic_file(_snapshot(running, step)) as temporary:
        write_tensors(temporary, weights)


def prune_snapshots(running: Path, config: ResultConfig) -> None:
    """Deletes the weights that no average needs, even if the run ends at its newest checkpoint."""
    steps = list_steps(running)
    if config.weights != "average" or not steps:
        return
    oldest = averaged_steps(steps[-1], config)[0]
    for path in _snapshot(running, 0).parent.glob("step-*"):
        if int(re.sub(r"\D", "", path.stem)) < oldest:
            path.unlink()


def delete_snapshot_leftovers(running: Path) -> None:
    """Deletes what a killed process had not finished to write."""
    for path in _snapshot(running, 0).parent.glob(".step-*"):
        path.unlink()


def hand_on(running: Path, last: int, output: Path, config: ResultConfig) -> list[int]:
    """Writes the checkpoint with which a phase ends.

    Args:
        running: Folder of the running checkpoints; nothing in it is changed.
        last: The last step, whose running checkpoint is whole.
        output: The folder to be made.
        config: Section `pretrain.<phase>.result`.

    Returns:
        The steps whose weights it is made of. `average` takes all else from the last step.

    Raises:
        CheckpointError: A checkpoint, or weights for the average, are missing or damaged.
    """
    if config.weights == "average":
        steps = averaged_steps(last, config)
        _write_average(running, steps, output)
        return steps
    step = best_step(running) if config.weights == "best" else last
    if step is None:
        raise CheckpointError(
            f"{running} has no checkpoint with a held-out loss, so none is the best; evaluate at "
            "least once, or set result.weights to last."
        )
    with atomic_directory(output) as temporary:
        shutil.copytree(step_folder(running, step), temporary, dirs_exist_ok=True)
    return [step]


def _write_average(running: Path, steps: list[int], output: Path) -> None:
    """The mean of the steps' weights, in double precision, with the moments of the last one."""
    last = load_checkpoint(step_folder(running, steps[-1]))
    sums = {name: weight.double() for name, weight in last.model.items()}
    for step in steps[:-1]:
        for name, weight in _read_snapshot(running, step).items():
            sums[name] += weight
    mean = {name: (total / len(steps)).to(last.model[name].dtype) for name, total in sums.items()}
    parts = {
        "model": mean, "optimizer": last.optimizer, "preconditioner": last.preconditioner
    }  # fmt: skip
    state = last.state | {"averaged_steps": steps, HELD_OUT_LOSS: None}
    write_checkpoint(output, parts, state)


def _read_snapshot(running: Path, step: int) -> dict[str, Tensor]:
    path = _snapshot(running, step)
    try:
        return read_tensors(path, None)
    except (FileNotFoundError, TensorFileError) as error:
        raise CheckpointError(
            f"The average needs the weights of step {step}, and {path} cannot be read ({error}). "
            f"Delete the running checkpoints after step {step - 1} and run `pretrain` again."
        ) from None


def _snapshot(running: Path, step: int) -> Path:
    return running / "average" / f"step-{step:08d}.safetensors"
