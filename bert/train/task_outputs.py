"""What a task's head gives: its loss, and its numbers feature by feature."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bert.model.heads import SpanLogits
from bert.tasks.features import IGNORED, Feature, Head
from bert.train.feature_batches import FeatureBatch


def summed_loss(head: Head, outputs: Tensor | SpanLogits, batch: FeatureBatch) -> Tensor:
    """Loss summed over what `count_targets` counts.

    Sentence: cross entropy. Value: squared error. Span: the mean of the cross entropies of start
    and end. Token: cross entropy of the tokens with a label.
    """
    if isinstance(outputs, SpanLogits):
        targets = batch.targets.t().flatten()
        return F.cross_entropy(_by_sequence(outputs, batch), targets, reduction="sum") / 2
    scores = outputs.float()
    if head == "value":
        return F.mse_loss(scores[:, 0], batch.targets[:, 0], reduction="sum")
    targets = batch.targets if head == "token" else batch.targets[:, 0]
    return F.cross_entropy(scores, targets, ignore_index=IGNORED, reduction="sum")


def count_targets(head: Head, features: Sequence[Feature]) -> int:
    """What the loss of a step is the mean over: its features, or their tokens with a label."""
    if head != "token":
        return len(features)
    learned = sum(target != IGNORED for feature in features for target in feature.targets)
    return max(1, learned)


def split_outputs(
    rows: NDArray[np.float32], ordered: Sequence[Feature], order: NDArray[np.int64]
) -> Any:
    """Outputs of features in the order of the batches, put into the features' own order.

    Args:
        rows: A row a feature (sentence, value) or a token (span, token), fp32.
        ordered: The features as they went through the model.
        order: Their indices.

    Returns:
        Sentence, value: [N, labels]. Span, token: a list of [L, labels]; span: columns start, end.
    """
    places = np.argsort(order)
    if len(rows) == len(ordered):
        return rows[places]
    borders = np.cumsum([len(feature.input_ids) for feature in ordered])[:-1]
    found = np.split(rows, borders)
    return [found[place] for place in places]


def _rows(batch: FeatureBatch) -> Tensor:
    """The sequence that each token of the stream belongs to."""
    ends, lengths = batch.sequences.cu_seqlens, batch.sequences.lengths
    rows = torch.arange(len(lengths), device=ends.device)
    return rows.repeat_interleave(ends.diff(), output_size=sum(lengths))


def _by_sequence(outputs: SpanLogits, batch: FeatureBatch) -> Tensor:
    """Scores of starts, then of ends, [2 B, L] fp32: minus infinity behind a sequence's end."""
    count, longest = len(batch.sequences.lengths), max(batch.sequences.lengths)
    scores = torch.stack(outputs).float()
    table = scores.new_full((2, count * longest), -math.inf)
    table = table.index_copy(1, _rows(batch) * longest + batch.position_ids, scores)
    return table.view(2 * count, longest)
