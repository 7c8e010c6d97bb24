"""Running checkpoints of a phase: when one is written, and going back to one."""

import logging

from bert.checkpoints.checkpoint import list_steps, step_folder
from bert.checkpoints.keep import delete
from bert.checkpoints.result import HELD_OUT_LOSS, held_out_loss, takes_snapshot
from bert.train.around import Around, scheduled
from bert.train.guard import Guard, rollback_step
from bert.train.progress import Progress
from bert.train.restart import contents, resume
from bert.train.setup import Learner, Setup

logger = logging.getLogger(__name__)

# Evaluating and writing may take so many times as long as a step before the watchdog ends them.
LONGER = 20.0


def save_due(
    setup: Setup, learner: Learner, progress: Progress, around: Around,
    found: dict[str, float | None] | None, *, stopping: bool,
) -> None:  # fmt: skip
    """Writes what is due after a step: a running checkpoint, the weights for an average.

    While skipped steps stand in a row, the newest checkpoint stays the one before them.

    Args:
        setup: The phase.
        learner: What is saved.
        progress: Behind the step.
        around: The writer.
        found: The evaluation of this step, if there was one.
        stopping: Whether the job ends here.
    """
    step = progress.step
    snapshot = takes_snapshot(step, setup.config.result)
    wanted = stopping or scheduled(setup, step)
    whole = progress.finished or (wanted and not progress.guard.skipped)
    if not whole and not snapshot:
        return
    around.clock.pause()
    around.watch.expect_growth("checkpoint", step)
    parts, state = contents(setup, learner, progress)
    state[HELD_OUT_LOSS] = None if found is None else held_out_loss(found)
    around.metrics.sync()
    ending = progress.finished or stopping
    with around.watchdog.longer(LONGER):
        around.writer.save(step, parts, state if whole else None, snapshot=snapshot, must=ending)
        if ending:
            setup.ranks.barrier()
    if whole:
        around.metrics.write("checkpoint", step)
    around.clock.go()


def prepare_saving(setup: Setup, learner: Learner, progress: Progress, around: Around) -> None:
    """Takes up the memory for copies, beside the training; after the first step of a job."""
    if setup.runtime.checkpoint.asynchronous:
        around.writer.reserve(contents(setup, learner, progress)[0])


def save_start(setup: Setup, learner: Learner, progress: Progress, around: Around) -> None:
    """Writes the start of a phase that may have to go back to it."""
    if setup.config.guard.then == "rollback" and not list_steps(around.folders.running):
        setup.ranks.barrier()  # all have looked
        parts, state = contents(setup, learner, progress)
        around.writer.save(0, parts, state, must=True)
        setup.ranks.barrier()


def roll_back(setup: Setup, learner: Learner, progress: Progress, around: Around) -> None:
    """Goes back to the newest checkpoint of the schedule; the clock goes on."""
    around.clock.pause()
    around.writer.wait()
    setup.ranks.barrier()
    running, behind = around.folders.running, progress.step
    saved = list_steps(running)
    step = rollback_step(saved, lambda step: scheduled(setup, step))
    step = saved[-1] if step is None else step
    setup.ranks.barrier()
    if setup.is_first:
        for later in saved:
            if later > step:
                delete(step_folder(running, later))
    restored = Progress(Guard(setup.config.guard))
    resume(setup, learner, restored, step_folder(running, step))
    progress.guard.roll_back(restored.guard.state())
    gone_on = {"guard": progress.guard.state(), "elapsed_s": progress.elapsed_s}
    progress.load(restored.state() | gone_on)
    around.metrics.rewind(step)
    around.clock.rewind(tokens=progress.totals["tokens"], skipped=progress.totals["skipped_steps"])
    factor = progress.guard.learning_rate_factor
    # At the first step that is taken again: a job killed here drops the line and writes it anew.
    around.metrics.write("rollback", step + 1, from_step=behind, learning_rate_factor=factor)
    if setup.is_first:
        logger.warning(
            "went back from step %d to step %d; the learning rate is %g times the configured one",
            behind,
            step,
            factor,
        )
