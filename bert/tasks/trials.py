"""Trials: the runs of one task from the same weights, each with its own seed or learning rate."""

import re
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

_TRIAL = re.compile(r"(?:rate-(?P<rate>[0-9.e+-]+)\.)?seed-(?P<seed>\d+)")
RateT = TypeVar("RateT", float, float | None)


class Trial(NamedTuple):
    """What the name of a trial says.

    Attributes:
        rate: Peak learning rate, to six digits; None where the task has one rate only.
        seed: Seed.
    """

    rate: float | None
    seed: int


def parse_trial(name: str) -> Trial:
    """Reads `seed-<n>` or `rate-<rate>.seed-<n>`.

    Raises:
        ValueError: A name of another form.
    """
    found = _TRIAL.fullmatch(name)
    if found is None:
        raise ValueError(
            f"{name!r} is not the name of a trial; expected seed-<n>, or rate-<rate>.seed-<n> in a "
            "grid of learning rates."
        )
    rate = found["rate"]
    return Trial(None if rate is None else float(rate), int(found["seed"]))


def best_rate(scores: Mapping[RateT, Iterable[float]]) -> RateT:
    """The learning rate with the highest median over its seeds; of equal ones the lowest.

    Args:
        scores: Rate to the headline scores of its seeds, higher is better.
    """
    medians = {rate: statistics.median(values) for rate, values in scores.items()}
    return max(medians, key=lambda rate: (medians[rate], -(rate or 0.0)))


def scores_these(score: Mapping[str, Any], finetune: Mapping[str, Any]) -> bool:
    """Whether a score is of the predictions that the fine-tuning wrote.

    Args:
        score: Receipt of `score`.
        finetune: Receipt of `finetune`.
    """
    written = finetune["outputs"].get("predictions.json", {}).get("sha256")
    return written is not None and score["inputs"].get("predictions") == written
