"""What a phase of pretraining is made of: the fixed part, and the part that a step changes."""

from typing import Any, NamedTuple

import torch

from bert.data.batches import Reading
from bert.data.corpus import Corpus
from bert.devices.execution import prepare_model
from bert.devices.precision import needs_loss_scaling
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.model.native import detach_kernels
from bert.optim.groups import make_optimizer
from bert.optim.kfac import Kfac
from bert.optim.loss_scale import LossScale
from bert.optim.moments import MomentOptimizer
from bert.optim.sharded import ShardedOptimizer
from bert.ranks.gradients import Gradients
from bert.ranks.ranks import Ranks
from bert.train.config import PhaseConfig, RuntimeConfig


class Setup(NamedTuple):
    """What stays as it is during a phase, the same on all ranks but for `ranks` and `device`."""

    phase: int  # 1 or 2, mixed into every seed
    config: PhaseConfig
    model: ModelConfig
    runtime: RuntimeConfig
    train: Corpus
    held_out: Corpus
    ranks: Ranks
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which speaks and writes for all."""
        return self.ranks.rank == 0

    def reading(self) -> Reading:
        """How this rank reads its share of the steps."""
        return Reading(
            self.config.seed,
            self.phase,
            self.config.batch,
            self.config.masking,
            self.runtime.micro_batch_tokens,
            self.ranks.rank,
            self.ranks.world,
        )

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share with this run to be loaded into it."""
        return {
            "model": self.model.model_dump(),
            "vocab_size": self.train.info.vocab_size,
            "vocabulary_sha256": self.train.info.vocabulary_sha256,
        }


class Learner(NamedTuple):
    """All that a step changes."""

    network: BertForPretraining
    optimizer: MomentOptimizer | ShardedOptimizer
    gradients: Gradients
    kfac: Kfac | None
    loss_scale: LossScale | None  # fp16 only


def build(setup: Setup) -> Learner:
    """The freshly initialised model on its device, with its optimizer; equal on all ranks.

    Raises:
        ValueError: K-FAC was asked for with an execution that hides what its layers see.
    """
    if setup.config.kfac is not None and setup.runtime.execution != "eager":
        raise ValueError(
            f"kfac is given and runtime.execution is {setup.runtime.execution}; K-FAC looks at the "
            "inputs and gradients of single layers, which only eager execution shows. Write eager."
        )
    network = BertForPretraining(setup.model, setup.train.info.vocab_size)
    generator = torch.Generator().manual_seed(setup.config.seed)
    initialize(
        network, setup.model.initializer_range, generator, positions=setup.model.position_init
    )
    network.to(setup.device).train()
    prepare_model(network, setup.runtime, setup.device)
    if setup.config.kfac is not None:
        detach_kernels(network)  # K-FAC watches single layers, which the kernels pass by
    named, config = list(network.named_parameters()), setup.config
    sharded = setup.runtime.shard_optimizer and setup.ranks.world > 1
    return Learner(
        network,
        ShardedOptimizer(named, config.optimizer, setup.ranks)
        if sharded
        else make_optimizer(named, config.optimizer),
        Gradients([p for _, p in named if p.requires_grad], setup.runtime.all_reduce, setup.ranks),
        Kfac(network, config.kfac, setup.ranks) if config.kfac is not None else None,
        LossScale() if needs_loss_scaling(setup.runtime) else None,
    )
