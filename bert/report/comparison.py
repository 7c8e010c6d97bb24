"""What trainings have in common: how far they are equal, and which was sooner at a loss."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from bert.report.axes import ticks
from bert.report.curves import Log
from bert.report.training_run import AXES, Training
from bert.train.metrics import exact_fields

HELD_OUT = ("evaluate", "mlm_loss")
_LEVELS = 6
_FINAL_SHARE = 0.05
_SHOWN = 3
# How often a run logs is not what it learns: such lines count where both runs have them.
_LOGGED_BY_CHOICE = frozenset({"train", "evaluate"})


@dataclass(frozen=True)
class Exactness:
    """How far a training is equal to another in the exact fields of metrics.jsonl.

    Attributes:
        equal: Number of lines that both have and that are equal, up to the first difference.
        last: Phase and step of the last of them; None without any.
        difference: Where and how they first differ; None if they do not.
    """

    equal: int
    last: tuple[str, int] | None
    difference: str | None


def compare_exactly(one: Training, other: Training) -> Exactness:
    """Compares line by line, phase by phase, as far as both trainings went."""
    equal, last = 0, None
    for phase in (phase for phase in one.logs if phase in other.logs):
        mine, theirs = _exact_lines(one.logs[phase]), _exact_lines(other.logs[phase])
        end = min(one.logs[phase].last_step, other.logs[phase].last_step)
        for step, kind in sorted(mine.keys() | theirs.keys()):
            pair = mine.get((step, kind)), theirs.get((step, kind))
            if step > end or (None in pair and kind in _LOGGED_BY_CHOICE):
                continue
            found = _difference(*pair)
            if found:
                return Exactness(equal, last, f"{phase} step {step}, {kind}: {found}")
            equal, last = equal + 1, (phase, step)
    return Exactness(equal, last, None)


def _exact_lines(log: Log) -> dict[tuple[int, str], dict[str, Any]]:
    logged = [line for lines in log.lines.values() for line in lines.values()]
    exact = [exact_fields(line) for line in (*logged, *log.events)]
    return {(line["step"], line["kind"]): line for line in exact if line}


def _difference(mine: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> str:
    if mine is None or theirs is None:
        return "only one of them has it"
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    shown = [f"{name} {mine.get(name)} and {theirs.get(name)}" for name in names[:_SHOWN]]
    return ", ".join(shown) + (f", and {len(names) - _SHOWN} more" if names[_SHOWN:] else "")


def arrival(training: Training, loss: float) -> dict[str, float]:
    """Axis to the place of the first held-out evaluation at or below a loss; empty if never."""
    found = {}
    for axis in AXES:
        points = [point for points in training.curve(*HELD_OUT, axis) for point in points]
        place = next((x for x, y in points if y <= loss), None)
        if place is not None:
            found[axis] = place
    return found


def levels(trainings: Sequence[Training]) -> list[float]:
    """Some round held-out losses below every first evaluation that a run came to, highest first."""
    lines = [
        [y for points in training.curve(*HELD_OUT, "steps") for _, y in points]
        for training in trainings
    ]
    lines = [line for line in lines if line]
    if not lines:
        return []
    low, high = min(map(min, lines)), min(line[0] for line in lines)
    return sorted((y for y in ticks(low, high, _LEVELS) if low <= y < high), reverse=True)


def final(values: Sequence[float], kind: str) -> float:
    """The last of some values; of training, which scatters, the mean of the last 5 %."""
    count = math.ceil(_FINAL_SHARE * len(values)) if kind == "train" else 1
    return fmean(values[-count:])


def ended_at(log: Log, kind: str, name: str) -> float | None:
    """`final` of a logged quantity; None if it was not logged."""
    values = [value for _, value in log.values(kind, name)]
    return final(values, kind) if values else None


def typical(log: Log, name: str) -> float | None:
    """The median over the lines of training."""
    values = [value for _, value in log.values("train", name)]
    return median(values) if values else None
