"""What the task and the network gave for some requests."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bert.tasks.features import FeatureSet


class Found(NamedTuple):
    """Everything that an answer is made of.

    Attributes:
        feature_set: Features of the requests.
        outputs: The network's, see `bert.tasks.config.Task.decode`.
        predictions: What `decode` made of them, one a request.
        labels: Names of the outputs.
    """

    feature_set: FeatureSet[Any]
    outputs: Any
    predictions: Sequence[Any]
    labels: Sequence[str]
