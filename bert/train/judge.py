"""What follows a step: the guard's verdict, its lines in the log, and the report on a bad step."""

import logging

from bert.data.batches import StepBatch
from bert.train.around import Around
from bert.train.diagnostics import BadStep, report_folder, write_report
from bert.train.guard import Guard, Verdict
from bert.train.metrics import StepResult
from bert.train.setup import Learner, Setup
from bert.train.watch import give_back_memory, resident_mb

logger = logging.getLogger(__name__)


def judge(
    setup: Setup, learner: Learner, guard: Guard, around: Around, batch: StepBatch,
    result: StepResult,
) -> Verdict:  # fmt: skip
    """Asks the guard about a finished step, and says what it found.

    Args:
        setup: The phase.
        learner: With the gradients of the step.
        guard: Of this phase.
        around: Where events go.
        batch: This rank's share of the step.
        result: What the step did.

    Returns:
        OK, SKIP (the step changed nothing) or ROLLBACK.

    Raises:
        NonFiniteError: The guard's patience is over.
    """
    loss = result.mlm_loss + result.nsp_loss
    # Only what made the loss scale fall was the scale's doing.
    scale = learner.loss_scale
    expected = scale is not None and scale.value < (result.loss_scale or 0.0)
    verdict = guard.judge(batch.step, loss, result.gradient_norm, expected_overflow=expected)
    if verdict is Verdict.OK:
        if (spike := guard.spike(loss)) is not None:
            _warn(setup, spike.message(batch.step))
            around.metrics.write("spike", batch.step, **spike._asdict())
        return verdict
    _warn(setup, guard.message(verdict, batch.step, loss, result.gradient_norm))
    bad = BadStep(
        batch.step, verdict.value, result.mlm_loss, result.nsp_loss, result.gradient_norm,
        result.learning_rate or 0.0, result.loss_scale, guard.rollbacks, result.micro_losses,
    )  # fmt: skip
    folder = report_folder(around.folders.output, setup.phase, bad)
    if guard.report_due(verdict):
        sections = {"phase": setup.config, "model": setup.model, "runtime": setup.runtime}
        write_report(
            folder, bad, batch.micro_batches, learner.network, setup.train, setup.reading(),
            {name: section.model_dump() for name, section in sections.items()},
        )  # fmt: skip
    if verdict is Verdict.STOP:
        raise guard.error(batch.step, loss, result.gradient_norm, folder)
    return verdict


def _warn(setup: Setup, text: str) -> None:
    """Once, not from every rank: all of them judge alike."""
    if setup.is_first:
        logger.warning("%s", text)


def watch(around: Around, step: int) -> None:
    """Warns of memory that grows and of speed that falls; asked when a line is logged."""
    if around.watch.is_high(step, resident_mb()):
        give_back_memory()  # free memory that the C library keeps is no growth
    warnings = [around.watch.memory(step, resident_mb())]
    if around.clock.tokens_per_s is not None:
        warnings.append(around.watch.speed(step, around.clock.tokens_per_s))
    for warning in filter(None, warnings):
        logger.warning("%s", warning)
