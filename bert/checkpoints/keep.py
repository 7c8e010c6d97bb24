"""When a running checkpoint is due, and which running checkpoints stay."""

import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from bert.checkpoints.checkpoint import list_steps, step_folder
from bert.checkpoints.config import CheckpointConfig
from bert.manifest import fsync_directory

logger = logging.getLogger(__name__)


def due(step: int, samples_before: int, samples_after: int, config: CheckpointConfig) -> bool:
    """Whether a running checkpoint follows this step of the phase.

    It does at a multiple of `every_steps`, and when the step reaches or crosses a multiple of
    `every_samples`, but not before `from_samples` were seen.

    Args:
        step: Just taken, counted from 1.
        samples_before: Instances seen in this phase before it.
        samples_after: And with it.
        config: Section `runtime.checkpoint`.
    """
    if samples_after < config.from_samples:
        return False
    if config.every_steps is not None and step % config.every_steps == 0:
        return True
    distance = config.every_samples
    return distance is not None and samples_after // distance > samples_before // distance


def kept(steps: list[int], config: CheckpointConfig) -> set[int]:
    """Those of ascending steps that are among the newest or at a kept multiple."""
    multiples = {step for step in steps if config.keep_every and step % config.keep_every == 0}
    return multiples | set(steps[-config.keep_last :])


def prune(running: Path, config: CheckpointConfig, needed: Iterable[int] = ()) -> None:
    """Deletes the running checkpoints that are neither kept nor needed.

    Args:
        running: Their folder.
        config: Section `runtime.checkpoint`.
        needed: Steps that stay in any case, for the phase's result.
    """
    steps = list_steps(running)
    for step in sorted(set(steps) - kept(steps, config) - set(needed)):
        delete(step_folder(running, step))
        logger.info("deleted the running checkpoint of step %d", step)


def clear(running: Path, config: CheckpointConfig) -> None:
    """Deletes what a finished phase no longer needs: all but the checkpoints at kept multiples."""
    if config.keep_every is None:
        shutil.rmtree(running)
        return
    for step in list_steps(running):
        if step % config.keep_every:
            delete(step_folder(running, step))
    shutil.rmtree(running / "average", ignore_errors=True)


def delete(path: Path) -> None:
    """Deletes a folder so that a kill on the way leaves no part of it under its name."""
    hidden = path.with_name(f".{path.name}.old")
    shutil.rmtree(hidden, ignore_errors=True)
    path.rename(hidden)
    fsync_directory(path.parent)
    shutil.rmtree(hidden, ignore_errors=True)


def warn_of_others(running: Path) -> None:
    """Says that checkpoints of another identity, in folders beside this one, are not used."""
    for other in sorted(running.parent.glob("*")) if running.parent.exists() else []:
        if other != running and list_steps(other):
            logger.warning(
                "%s has checkpoints up to step %d of another configuration, other inputs or other "
                "code; they are left alone, and this run begins anew",
                other,
                list_steps(other)[-1],
            )


def delete_leftovers(running: Path) -> None:
    """Deletes what a killed process had not finished to write or to delete."""
    for path in sorted(running.glob(".step-*")):
        shutil.rmtree(path)
        logger.info("deleted %s, which a killed run left behind", path)
