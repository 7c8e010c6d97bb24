"""Features through a model without gradients: its raw outputs, in the order of the features."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bert.devices.config import ComputeConfig
from bert.devices.execution import end_step
from bert.devices.precision import autocast
from bert.ranks.ranks import ALONE, Ranks
from bert.tasks.features import Feature, Head
from bert.train.feature_batches import FeatureBatch, longest_first, micro_batches
from bert.train.task_outputs import split_outputs


@torch.no_grad()
def predict(
    model: nn.Module, features: Sequence[Feature], head: Head, compute: ComputeConfig,
    most_tokens: int, device: torch.device, ranks: Ranks = ALONE,
) -> Any:  # fmt: skip
    """The model's raw outputs of all features, on every rank.

    They are computed grouped by length and read from the device once, at the end. The micro-batches
    are those of one rank, dealt over all: the same bits for any number of ranks.

    Args:
        model: A network with the task's head; left in evaluation mode.
        features: With or without targets, which nobody looks at.
        head: The task's head.
        compute: Arithmetic and execution, as the model was prepared for.
        most_tokens: Most tokens of a micro-batch; a longer feature goes alone.
        device: The model's.
        ranks: All that call, with the same features.

    Returns:
        As `task_outputs.split_outputs`; [] without features.
    """
    if not features:
        return []
    model.eval()
    order = longest_first(features)
    ordered = [features[i] for i in order]
    found: list[Tensor | int] = []  # of another rank: only the number of rows
    for number, batch in enumerate(micro_batches(ordered, most_tokens, device, head)):
        if number % ranks.world != ranks.rank:
            found.append(_count_rows(batch, head))
            continue
        with autocast(compute, device):
            outputs = model(*batch[:4])
        found.append((outputs if isinstance(outputs, Tensor) else torch.stack(outputs, 1)).float())
        end_step(compute, device)
    rows = _shared(found, device, ranks).cpu().numpy()
    return split_outputs(rows, ordered, order)


def _count_rows(batch: FeatureBatch, head: Head) -> int:
    return len(batch.input_ids if head in ("span", "token") else batch.sequences.lengths)


def _shared(found: list[Tensor | int], device: torch.device, ranks: Ranks) -> Tensor:
    """The rows of all ranks, [rows, width]: each adds its own to zeros."""
    # Rank 0 has the first micro-batch; a rank without any does not know the width.
    first = found[0]
    width = ranks.sum([0 if isinstance(first, int) else first.shape[1]], device)[0]
    rows = [
        torch.zeros(each, int(width), device=device) if isinstance(each, int) else each
        for each in found
    ]
    joined = torch.cat(rows)
    ranks.add(joined)
    return joined
