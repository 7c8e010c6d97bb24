"""What a fine-tuning run is made of: the fixed part, and the part that a step changes."""

import logging
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bert.devices.execution import prepare_model
from bert.devices.precision import needs_loss_scaling
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import load_encoder, task_network
from bert.optim.groups import make_optimizer
from bert.optim.layer_decay import rate_factors
from bert.optim.loss_scale import LossScale
from bert.optim.moments import MomentOptimizer
from bert.ranks.gradients import Gradients
from bert.ranks.ranks import ALONE, Ranks
from bert.tasks.features import Head
from bert.train.config import RuntimeConfig
from bert.train.finetune_config import FinetuneConfig

logger = logging.getLogger(__name__)


class Tuning(NamedTuple):
    """What stays as it is during a run, the same on all ranks but for `device` and `ranks`."""

    config: FinetuneConfig
    runtime: RuntimeConfig
    seed: int
    device: torch.device
    head: Head
    ranks: Ranks = ALONE


class Learner(NamedTuple):
    """All that a step changes."""

    network: nn.Module
    optimizer: MomentOptimizer
    gradients: Gradients
    loss_scale: LossScale | None  # fp16 only


def build_model(
    num_labels: int, config: ModelConfig, vocab_size: int, tuning: Tuning,
    pretrained: dict[str, Tensor] | None,
) -> nn.Module:  # fmt: skip
    """The model with its head, random by the seed, or its encoder from a pretrained state.

    Args:
        num_labels: Labels of a sequence or a token; 1 for a value.
        config: Shape.
        vocab_size: Size of the vocabulary.
        tuning: Seed and device.
        pretrained: Weights of a pretraining checkpoint, or None for the random baseline.

    Raises:
        StateError: The weights do not fit the encoder.
    """
    model = task_network(tuning.head, config, vocab_size, num_labels)
    generator = torch.Generator().manual_seed(tuning.seed)
    initialize(model, config.initializer_range, generator, positions=config.position_init)
    if pretrained is not None:
        fresh = load_encoder(model, pretrained)
        logger.info("parameters that start at random: %s", ", ".join(fresh))
    model.to(tuning.device)
    prepare_model(model, tuning.runtime, tuning.device)
    return model


def build_learner(model: nn.Module, tuning: Tuning) -> Learner:
    """The model with its optimizer at the start of a run; equal on all ranks."""
    named = [(name, param) for name, param in model.named_parameters() if param.requires_grad]
    factors = rate_factors([name for name, _ in named], tuning.config.layer_decay)
    return Learner(
        model,
        make_optimizer(named, tuning.config.optimizer, factors),
        Gradients([param for _, param in named], tuning.runtime.all_reduce, tuning.ranks),
        LossScale() if needs_loss_scaling(tuning.runtime) else None,
    )
