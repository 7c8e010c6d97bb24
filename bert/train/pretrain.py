"""One phase of pretraining: the loop over its steps, from where it starts to where it ends."""

from enum import Enum

from bert.checkpoints.checkpoint import list_steps, step_folder
from bert.data.batches import read_steps, steps_ahead
from bert.data.prefetch import prefetch
from bert.optim.schedule import (
    learning_rate_factor,
    learning_rate_scaling,
    timed_learning_rate_factor,
)
from bert.train import evaluation
from bert.train.around import Around, Folders, stand_around
from bert.train.evaluate import evaluate
from bert.train.guard import Guard, Verdict
from bert.train.judge import judge, watch
from bert.train.progress import Progress
from bert.train.restart import begin, resume
from bert.train.saving import LONGER, prepare_saving, roll_back, save_due, save_start
from bert.train.setup import Learner, Setup
from bert.train.step import train_step
from bert.train.stop import StopSignal


class Ending(Enum):
    """Why the loop ended."""

    FINISHED = "finished"
    UNFINISHED = "unfinished"  # asked to stop; a checkpoint is written
    ROLLBACK = "rollback"


def pretrain(setup: Setup, learner: Learner, folders: Folders, stop: StopSignal) -> Progress | None:
    """Trains to the end of the phase, going on from the newest running checkpoint if there is one.

    Args:
        setup: The phase.
        learner: As `build` made it; trained in place.
        folders: Where to read and write.
        stop: Asked after every step, on all ranks.

    Returns:
        How far the phase came, or None if it was stopped before its end.

    Raises:
        NonFiniteError: Loss or gradient stayed infinite or NaN, see section `guard`.
    """
    progress = Progress(Guard(setup.config.guard))
    start(setup, learner, progress, folders)
    around = stand_around(setup, progress, folders, stop)
    try:
        save_start(setup, learner, progress, around)
        while (ending := _train(setup, learner, progress, around)) is Ending.ROLLBACK:
            roll_back(setup, learner, progress, around)
    finally:
        around.close()
    return progress if ending is Ending.FINISHED else None


def start(setup: Setup, learner: Learner, progress: Progress, folders: Folders) -> None:
    """Goes on from the newest running checkpoint, or begins the phase."""
    if steps := list_steps(folders.running):
        resume(setup, learner, progress, step_folder(folders.running, steps[-1]))
    elif folders.previous is not None:
        begin(setup, learner, folders.previous)


def _train(setup: Setup, learner: Learner, progress: Progress, around: Around) -> Ending:
    if progress.finished:
        return Ending.FINISHED  # killed between the last checkpoint and the end
    first, config = progress.step + 1, setup.config
    reading = setup.reading()
    steps = read_steps(setup.train, range(first, config.steps + 1), reading)
    around.clock.go()
    for batch in prefetch(steps, steps_ahead(setup.train, reading)):
        rate = learning_rate(setup, progress, batch.step)
        result = train_step(setup, learner, batch, rate)
        around.watchdog.kick(batch.step)
        progress.count(result, config.batch)
        around.clock.tick(batch.step, result, rate, around.metrics)
        if judge(setup, learner, progress.guard, around, batch, result) is Verdict.ROLLBACK:
            return Ending.ROLLBACK
        if batch.step % config.log_every == 0:
            watch(around, batch.step)
        if batch.step == first:
            prepare_saving(setup, learner, progress, around)
        stopping = _agree(setup, progress, around, batch.step - first + 1)
        progress.finished = batch.step == config.steps or _out_of_budget(setup, progress)
        found = None
        if progress.finished or evaluation.due(batch.step, config.batch, config.evaluation):
            found = _evaluate(setup, learner, around, batch.step)
            progress.finished |= evaluation.reached(found, config.evaluation)
        save_due(setup, learner, progress, around, found, stopping=stopping)
        if progress.finished:
            return Ending.FINISHED
        if stopping:
            return Ending.UNFINISHED
    raise AssertionError("the last step ends the loop")


def learning_rate(setup: Setup, progress: Progress, step: int) -> float:
    """Learning rate of the step about to be taken."""
    config = setup.config
    if config.budget_hours is None:
        factor = learning_rate_factor(step, config.steps, config.schedule)
    else:
        # The rate of the step's end, if it takes as long as those before: that of its start is 0.
        used = progress.elapsed_s / (3600 * config.budget_hours)
        factor = timed_learning_rate_factor(used * step / max(step - 1, 1), config.schedule)
    scaling = learning_rate_scaling(config.learning_rate_scaling, setup.ranks.world)
    return config.learning_rate * factor * scaling * progress.guard.learning_rate_factor


def _agree(setup: Setup, progress: Progress, around: Around, steps: int) -> bool:
    """Whether any rank was asked to stop; all ranks take over rank 0's clock."""
    own = around.clock.elapsed_s if setup.is_first else 0.0
    asked, progress.elapsed_s = setup.ranks.sum([around.stop.asked(steps), own], setup.device)
    return asked > 0


def _out_of_budget(setup: Setup, progress: Progress) -> bool:
    hours = setup.config.budget_hours
    return hours is not None and progress.elapsed_s >= 3600 * hours


def _evaluate(setup: Setup, learner: Learner, around: Around, step: int) -> dict[str, float | None]:
    around.clock.pause()
    around.watch.expect_growth("evaluate", step)
    with around.watchdog.longer(LONGER):
        found = evaluate(
            learner.network, setup.held_out, setup.config.masking, seed=setup.config.seed,
            limit=setup.config.evaluation.instances, runtime=setup.runtime, device=setup.device,
            ranks=setup.ranks,
        )  # fmt: skip
    around.metrics.write("evaluate", step, **found)
    around.clock.go()
    return found
