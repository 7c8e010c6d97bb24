"""The dev data of a task: what a network says of it, and how good that is."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from bert.tasks.config import Task
from bert.tasks.features import FeatureSet
from bert.train.feature_outputs import predict
from bert.train.finetune_setup import Tuning


class DevSet(NamedTuple):
    """Examples with their features, and who knows what outputs for them mean."""

    task: Task
    config: Any  # the task's own section
    examples: Sequence[Any]
    feature_set: FeatureSet[Any]

    def predictions(self, network: nn.Module, tuning: Tuning) -> dict[str, Any]:
        """What the network says of each example; all ranks call, and rank 0 gets it."""
        outputs = predict(
            network, self.feature_set.features, tuning.head, tuning.runtime,
            tuning.runtime.micro_batch_tokens, tuning.device, tuning.ranks,
        )  # fmt: skip
        if tuning.ranks.rank:
            return {}
        return self.task.decode(self.examples, self.feature_set, outputs, self.config)

    def scores(self, network: nn.Module, tuning: Tuning) -> dict[str, float]:
        """The task's metrics, percent, on rank 0; its headline alone on the others."""
        predictions, name = self.predictions(network, tuning), self.task.HEADLINE
        found = {} if tuning.ranks.rank else self.task.metrics(self.examples, predictions)
        (headline,) = tuning.ranks.sum([found.get(name, 0.0)], tuning.device)
        return found | {name: headline}
