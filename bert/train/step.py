"""One optimizer step: a batch of instances in, an update of the weights out, or none.

The loss is the mean over all predicted tokens of the batch plus the mean over all its instances,
whatever the micro-batches and ranks. A loss or gradient that is not finite changes nothing.

The host hands out the work of a step without waiting for the device, and then reads once: the
losses of all micro-batches and the gradient's norm, in one transfer. That one read stays, because a
step that is not finite must leave weights, moments and counters exactly as they were, and who
decides this after the update has nothing to go back to. It costs the device one launch: while the
update runs, the host already counts, logs and hands out the next step. K-FAC reads a second norm.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bert.data.batches import MicroBatch, StepBatch
from bert.data.randomness import make_key
from bert.devices.device import to_device, training_flops
from bert.devices.execution import end_step
from bert.devices.precision import autocast
from bert.optim.clip import clip_divisor, global_norm
from bert.optim.loss_scale import LossScale
from bert.optim.moments import set_learning_rate
from bert.train.evaluate import Losses, losses, run_model
from bert.train.metrics import StepResult
from bert.train.setup import Learner, Setup

_MODULUS = 2**31 - 1


class _Counts(NamedTuple):
    """What the batch holds, over all ranks."""

    tokens: int
    masked_tokens: int
    micro_batches: int
    checksum: int  # of the masked tokens, whatever their order and their ranks
    flops: float


class _Gradient(NamedTuple):
    """Of the whole batch, on the device, the same on all ranks."""

    tensors: list[Tensor]
    norm: Tensor


def train_step(setup: Setup, learner: Learner, batch: StepBatch, rate: float) -> StepResult:
    """One optimizer step on this rank's share of a batch.

    Args:
        setup: The phase.
        learner: Changed in place, unless the loss or the gradient is not finite.
        batch: This rank's share; it may be empty.
        rate: Learning rate.

    Returns:
        Losses and counts over all ranks, equal on each of them; `skipped` if nothing changed.
    """
    counts = _count(setup, batch)
    learner.gradients.zero()
    scale = None if learner.loss_scale is None else learner.loss_scale.value
    if learner.kfac is not None:
        learner.kfac.collect(batch.step, gradient_scale=scale or 1.0)
    found: list[Tensor] = []  # on the device, two a micro-batch
    for number, micro in enumerate(batch.micro_batches):
        # Dropout, too, is a function of the step: nothing to save, nothing to restore.
        torch.manual_seed(_dropout_seed(setup, batch.step, number))
        if number == len(batch.micro_batches) - 1:
            learner.gradients.last_micro_batch()
        found += _backward(setup, learner, micro, counts)
        end_step(setup.runtime, setup.device)
    learner.gradients.reduce()
    gradient = _gradient(learner)
    # The one place where the host waits for the device.
    *read, norm = torch.stack([*found, gradient.norm]).tolist()
    micro_losses = list(zip(read[::2], read[1::2], strict=True))
    own = [math.fsum(sums) for sums in zip(*micro_losses, strict=True)] or [0.0, 0.0]
    mlm_sum, nsp_sum = setup.ranks.sum(own, setup.device)
    means = mlm_sum / max(counts.masked_tokens, 1), nsp_sum / setup.config.batch
    skipped = not math.isfinite(sum(means) + norm)
    _move_loss_scale(learner.loss_scale, sum(means), skipped)
    if skipped and learner.kfac is not None:
        learner.kfac.discard()
    if not skipped:
        spoilt = _update(setup, learner, batch.step, rate, gradient)
        norm, skipped = (norm, False) if spoilt is None else (spoilt, True)
    end_step(setup.runtime, setup.device)
    return StepResult(
        *means, norm, counts.tokens, counts.masked_tokens, counts.flops, rate, scale, skipped,
        counts.checksum, micro_losses,
    )  # fmt: skip


def _count(setup: Setup, batch: StepBatch) -> _Counts:
    totals = [0.0] * 5
    vocab_size = setup.train.info.vocab_size
    for micro in batch.micro_batches:
        lengths = tuple((micro.cu_seqlens[1:] - micro.cu_seqlens[:-1]).tolist())
        masked = len(micro.masked_lm_ids)
        flops = training_flops(setup.model, vocab_size, lengths, masked)
        found = (sum(lengths), masked, 1, stream_checksum(micro), flops)
        totals = [a + b for a, b in zip(totals, found, strict=True)]
    *numbers, all_flops = setup.ranks.sum(totals, setup.device)
    tokens, masked_tokens, micro_batches, checksum = (int(number) for number in numbers)
    return _Counts(tokens, masked_tokens, micro_batches, checksum % _MODULUS, all_flops)


def stream_checksum(micro: MicroBatch) -> int:
    """A number under 2^31 that sees every token, its mask and its place in its instance.

    The sum over micro-batches, modulo 2^31 - 1, depends on neither their borders nor the ranks, so
    it tells whether two runs saw the same masked instances in a step.
    """
    ids, places = micro.input_ids.astype(np.int64), micro.position_ids.astype(np.int64)
    return int(((ids + 1) * (places + 1) * (places + ids) % _MODULUS).sum() % _MODULUS)


def _backward(setup: Setup, learner: Learner, micro: MicroBatch, counts: _Counts) -> list[Tensor]:
    """Adds a micro-batch's gradient; its two losses, summed, on the device."""
    moved = to_device(micro, setup.device)
    with autocast(setup.runtime, setup.device):
        logits = run_model(learner.network, moved)
    sums = losses(logits, moved)
    loss = _share_of_loss(setup, micro, sums, counts)
    if learner.loss_scale is not None:
        loss = loss * learner.loss_scale.value
    loss.backward()  # type: ignore[no-untyped-call]
    return [sums.mlm_loss.detach(), sums.nsp_loss.detach()]


