"""Where a phase starts or goes on, and what its checkpoints hold."""

import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from bert.checkpoints.checkpoint import (
    Checkpoint,
    check_checkpoint,
    load_checkpoint,
    load_weights,
)
from bert.optim.moments import reset_step
from bert.train.progress import Progress
from bert.train.setup import Learner, Setup

logger = logging.getLogger(__name__)


def begin(setup: Setup, learner: Learner, previous: Path) -> None:
    """The phase switch: takes from the last phase what `start` says.

    | start | weights | moments, K-FAC | optimizer's step | as in |
    | --- | --- | --- | --- | --- |
    | previous | yes | yes | from 0 | NVIDIA, Habana, gpauloski |
    | continued | yes | yes | goes on | Google, Cerebras |
    | weights | yes | no | from 0 | |

    Args:
        setup: The phase.
        learner: As `build` made it.
        previous: Final checkpoint of the previous phase.

    Raises:
        CheckpointError: The checkpoint is of another model or vocabulary.
    """
    loaded = load_checkpoint(previous)
    check_checkpoint(previous, loaded.state, setup.identity())
    load_weights(learner.network, loaded.model, previous)
    if setup.config.start != "weights":
        _load_moments(learner, loaded, previous)
        if learner.kfac is not None and loaded.preconditioner:
            learner.kfac.load(loaded.preconditioner, previous)
    if setup.config.start == "previous":
        reset_step(learner.optimizer)
    taken = "weights" if setup.config.start == "weights" else "weights and moments"
    logger.info("starting from the %s of %s", taken, previous)


def resume(setup: Setup, learner: Learner, progress: Progress, folder: Path) -> None:
    """Goes on from a running checkpoint of this phase, on any number of ranks.

    Raises:
        CheckpointError: The checkpoint is damaged, or of another model, vocabulary or phase.
    """
    loaded = load_checkpoint(folder)
    check_checkpoint(folder, loaded.state, setup.identity() | {"phase": setup.phase})
    load_weights(learner.network, loaded.model, folder)
    _load_moments(learner, loaded, folder)
    if learner.kfac is not None:
        learner.kfac.load(loaded.preconditioner, folder)
    if learner.loss_scale is not None and loaded.state["loss_scale"] is not None:
        learner.loss_scale.load(loaded.state["loss_scale"])
    progress.load(loaded.state)
    logger.info("going on from %s", folder)


def _load_moments(learner: Learner, loaded: Checkpoint, folder: Path) -> None:
    if loaded.optimizer:
        learner.optimizer.load(learner.network, loaded.optimizer, folder)
    else:
        learner.optimizer.forget()  # saved before the first step
    for group in learner.optimizer.param_groups:
        group["step"] = loaded.state["optimizer_step"]


def contents(
    setup: Setup, learner: Learner, progress: Progress
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """What a checkpoint holds now; all ranks call, and rank 0 gets all of it.

    Returns:
        Tensors by file and name, and plain data for state.json.
    """
    optimizer, network = learner.optimizer, learner.network
    tensors = {"model": network.state_dict(), "optimizer": optimizer.tensors(network)}
    if learner.kfac is not None:
        tensors["preconditioner"] = learner.kfac.tensors()
    state = {
        "phase": setup.phase,
        "optimizer_step": optimizer.param_groups[0]["step"],
        "loss_scale": None if learner.loss_scale is None else learner.loss_scale.state(),
    }
    return tensors, state | progress.state() | setup.identity()
