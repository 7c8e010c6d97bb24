"""What a worker asks of whoever it measures."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bert.data.batches import StepBatch


class Subject(NamedTuple):
    """A model, its optimizer and a way to take a step with them."""

    device: torch.device
    described: dict[str, Any]  # what computes, for the record
    prepare: Callable[[StepBatch], Any]  # what a data loader would have ready
    step: Callable[[Any], Tensor | float]  # takes a step on what was prepared; its loss in nats
    # Seconds a step of loading and logging, after some steps; None where it is not ours to say.
    around: Callable[[], dict[str, float]] | None = None
