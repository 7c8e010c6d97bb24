"""What to do about a step whose loss or gradient is not finite, and about a loss that jumps.

Decisions only: no tensor, no file, no clock. Each is a function of the results of the steps so
far, which are equal on all ranks, so the ranks need not agree on anything.

Why a kill at any moment changes nothing: a running checkpoint holds `Guard.state`, and none is
written while skipped steps stand in a row. A run killed after a rollback, before its next
checkpoint, starts again from the checkpoint that it had gone back to, or one as old. It then meets
the same steps, which fail again bit for bit, and goes back again. From the next checkpoint on the
number of rollbacks, and with it the learning rate, is part of the state.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from bert.train.config import GuardConfig

_WARM_UP = 20  # steps before a loss can be a spike
_MEMORY = 100  # steps: the running mean decays by 1 - 1 / 100 = 0.99 a step


class NonFiniteError(RuntimeError):
    """Training cannot go on: loss or gradient stayed infinite or NaN."""


class Verdict(Enum):
    """What follows a step."""

    OK = "ok"
    SKIP = "skip"  # leave weights and moments as they were and take the next batch
    ROLLBACK = "rollback"
    STOP = "stop"


class Spike(NamedTuple):
    """A loss that is far above its running mean, both in nats."""

    loss: float
    running_mean: float

    def message(self, step: int) -> str:
        """One line for the log."""
        ratio = self.loss / self.running_mean
        return (
            f"loss spike at step {step}: {self.loss:.4g} is {ratio:.1f} times the running mean of "
            f"{self.running_mean:.4g}. If it does not come down again, lower learning_rate."
        )


class Guard:
    """The guard of one phase."""

    def __init__(self, config: GuardConfig) -> None:
        """Starts with the first step of a phase."""
        self._config = config
        self._skipped = 0  # in a row, up to now
        self._first_skipped = 0  # the step that opened the row
        self._rollbacks = 0
        self._steps = 0  # with a finite loss
        self._mean = 0.0
        self._spiking = False

    @property
    def rollbacks(self) -> int:
        """Rollbacks of this phase."""
        return self._rollbacks

    @property
    def learning_rate_factor(self) -> float:
        """Factor on the learning rate of every step from here on."""
        return self._config.rollback_factor**self._rollbacks

    @property
    def skipped(self) -> int:
        """Steps skipped in a row up to now. A running checkpoint is written only while it is 0."""
        return self._skipped

    def judge(
        self, step: int, loss: float, gradient_norm: float, expected_overflow: bool
    ) -> Verdict:
        """Decides about a finished step, whose update was left out if a number is not finite.

        Args:
            step: Its number; ascending, but for rollbacks.
            loss: Of the whole batch.
            gradient_norm: Of the summed and unscaled gradient, before clipping.
            expected_overflow: Whether fp16's loss scale could still be lowered, so that an
                infinite gradient is its way to find the right one. Such a step is skipped, but not
                counted. A loss that is not finite is never expected: the scale comes after it.
        """
        if math.isfinite(loss) and math.isfinite(gradient_norm):
            self._skipped = 0
            return Verdict.OK
        if expected_overflow and math.isfinite(loss):
            return Verdict.SKIP
        if not self._skipped:
            self._first_skipped = step
        self._skipped += 1
        if self._skipped <= self._config.max_skipped:
            return Verdict.SKIP
        may_roll_back = self._rollbacks < self._config.max_rollbacks
        if self._config.then == "rollback" and may_roll_back:
            return Verdict.ROLLBACK
        return Verdict.STOP

    def report_due(self, verdict: Verdict) -> bool:
        """Whether the step just judged gets a diagnostic report: first in a row, last of all."""
        return self._skipped == 1 or verdict in (Verdict.ROLLBACK, Verdict.STOP)

    def message(self, verdict: Verdict, step: int, loss: float, gradient_norm: float) -> str:
        """One line for the log about a step that was not OK."""
        values = f"step {step} has loss {loss:.7g} and gradient norm {gradient_norm:.7g}"
        if not self._skipped:
            return f"{values}: skipped, the loss scale is lowered"
        row = f"{self._skipped} in a row, {self._config.max_skipped} may be skipped"
        done = {
            Verdict.SKIP: "skipped",
            Verdict.ROLLBACK: f"rollback {self._rollbacks + 1} of {self._config.max_rollbacks}",
            Verdict.STOP: "stopped",
        }
        return f"{values}: {done[verdict]} ({row})"

    def error(self, step: int, loss: float, gradient_norm: float, report: Path) -> NonFiniteError:
        """What to raise after STOP.

        Args:
            step: The step just judged.
            loss: As given to `judge`.
            gradient_norm: As given to `judge`.
            report: Folder of its diagnostic report.
        """
        tried = f" and {self._rollbacks} rollbacks" if self._rollbacks else ""
        return NonFiniteError(
            f"Step {step} has loss {loss:.7g} and gradient norm {gradient_norm:.7g}; both must be "
            f"finite. It is the {self._skipped}. such step in a row, from step "
            f"{self._first_skipped} on; guard.max_skipped is {self._config.max_skipped}. Stopped "
            f"after {self._skipped - 1} skipped steps{tried}, with the weights of step "
            f"{self._first_skipped - 1}. {report} holds the instances, losses and statistics. If "
            "one instance is at fault, repair the data; else lower learning_rate or "
            "optimizer.max_grad_norm, lengthen the warm-up, use precision bf16 or fp32, or let "
            "guard.then be rollback."
        )

    def spike(self, loss: float) -> Spike | None:
        """Takes the loss of a step that was OK; a Spike at the first step of each high stretch.

        The running mean is that of all losses up to the 100th, then exponential with decay 0.99. A
        spike enters it like any loss, so that a loss that stays high becomes the new mean.
        """
        mean, limit = self._mean, self._config.spike
        high = limit is not None and self._steps >= _WARM_UP and loss > limit * mean
        found = Spike(loss, mean) if high and not self._spiking else None
        self._spiking = high
        self._steps += 1
        self._mean += (loss - mean) / min(self._steps, _MEMORY)
        return found

    def state(self) -> dict[str, float]:
        """Plain numbers for a checkpoint's state.json."""
        return {
            "skipped": self._skipped,
            "first_skipped": self._first_skipped,
            "rollbacks": self._rollbacks,
            "steps": self._steps,
            "mean": self._mean,
            "spiking": int(self._spiking),
        }

    def load(self, state: Mapping[str, float]) -> None:
        """Takes over what `state` gave."""
        self._skipped = int(state["skipped"])
        self._first_skipped = int(state["first_skipped"])
        self._rollbacks = int(state["rollbacks"])
        self._steps = int(state["steps"])
        self._mean = float(state["mean"])
        self._spiking = bool(state["spiking"])

    def roll_back(self, state: Mapping[str, float] | None) -> None:
        """Goes back with the run, and counts it.

        Args:
            state: Of the checkpoint that the run goes back to; None for the phase's start. Its
                number of rollbacks is not taken over: going back twice to one checkpoint is two.
        """
        rollbacks = self._rollbacks + 1
        self.load(state if state is not None else Guard(self._config).state())
        self._skipped, self._rollbacks = 0, rollbacks


def rollback_step(saved: Iterable[int], scheduled: Callable[[int], bool]) -> int | None:
    """The step to go back to: of the newest checkpoint of the schedule; None = the phase's start.

    Checkpoints that were written only because a job was ended are passed over, as the moment at
    which a job is ended must not change the result.

    Args:
        saved: Steps of the running checkpoints.
        scheduled: Whether the schedule asks for a checkpoint at a step.
    """
    return max((step for step in saved if scheduled(step)), default=None)
