"""One fine-tuning loop for all tasks: features to a trained network, resumable at any moment.

A task module says what the sequences are and what the outputs mean; here they are trained on,
without padding. Each run is a function of its seed: head weights, order, dropout.
"""

import logging
from pathlib import Path
from typing import Protocol

from bert.log import Progress
from bert.optim.schedule import learning_rate_factor
from bert.tasks.features import Feature
from bert.train.dev_set import DevSet
from bert.train.early_stopping import due, is_over, judge
from bert.train.finetune_setup import Learner, Tuning
from bert.train.finetune_state import (
    Position,
    Records,
    open_records,
    resume,
    save,
    save_due,
    take_best,
)
from bert.train.finetune_step import batch_indices, take_step, total_samples, total_steps

logger = logging.getLogger(__name__)


class Stop(Protocol):
    """As `bert.train.stop.StopSignal`."""

    def asked(self, steps: int) -> bool:
        """Whether to save and end, after `steps` steps of this job."""
        ...


def finetune(
    learner: Learner, features: list[Feature], dev: DevSet, tuning: Tuning, running: Path,
    stop: Stop, name: str,
) -> Position | None:  # fmt: skip
    """Trains the network in place, going on from the newest running checkpoint if there is one.

    Args:
        learner: As `build_learner` made it.
        features: With targets.
        dev: For early stopping.
        tuning: The run.
        running: Folder of running checkpoints and metrics.jsonl, which has a "train" line a step
            (loss in nats, learning_rate, gradient_norm; the norm is null where fp16 overflowed and
            the step changed nothing) and an "evaluate" line a score (the metrics in percent, and
            whether the score is the best so far).
        stop: Asked after every step but the last, on all ranks.
        name: Of the run, for the progress shown.

    Returns:
        Where the run ended, with the best weights in the network if it has scores; or None if it
        was stopped before its end, with a checkpoint.

    Raises:
        RuntimeError: The loss is not finite.
    """
    position = resume(learner, running)
    steps = total_steps(len(features), tuning.config)
    bar = Progress(name, steps, start=position.step) if tuning.ranks.rank == 0 else None
    records = open_records(running, position, tuning)
    try:
        ended = _train(learner, features, dev, tuning, position, records, stop, bar)
    finally:
        records.writer.close()
        if bar is not None:
            bar.close()
    if ended is not None:
        take_best(learner, ended, records)
    return ended


def _train(
    learner: Learner, features: list[Feature], dev: DevSet, tuning: Tuning, position: Position,
    records: Records, stop: Stop, bar: Progress | None,
) -> Position | None:  # fmt: skip
    config, first = tuning.config, position.step
    steps, samples = total_steps(len(features), config), total_samples(len(features), config)
    for step, index in enumerate(batch_indices(len(features), tuning, behind=first), first + 1):
        if is_over(position.standing, config.early_stopping):
            break
        rate = config.learning_rate * learning_rate_factor(step, steps, config.schedule)
        learner.network.train()
        result = take_step(learner, [features[i] for i in index], tuning, step, rate)
        records.metrics.write(
            "train", step, loss=result.loss, learning_rate=rate, gradient_norm=result.gradient_norm
        )
        if bar is not None:
            text = f"loss {result.loss:.3f} | lr {rate:.1e}"
            bar.update(step, lambda text=text: text, log=step % 10 == 0 or step == steps)  # type: ignore[misc]
        position = position._replace(step=step)
        seen = (step - 1) * config.batch, min(step * config.batch, samples)
        stopping_early = config.early_stopping
        if stopping_early and (step == steps or due(*seen, len(features), stopping_early)):
            position = _score(learner, dev, tuning, position, records)
        if step == steps:
            break
        stopping = tuning.ranks.any(stop.asked(step - first), tuning.device)
        is_best = position.standing.step == step
        if stopping or is_best or save_due(step, tuning.runtime):
            save(learner, position, records, tuning, must=stopping or is_best)
        if stopping:
            return None
    return position


def _score(
    learner: Learner, dev: DevSet, tuning: Tuning, position: Position, records: Records
) -> Position:
    """Scores the weights on the dev data, and says so."""
    step, found = position.step, dev.scores(learner.network, tuning)
    score = found[dev.task.HEADLINE]
    standing = judge(position.standing, step, score)
    is_best = standing.step == step
    records.metrics.write("evaluate", step, **found, best=is_best)
    if tuning.ranks.rank == 0:
        best = "the best so far" if is_best else f"best {standing.score:.2f} at {standing.step}"
        logger.info("dev at step %d: %s %.2f, %s", step, dev.task.HEADLINE, score, best)
    return Position(step, standing)