def _share_of_loss(setup: Setup, micro: MicroBatch, sums: Losses, counts: _Counts) -> Tensor:
    """This micro-batch's part of the loss of the whole batch."""
    if setup.config.loss_mean == "batch":
        masked, instances = counts.masked_tokens, setup.config.batch
    else:
        masked = len(micro.masked_lm_ids) * counts.micro_batches
        instances = len(micro.next_sentence_labels) * counts.micro_batches
    return sums.mlm_loss / max(masked, 1) + sums.nsp_loss / instances


def _gradient(learner: Learner) -> _Gradient:
    """That of the whole batch, without the loss scale; nothing is read."""
    tensors = [p.grad for p in learner.network.parameters() if p.grad is not None]
    if learner.loss_scale is not None:
        learner.loss_scale.unscale_(tensors)
    return _Gradient(tensors, global_norm(tensors))


def _update(
    setup: Setup, learner: Learner, step: int, rate: float, gradient: _Gradient
) -> float | None:
    """Moves the weights; where K-FAC spoils the gradient, nothing moves: its norm, not finite."""
    norm = gradient.norm
    if learner.kfac is not None:
        learner.kfac.precondition(step, rate)
        norm = global_norm(gradient.tensors)
        if not math.isfinite(spoilt := float(norm)):
            # The guard must see it: an inverse that overflows is no gradient that was fine.
            return spoilt
    set_learning_rate(learner.optimizer, rate)
    divisor = clip_divisor(norm, setup.config.optimizer.max_grad_norm)
    learner.optimizer.step(divisor=divisor)
    return None


def _move_loss_scale(scale: LossScale | None, loss: float, skipped: bool) -> None:
    """Tells the loss scale of an overflow, unless it has another cause: that is the guard's."""
    other_cause = skipped and (scale is None or scale.is_lowest or not math.isfinite(loss))
    if scale is not None and not other_cause:
        scale.update(overflowed=skipped)


def _dropout_seed(setup: Setup, step: int, micro_batch: int) -> int:
    key = make_key(setup.config.seed, setup.phase, step, micro_batch, setup.ranks.rank)
    return int(key) >> 1
