"""When a fine-tuning run is scored on the dev data, which weights were best, and when it ends."""

import math
from typing import NamedTuple

from bert.train.finetune_config import EarlyStopping


class Standing(NamedTuple):
    """The scores so far."""

    score: float | None = None  # the best one, percent; None before the first
    step: int = 0  # after which it was reached; of equal ones the earliest
    worse: int = 0  # scores since then, in a row, that were no better


def due(before: int, after: int, num_features: int, config: EarlyStopping) -> bool:
    """Whether the weights are scored after a step, which reaches or crosses a multiple of `every`.

    Args:
        before: Features that the run had seen before the step.
        after: And with it.
        num_features: Of an epoch.
        config: Section `early_stopping`.
    """
    # In millionths of an epoch: floating point has no tenth, and 10 times 0.1 is to be 1.
    distance = max(1, round(config.every * 1_000_000)) * num_features
    return after * 1_000_000 // distance > before * 1_000_000 // distance


def judge(standing: Standing, step: int, score: float) -> Standing:
    """The standing after another score.

    Raises:
        ValueError: The score is not finite.
    """
    if not math.isfinite(score):
        raise ValueError(
            f"the dev score after step {step} is {score}; expected a number. The task's metric is "
            "not defined for these predictions or dev data; set early_stopping to null."
        )
    if standing.score is None or score > standing.score:
        return Standing(score, step, 0)
    return standing._replace(worse=standing.worse + 1)


def is_over(standing: Standing, config: EarlyStopping | None) -> bool:
    """Whether training ends before its last step."""
    return config is not None and standing.worse >= config.patience
