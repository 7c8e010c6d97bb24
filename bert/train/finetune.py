"""One fine-tuning loop for all tasks: features to a trained model to raw outputs.

A task module says what the sequences are and what the outputs mean; this module batches, trains
and runs them, without padding. Each run is a function of its seed: head weights, order, dropout.
"""

import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bert.data.randomness import make_key
from bert.devices.execution import end_step, prepare_model
from bert.devices.precision import autocast, needs_loss_scaling
from bert.log import Progress
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForSentence, BertForSpan, SpanLogits, load_encoder
from bert.optim.clip import clip_divisor, global_norm
from bert.optim.groups import make_optimizer
from bert.optim.loss_scale import LossScale
from bert.optim.moments import set_learning_rate
from bert.optim.schedule import learning_rate_factor
from bert.tasks.features import Feature
from bert.train.config import FinetuneConfig, RuntimeConfig
from bert.train.feature_batches import FeatureBatch, longest_first, micro_batches

logger = logging.getLogger(__name__)


class Tuning(NamedTuple):
    """What a run is made of."""

    config: FinetuneConfig
    runtime: RuntimeConfig
    seed: int
    device: torch.device


def build_model(
    head: str, num_labels: int, config: ModelConfig, vocab_size: int, tuning: Tuning,
    pretrained: dict[str, Tensor] | None,
) -> nn.Module:  # fmt: skip
    """The model with its head, random by the seed, or its encoder from a pretrained state.

    Args:
        head: "span" or "sentence".
        num_labels: Labels of a sentence head.
        config: Shape.
        vocab_size: Size of the vocabulary.
        tuning: Seed and device.
        pretrained: Weights of a pretraining checkpoint, or None for the random baseline.

    Raises:
        StateError: The weights do not fit the encoder.
    """
    model: nn.Module
    if head == "span":
        model = BertForSpan(config, vocab_size)
    else:
        model = BertForSentence(config, vocab_size, num_labels)
    generator = torch.Generator().manual_seed(tuning.seed)
    initialize(model, config.initializer_range, generator, positions=config.position_init)
    if pretrained is not None:
        fresh = load_encoder(model, pretrained)
        logger.info("parameters that start at random: %s", ", ".join(fresh))
    model.to(tuning.device)
    prepare_model(model, tuning.runtime, tuning.device)
    return model


def total_steps(num_features: int, config: FinetuneConfig) -> int:
    """Optimizer steps of all epochs; the last batch may be smaller."""
    return max(1, math.ceil(num_features * config.epochs / config.batch))


def batch_indices(num_features: int, tuning: Tuning) -> Iterator[NDArray[np.int64]]:
    """Indices of each step's features: every epoch another order, a function of the seed."""
    wanted = math.ceil(num_features * tuning.config.epochs)
    epochs = math.ceil(tuning.config.epochs)
    orders = [
        np.random.default_rng([tuning.seed, epoch]).permutation(num_features)
        for epoch in range(epochs)
    ]
    index = np.concatenate(orders)[:wanted]
    for start in range(0, wanted, tuning.config.batch):
        yield index[start : start + tuning.config.batch]


def finetune(
    model: nn.Module, features: list[Feature], tuning: Tuning, name: str
) -> list[dict[str, Any]]:
    """Trains the model in place.

    Returns:
        One metrics line for each step: kind, step, loss (nats), learning_rate, gradient_norm; the
        norm is None where fp16 overflowed and the step changed nothing.

    Raises:
        RuntimeError: The loss is not finite.
    """
    config = tuning.config
    steps = total_steps(len(features), config)
    optimizer = make_optimizer(model.named_parameters(), config.optimizer)
    scale = LossScale() if needs_loss_scaling(tuning.runtime) else None
    model.train()
    lines: list[dict[str, Any]] = []
    progress = Progress(name, steps)
    for step, index in enumerate(batch_indices(len(features), tuning), start=1):
        rate = config.learning_rate * learning_rate_factor(step, steps, config.schedule)
        set_learning_rate(optimizer, rate)
        optimizer.zero_grad(set_to_none=True)
        chosen = [features[i] for i in index]
        losses = _backward(model, chosen, tuning, step, scale)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if scale is not None:
            scale.unscale_(gradients)
        measured = global_norm(gradients)
        # The one place of a step where the host waits for the device.
        *read, norm = torch.stack([*losses, measured]).tolist()
        loss = math.fsum(read)
        overflowed = scale is not None and math.isfinite(loss) and not math.isfinite(norm)
        if scale is not None:
            scale.update(overflowed)
        if not overflowed and not math.isfinite(loss + norm):
            raise RuntimeError(
                f"{name}: step {step} has loss {loss} and gradient norm {norm}; both must be "
                "finite. Lower learning_rate, or use precision fp32."
            )
        if not overflowed:
            optimizer.step(divisor=clip_divisor(measured, config.optimizer.max_grad_norm))
        end_step(tuning.runtime, tuning.device)
        values = {
            "loss": loss,
            "learning_rate": rate,
            "gradient_norm": None if overflowed else norm,
        }
        lines.append({"kind": "train", "step": step} | values)
        text = f"loss {loss:.3f} | lr {rate:.1e}"
        progress.update(step, lambda text=text: text, log=step % 10 == 0 or step == steps)  # type: ignore[misc]
    progress.close()
    return lines


