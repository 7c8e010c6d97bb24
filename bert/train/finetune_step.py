"""One optimizer step of a fine-tuning run, and which features it sees.

The loss is the mean over what `count_targets` counts in the whole batch, whatever the micro-batches
and ranks. As in pretraining the host reads once a step: all losses and the gradient's norm.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bert.data.randomness import make_key
from bert.devices.execution import end_step
from bert.devices.precision import autocast
from bert.optim.clip import clip_divisor, global_norm
from bert.optim.moments import set_learning_rate
from bert.tasks.features import Feature
from bert.train.feature_batches import longest_first, micro_batches
from bert.train.finetune_config import FinetuneConfig
from bert.train.finetune_setup import Learner, Tuning
from bert.train.task_outputs import count_targets, summed_loss


class StepResult(NamedTuple):
    """What a step did, over all ranks."""

    loss: float  # mean, nats; of a value the squared error
    gradient_norm: float | None  # None where fp16 overflowed and the step changed nothing


def total_samples(num_features: int, config: FinetuneConfig) -> int:
    """Features that the whole run sees, repeats counted."""
    if config.epochs is None:
        return (config.steps or 1) * config.batch
    return max(1, math.ceil(num_features * config.epochs))


def total_steps(num_features: int, config: FinetuneConfig) -> int:
    """Optimizer steps of the whole run; with epochs, the last batch may be smaller."""
    return math.ceil(total_samples(num_features, config) / config.batch)


def batch_indices(
    num_features: int, tuning: Tuning, behind: int = 0
) -> Iterator[NDArray[np.int64]]:
    """Indices of each step's features: every epoch another order, a function of the seed.

    Args:
        num_features: Training features.
        tuning: Seed and length.
        behind: Steps that are taken already; the first indices are those of the next one.
    """
    wanted, batch = total_samples(num_features, tuning.config), tuning.config.batch
    orders = [
        np.random.default_rng([tuning.seed, epoch]).permutation(num_features)
        for epoch in range(math.ceil(wanted / num_features))
    ]
    index = np.concatenate(orders)[:wanted]
    for start in range(behind * batch, wanted, batch):
        yield index[start : start + batch]


def take_step(
    learner: Learner, chosen: list[Feature], tuning: Tuning, step: int, rate: float
) -> StepResult:
    """One optimizer step; every rank takes its share of the batch, which may be empty.

    Args:
        learner: Changed in place, unless fp16 overflows.
        chosen: The features of the whole batch, the same on all ranks.
        tuning: The run.
        step: From 1.
        rate: Learning rate.

    Returns:
        The same on all ranks.

    Raises:
        RuntimeError: Loss or gradient is not finite, and fp16 is not the cause.
    """
    scale = learner.loss_scale
    learner.gradients.zero()
    losses = _backward(learner, chosen, tuning, step)
    learner.gradients.reduce()
    gradients = [p.grad for p in learner.network.parameters() if p.grad is not None]
    if scale is not None:
        scale.unscale_(gradients)
    measured = global_norm(gradients)
    # The one place of a step where the host waits for the device.
    *read, norm = torch.stack([*losses, measured]).tolist()
    (loss,) = tuning.ranks.sum([math.fsum(read)], tuning.device)
    overflowed = scale is not None and math.isfinite(loss) and not math.isfinite(norm)
    if scale is not None:
        scale.update(overflowed)
    if not overflowed and not math.isfinite(loss + norm):
        raise RuntimeError(
            f"step {step} has loss {loss} and gradient norm {norm}; both must be finite. Lower "
            "learning_rate, or use precision fp32."
        )
    if not overflowed:
        set_learning_rate(learner.optimizer, rate)
        divisor = clip_divisor(measured, tuning.config.optimizer.max_grad_norm)
        learner.optimizer.step(divisor=divisor)
    end_step(tuning.runtime, tuning.device)
    return StepResult(loss, None if overflowed else norm)


def _backward(learner: Learner, chosen: list[Feature], tuning: Tuning, step: int) -> list[Tensor]:
    """Adds up this rank's part of the gradient; each micro-batch's part of the loss, on the device.

    Only the micro-batches, and with them the draws of dropout, know that the features stand grouped
    by length. Dealt in that order, the ranks have about as many tokens.
    """
    ranks, found = tuning.ranks, []
    count = count_targets(tuning.head, chosen)
    own = [chosen[i] for i in longest_first(chosen)[ranks.rank :: ranks.world]]
    most_tokens = tuning.runtime.micro_batch_tokens
    batches = list(micro_batches(own, most_tokens, tuning.device, tuning.head))
    for number, batch in enumerate(batches):
        # Dropout, too, is a function of the step: nothing to save, nothing to restore.
        key = make_key(tuning.seed, step, number * ranks.world + ranks.rank)
        torch.manual_seed(int(key) >> 1)
        with autocast(tuning.runtime, tuning.device):
            outputs = learner.network(*batch[:4])
        loss = summed_loss(tuning.head, outputs, batch) / count
        if number == len(batches) - 1:
            learner.gradients.last_micro_batch()
        scaled = loss if learner.loss_scale is None else loss * learner.loss_scale.value
        scaled.backward()  # type: ignore[no-untyped-call]
        end_step(tuning.runtime, tuning.device)
        found.append(loss.detach())
    return found
