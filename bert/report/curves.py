"""What pretraining logged (`metrics.jsonl`), and its values as lines to draw.

One JSON object a line; kinds, names and units stand in docs/training.md. "train" and "evaluate"
lines are drawn, the others are events. A value may be null where it does not exist: no
next-sentence task, no known peak of the device. A step that was logged again after a restart
counts once, as logged last.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KINDS = ("train", "evaluate")


class LogError(ValueError):
    """A training log that is missing, empty, or has a line of another form."""


@dataclass(frozen=True)
class Log:
    """The log of one phase.

    Attributes:
        lines: Kind to step to the logged values, steps ascending.
        events: Lines of other kinds, which are not drawn, in their order.
    """

    lines: Mapping[str, Mapping[int, Mapping[str, Any]]]
    events: Sequence[Mapping[str, Any]]

    def count(self, kind: str) -> int:
        """Number of events of a kind."""
        return sum(event["kind"] == kind for event in self.events)

    @property
    def last_step(self) -> int:
        """The highest step that was logged."""
        return max(step for lines in self.lines.values() for step in lines)

    def values(self, kind: str, name: str) -> list[tuple[int, float]]:
        """Step and value of one quantity, where it has a value."""
        found = [(step, line.get(name)) for step, line in self.lines[kind].items()]
        return [(step, float(value)) for step, value in found if value is not None]


@dataclass(frozen=True)
class Stroke:
    """A line to draw, thinned: each point stands for a group of neighbouring logged steps.

    Attributes:
        middle: x and mean of each group.
        low: Lowest value of each group.
        high: Highest value of each group.
    """

    middle: list[tuple[float, float]]
    low: list[float]
    high: list[float]


def read_log(file: Path) -> Log:
    """Reads the training log of a phase.

    Raises:
        FileNotFoundError: It is missing; names the rule.
        LogError: A line is not JSON, has no step, or has a number that is not finite; or no
            training step is in the file.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file} is missing; the rule `pretrain` writes it.")
    lines: dict[str, dict[int, dict[str, Any]]] = {kind: {} for kind in _KINDS}
    events: list[dict[str, Any]] = []
    with file.open(encoding="utf-8") as stream:
        for number, text in enumerate(stream, start=1):
            line = _parse(text, f"{file}, line {number}")
            if line["kind"] in lines:
                lines[line["kind"]][line["step"]] = line
            else:
                events.append(line)
    if not lines["train"]:
        raise LogError(f"{file} has no line of kind 'train'; run the rule `pretrain` again.")
    return Log({kind: dict(sorted(found.items())) for kind, found in lines.items()}, events)


def curve_table(logs: Mapping[str, Log], kind: str) -> str:
    """All logged values of one kind as CSV, phases one after the other on one axis of steps.

    Columns: phase, step (counted on through the phases), then the logged quantities.
    """
    names = sorted({name for log in logs.values() for line in log.lines[kind].values()
                    for name in line if name not in {"kind", "step"}})  # fmt: skip
    rows, before = [["phase", "step", *names]], 0
    for phase, log in logs.items():
        for step, line in log.lines[kind].items():
            values = ["" if line.get(name) is None else str(line[name]) for name in names]
            rows.append([phase, str(before + step), *values])
        before += log.last_step
    return "".join(",".join(row) + "\n" for row in rows)


def thin(points: Sequence[tuple[float, float]], limit: int) -> Stroke:
    """Groups points so that at most `limit` are drawn; no value is dropped, all are in a group.

    Args:
        points: x and y, x ascending.
        limit: Highest number of groups, 1 or more.
    """
    per_group = max(1, math.ceil(len(points) / limit))
    groups = [points[i : i + per_group] for i in range(0, len(points), per_group)]
    return Stroke(
        middle=[(_mean([x for x, _ in g]), _mean([y for _, y in g])) for g in groups],
        low=[min(y for _, y in group) for group in groups],
        high=[max(y for _, y in group) for group in groups],
    )


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        line = json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise LogError(f"{where} is not JSON ({error}); run the rule `pretrain` again.") from None
    if not isinstance(line, dict) or "kind" not in line or not isinstance(line.get("step"), int):
        raise LogError(
            f"{where} is {text.strip()[:80]!r}; expected an object with `kind` and a whole `step`. "
            "Run the rule `pretrain` again."
        )
    return line


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a finite number")


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