def _backward(
    model: nn.Module, chosen: list[Feature], tuning: Tuning, step: int, scale: LossScale | None
) -> list[Tensor]:
    """Adds up the gradient of a step; each micro-batch's part of the loss, on the device.

    The step's features are those of `batch_indices` in every order: only the micro-batches, and
    with them the draws of dropout, know that they stand grouped by length.
    """
    found = []
    ordered = [chosen[i] for i in longest_first(chosen)]
    batches = micro_batches(ordered, tuning.runtime.micro_batch_tokens, tuning.device)
    for number, batch in enumerate(batches):
        torch.manual_seed(int(make_key(tuning.seed, step, number)) >> 1)
        with autocast(tuning.runtime, tuning.device):
            outputs = model(*batch[:4])
        loss = summed_loss(outputs, batch) / len(chosen)
        scaled = loss if scale is None else loss * scale.value
        scaled.backward()  # type: ignore[no-untyped-call]
        end_step(tuning.runtime, tuning.device)
        found.append(loss.detach())
    return found


def summed_loss(outputs: Tensor | SpanLogits, batch: FeatureBatch) -> Tensor:
    """Cross entropy summed over features; the mean of start and end for a span head."""
    if isinstance(outputs, Tensor):
        return F.cross_entropy(outputs.float(), batch.targets[:, 0], reduction="sum")
    targets = batch.targets.t().flatten()
    return F.cross_entropy(_by_sequence(outputs, batch), targets, reduction="sum") / 2


def _by_sequence(outputs: SpanLogits, batch: FeatureBatch) -> Tensor:
    """Scores of starts, then of ends, [2 B, L] fp32: minus infinity behind a sequence's end."""
    lengths, ends = batch.sequences.lengths, batch.sequences.cu_seqlens
    count, longest = len(lengths), max(lengths)
    rows = torch.arange(count, device=ends.device)
    rows = rows.repeat_interleave(ends.diff(), output_size=sum(lengths))
    scores = torch.stack(outputs).float()
    table = scores.new_full((2, count * longest), -math.inf)
    table = table.index_copy(1, rows * longest + batch.position_ids, scores)
    return table.view(2 * count, longest)


@torch.no_grad()
def predict(model: nn.Module, features: list[Feature], tuning: Tuning) -> Any:
    """The model's raw outputs, in the order of the features.

    They are computed grouped by length and read from the device once, at the end.

    Returns:
        Span head: a list of (start logits [L], end logits [L]); sentence head: [N, labels]; fp32.
    """
    if not features:
        return []
    model.eval()
    order = longest_first(features)
    ordered = [features[i] for i in order]
    found = []
    for batch in micro_batches(ordered, tuning.runtime.micro_batch_tokens, tuning.device):
        with autocast(tuning.runtime, tuning.device):
            outputs = model(*batch[:4])
        found.append((outputs if isinstance(outputs, Tensor) else torch.stack(outputs, 1)).float())
        end_step(tuning.runtime, tuning.device)
    rows = torch.cat(found).cpu().numpy()
    places = np.argsort(order)
    if isinstance(outputs, Tensor):
        return rows[places]
    borders = np.cumsum([len(feature.input_ids) for feature in ordered])[:-1]
    spans = np.split(rows, borders)
    return [(spans[place][:, 0], spans[place][:, 1]) for place in places]
