"""The gate: a task whose scores are no better than those of no learning fails the run.

A checkpoint that was not loaded scores what its task's majority class scores, to the last digit;
without a gate such a number passes for a result.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bert.config import Section, knob
from bert.tasks.trials import best_rate, parse_trial

Against = Literal["no_learning", "random"]

_WORDS: Mapping[Against, str] = {"no_learning": "no learning", "random": "random weights"}
# Two roundings of one score differ by less.
_SAME = 1e-9
_ONE_ANSWER = (
    "This is the score of a network that answers alike for every example. The checkpoint was "
    "probably not loaded: see the log of finetune. A learning rate that is too high, or AdamW "
    "without bias correction on few steps, does the same to single seeds."
)
_WORSE = (
    "It is worse than no learning: labels or files may be of other data, or training diverged. See "
    "the loss in the metrics.jsonl of finetune."
)
_NOTHING_GAINED = (
    "The pretrained weights bring nothing: the checkpoint was probably not loaded (see the log of "
    "finetune), or pretraining learnt nothing (see its held-out loss)."
)
_TOO_CLOSE = "It is above, but by less than `gate.margin`; more training or a lower margin passes."


class GateConfig(Section):
    """Section `gate`: what the median over the seeds must be above."""

    action: Literal["fail", "warn"] = knob(
        "A task that does not pass fails the run, after the report, or is only reported."
    )
    against: list[Against] = knob(
        "What the task's headline score from pretrained weights must be above: the score of no "
        "learning (the majority class and its like), the median from random weights (where "
        "`starts` has them)."
    )
    margin: float = knob("Percentage points that it must be above by.", ge=0)


class GateError(ValueError):
    """A task that does not pass, or scores that cannot be judged."""


@dataclass(frozen=True)
class Verdict:
    """A task's headline score beside what it must be above; scores in percent.

    Attributes:
        task: Name of the task.
        metric: Its headline metric.
        score: Median over the seeds of the best rate, from pretrained weights.
        seeds: Number of these seeds.
        learning_rate: The best rate of a grid; None without a grid.
        limits: What the score must be above, by name.
        margin: Percentage points that it must be above by.
        one_answer: How many of the seeds have exactly the score of no learning.
    """

    task: str
    metric: str
    score: float
    seeds: int
    learning_rate: float | None
    limits: Mapping[Against, float]
    margin: float
    one_answer: int

    @property
    def failed(self) -> list[Against]:
        """The limits that the score is not above by the margin."""
        return [n for n, limit in self.limits.items() if self.score - limit - self.margin <= _SAME]

    @property
    def passed(self) -> bool:
        """Whether the score is above all limits by the margin."""
        return not self.failed

    @property
    def words(self) -> str:
        """The verdict in a sentence or two, with its numbers and the likely cause of a failure."""
        rate = "" if self.learning_rate is None else f" at learning rate {self.learning_rate:g}"
        runs = "1 seed" if self.seeds == 1 else f"median of {self.seeds} seeds"
        score = f"{self.metric} {self.score:.2f} from pretrained weights ({runs}{rate})"
        if not self.limits:
            return f"{score} is compared with nothing."
        shown = self.failed or list(self.limits)
        above = " and ".join(f"{self.limits[name]:.2f} of {_WORDS[name]}" for name in shown)
        margin = f" by more than {self.margin:g} points" if self.margin else ""
        if self.passed:
            return f"{score} is above {above}{margin}."
        return f"{score} is not above {above}{margin}. {self._cause()}"

    def _cause(self) -> str:
        if "no_learning" in self.failed and self.one_answer:
            count = "" if self.seeds == 1 else f"{self.one_answer} of {self.seeds} seeds: "
            return f"{count}{self.limits['no_learning']:.2f} exactly. {_ONE_ANSWER}"
        if all(self.score - self.limits[name] > _SAME for name in self.failed):
            return _TOO_CLOSE
        return _WORSE if "no_learning" in self.failed else _NOTHING_GAINED


def judge(task: str, receipts: Sequence[Mapping[str, Any]], config: GateConfig) -> Verdict:
    """Compares the scores of a task with those of no learning and of random weights.

    Args:
        task: Name of the task.
        receipts: Its score receipts, of all trials from all starts.
        config: What to compare with.

    Raises:
        GateError: Receipts of another task, metric or dev data, or none from pretrained weights.
    """
    metric = _headline(task, receipts)
    starts: dict[str, dict[float | None, list[float]]] = {}
    for receipt in receipts:
        rates = starts.setdefault(receipt["start"], {})
        rate = parse_trial(receipt["trial"]).rate
        rates.setdefault(rate, []).append(float(receipt["metrics"][metric]))
    if "pretrained" not in starts:
        raise GateError(
            f"{task} has scores from {', '.join(sorted(starts))} weights only; the gate judges "
            "those from pretrained ones. Add pretrained to the task's `starts`."
        )
    floor = _floor(task, [float(receipt["baseline"][metric]) for receipt in receipts])
    limits: dict[Against, float] = {"no_learning": floor}
    if "random" in starts:
        limits["random"] = _best(starts["random"])[1]
    rate, score = _best(starts["pretrained"])
    values = starts["pretrained"][rate]
    return Verdict(
        task=task,
        metric=metric,
        score=score,
        seeds=len(values),
        learning_rate=rate,
        limits={name: limits[name] for name in config.against if name in limits},
        margin=config.margin,
        one_answer=sum(abs(value - floor) <= _SAME for value in values),
    )


def _best(rates: Mapping[float | None, list[float]]) -> tuple[float | None, float]:
    """The best rate and its median."""
    rate = best_rate(rates)
    return rate, statistics.median(rates[rate])


def _floor(task: str, baselines: Sequence[float]) -> float:
    """The one score of no learning, which the dev data alone decide."""
    if max(baselines) - min(baselines) > _SAME:
        raise GateError(
            f"the scores of {task} state {min(baselines):.2f} to {max(baselines):.2f} for no "
            "learning; expected one number, that of the same dev data. Run the rule `score` again "
            "for all trials."
        )
    return baselines[0]


def _headline(task: str, receipts: Sequence[Mapping[str, Any]]) -> str:
    """The one headline metric of the receipts, which each of them has, baseline included."""
    found = {(str(r["task"]), str(r["headline"])) for r in receipts}
    names = {name for _, name in found}
    if len(found) != 1 or {name for name, _ in found} != {task}:
        raise GateError(
            f"the scores to judge for {task} are of (task, headline) {sorted(found)}; expected "
            f"those of {task}, with one headline. Run the rule `score` again."
        )
    (metric,) = names
    if any(metric not in receipt[part] for receipt in receipts for part in ("metrics", "baseline")):
        raise GateError(
            f"a score of {task} has no {metric} in its metrics or its baseline; expected the "
            "headline in both. Run the rule `score` again."
        )
    return metric
