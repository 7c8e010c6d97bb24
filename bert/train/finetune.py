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
from torch.nn.utils.rnn import pad_sequence

from bert.data.batches import cut_lengths, segments_and_positions
from bert.data.randomness import make_key
from bert.devices.execution import end_step, prepare_model
from bert.devices.precision import autocast, needs_loss_scaling
from bert.log import Progress
from bert.model.attention import Sequences
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForSentence, BertForSpan, load_encoder
from bert.optim.clip import clip_by_global_norm
from bert.optim.groups import make_optimizer
from bert.optim.loss_scale import LossScale
from bert.optim.moments import set_learning_rate
from bert.optim.schedule import learning_rate_factor
from bert.tasks.features import Feature
from bert.train.config import FinetuneConfig, RuntimeConfig

logger = logging.getLogger(__name__)


class Tuning(NamedTuple):
    """What a run is made of."""

    config: FinetuneConfig
    runtime: RuntimeConfig
    seed: int
    device: torch.device


class FeatureBatch(NamedTuple):
    """Features as a token stream on the device."""

    input_ids: Tensor  # [T] int64
    segment_ids: Tensor  # [T] int64
    position_ids: Tensor  # [T] int64
    sequences: Sequences
    targets: Tensor  # [B, 1] labels or [B, 2] start and end in each sequence, int64; empty without


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
        loss = _accumulate(model, chosen, tuning, step, scale)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if scale is not None:
            scale.unscale_(gradients)
        norm = float(clip_by_global_norm(gradients, config.optimizer.max_grad_norm))
        overflowed = scale is not None and math.isfinite(loss) and not math.isfinite(norm)
        if scale is not None:
            scale.update(overflowed)
        if not overflowed and not math.isfinite(loss + norm):
            raise RuntimeError(
                f"{name}: step {step} has loss {loss} and gradient norm {norm}; both must be "
                "finite. Lower learning_rate, or use precision fp32."
            )
        if not overflowed:
            optimizer.step()
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


def _accumulate(
    model: nn.Module, chosen: list[Feature], tuning: Tuning, step: int, scale: LossScale | None
) -> float:
    total = 0.0
    for number, batch in enumerate(_micro_batches(chosen, tuning)):
        torch.manual_seed(int(make_key(tuning.seed, step, number)) >> 1)
        with autocast(tuning.runtime, tuning.device):
            outputs = model(*batch[:4])
        loss = _loss(outputs, batch) / len(chosen)
        scaled = loss if scale is None else loss * scale.value
        scaled.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total


def _loss(outputs: Any, batch: FeatureBatch) -> Tensor:
    """Cross entropy summed over features; the mean of start and end for a span head."""
    if isinstance(outputs, Tensor):
        return F.cross_entropy(outputs.float(), batch.targets[:, 0], reduction="sum")
    losses = [
        F.cross_entropy(_by_sequence(logits, batch.sequences), target, reduction="sum")
        for logits, target in zip(outputs, batch.targets.unbind(1), strict=True)
    ]
    return (losses[0] + losses[1]) / 2


def _by_sequence(logits: Tensor, sequences: Sequences) -> Tensor:
    """[T] to [B, L] with minus infinity behind each sequence's end, fp32."""
    pieces = list(torch.split(logits.float(), list(sequences.lengths)))
    return pad_sequence(pieces, batch_first=True, padding_value=-math.inf)


@torch.no_grad()
def predict(model: nn.Module, features: list[Feature], tuning: Tuning) -> Any:
    """The model's raw outputs, in the order of the features.

    Returns:
        Span head: a list of (start logits [L], end logits [L]); sentence head: [N, labels]; fp32.
    """
    model.eval()
    spans: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    rows: list[NDArray[np.float32]] = []
    for batch in _micro_batches(features, tuning):
        with autocast(tuning.runtime, tuning.device):
            outputs = model(*batch[:4])
        if isinstance(outputs, Tensor):
            rows.append(outputs.float().cpu().numpy())
            continue
        lengths = list(batch.sequences.lengths)
        pieces = [torch.split(x.float().cpu(), lengths) for x in outputs]
        spans += [(a.numpy(), b.numpy()) for a, b in zip(*pieces, strict=True)]
    return np.concatenate(rows) if rows else spans


def _micro_batches(features: list[Feature], tuning: Tuning) -> Iterator[FeatureBatch]:
    lengths = np.array([len(feature.input_ids) for feature in features], np.int64)
    for first, last in cut_lengths(lengths, tuning.runtime.micro_batch_tokens):
        yield make_batch(features[first:last], tuning.device)


def make_batch(features: list[Feature], device: torch.device) -> FeatureBatch:
    """Features end to end as tensors on the device."""
    lengths = tuple(len(feature.input_ids) for feature in features)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.array([feature.segment_b_start for feature in features], np.uint16)
    segment_ids, position_ids = segments_and_positions(offsets, starts)
    arrays = [
        np.concatenate([feature.input_ids for feature in features]),
        segment_ids.astype(np.int64),
        position_ids.astype(np.int64),
        offsets.astype(np.int32),
        np.array([feature.targets for feature in features], np.int64),
    ]
    moved = [torch.from_numpy(array).to(device) for array in arrays]
    ids, segments, positions, ends, targets = moved
    return FeatureBatch(ids, segments, positions, Sequences(ends, lengths), targets)
