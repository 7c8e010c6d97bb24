"""How far a fine-tuning run is, and its running checkpoints.

They are those of pretraining (`bert.checkpoints`), every `runtime.finetune_checkpoint_steps`: a run
that is killed goes on from the newest one and ends with the same bits. Sample order and dropout are
functions of the step, so weights, moments, loss scale and the scores so far are all there is. A
best score has a checkpoint of its own, which stays until a better one has its own.
"""

import logging
from pathlib import Path
from typing import NamedTuple

from bert.checkpoints.checkpoint import list_steps, load_checkpoint, load_weights, step_folder
from bert.checkpoints.config import CheckpointConfig, ResultConfig
from bert.checkpoints.result import HELD_OUT_LOSS
from bert.checkpoints.writer import CheckpointWriter
from bert.train.config import RuntimeConfig
from bert.train.early_stopping import Standing
from bert.train.finetune_setup import Learner, Tuning
from bert.train.metrics import MetricsFile

logger = logging.getLogger(__name__)

# Of the running checkpoints, the one with the lowest "loss" stays: minus the best score.
_BEST_STAYS = ResultConfig(weights="best", average_last=None, average_every=None)


class Position(NamedTuple):
    """Between two steps."""

    step: int = 0
    standing: Standing = Standing()


class Records(NamedTuple):
    """What a run writes while it trains, in a folder that belongs to its identity."""

    running: Path
    metrics: MetricsFile
    writer: CheckpointWriter


def open_records(running: Path, position: Position, tuning: Tuning) -> Records:
    """Opens the files behind the steps already taken; only rank 0 writes."""
    active = tuning.ranks.rank == 0
    return Records(
        running,
        MetricsFile(running / "metrics.jsonl", position.step, active),
        CheckpointWriter(running, _cadence(tuning.runtime), _BEST_STAYS, active=active),
    )


def resume(learner: Learner, running: Path) -> Position:
    """Goes on from the newest running checkpoint, if there is one.

    Raises:
        CheckpointError: It is damaged.
    """
    steps = list_steps(running)
    if not steps:
        return Position()
    folder = step_folder(running, steps[-1])
    loaded = load_checkpoint(folder)
    load_weights(learner.network, loaded.model, folder)
    if loaded.optimizer:
        learner.optimizer.load(learner.network, loaded.optimizer, folder)
    for group in learner.optimizer.param_groups:
        group["step"] = loaded.state["optimizer_step"]
    if learner.loss_scale is not None and loaded.state["loss_scale"] is not None:
        learner.loss_scale.load(loaded.state["loss_scale"])
    logger.info("going on from %s", folder)
    return Position(loaded.state["step"], Standing(**loaded.state["standing"]))


def save(
    learner: Learner, position: Position, records: Records, tuning: Tuning, *, must: bool
) -> None:
    """Writes a running checkpoint; with `must` it is on the disk afterwards, on all ranks.

    Raises:
        OSError: With `must`: no room, or no right to write.
    """
    step, standing = position
    is_best = standing.score is not None and standing.step == step
    state = {
        "step": step,
        "standing": standing._asdict(),
        "optimizer_step": learner.optimizer.param_groups[0]["step"],
        "loss_scale": None if learner.loss_scale is None else learner.loss_scale.state(),
        HELD_OUT_LOSS: -standing.score if standing.score is not None and is_best else None,
    }
    parts = {
        "model": learner.network.state_dict(),
        "optimizer": learner.optimizer.tensors(learner.network),
    }
    records.metrics.sync()
    records.writer.save(step, parts, state, must=must)
    if must:
        tuning.ranks.barrier()


def save_due(step: int, runtime: RuntimeConfig) -> bool:
    """Whether a running checkpoint follows a step."""
    return step % runtime.finetune_checkpoint_steps == 0


def _cadence(runtime: RuntimeConfig) -> CheckpointConfig:
    """How many running checkpoints stay: the newest one is all that a run of minutes needs."""
    return runtime.checkpoint.model_copy(
        update={
            "every_steps": runtime.finetune_checkpoint_steps,
            "keep_last": 1,
            "keep_every": None,
        }
    )


def take_best(learner: Learner, position: Position, records: Records) -> None:
    """Puts the best weights into the network, if the run has scores and gone on since then."""
    standing = position.standing
    if standing.score is None or standing.step == position.step:
        return
    folder = step_folder(records.running, standing.step)
    load_weights(learner.network, load_checkpoint(folder).model, folder)
    logger.info("taking the weights of step %d, which scored %.2f", standing.step, standing.score)
