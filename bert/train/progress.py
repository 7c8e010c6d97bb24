"""How far a phase is: plain numbers that go into each checkpoint."""

from collections.abc import Mapping
from typing import Any

from bert.manifest import sha256_json
from bert.train.guard import Guard
from bert.train.metrics import StepResult

_TOTALS = ("steps", "sequences", "tokens", "masked_tokens", "skipped_steps")


class Progress:
    """Counts over all steps and jobs of a phase, equal on all ranks but for `elapsed_s`.

    Attributes:
        totals: steps, sequences, tokens, masked_tokens, skipped_steps.
        elapsed_s: Training seconds, evaluating and saving not counted; rank 0's count.
        samples_digest: Changes with every instance, mask and step seen so far: two runs with equal
            digests saw the same masked instances in the same steps.
        guard: Its counts.
        finished: Whether the last step was taken, which may come early.
    """

    def __init__(self, guard: Guard) -> None:
        """The start of a phase."""
        self.totals = dict.fromkeys(_TOTALS, 0)
        self.elapsed_s = 0.0
        self.samples_digest = ""
        self.guard = guard
        self.finished = False

    @property
    def step(self) -> int:
        """Steps taken, skipped ones included."""
        return self.totals["steps"]

    def count(self, result: StepResult, batch: int) -> None:
        """Counts a finished step."""
        found = (1, batch, result.tokens, result.masked_tokens, int(result.skipped))
        for name, number in zip(_TOTALS, found, strict=True):
            self.totals[name] += number
        self.samples_digest = sha256_json([self.samples_digest, self.step, result.checksum])

    def state(self) -> dict[str, Any]:
        """Plain data for state.json."""
        return {
            "totals": self.totals.copy(),
            "elapsed_s": self.elapsed_s,
            "samples_digest": self.samples_digest,
            "guard": self.guard.state(),
            "finished": self.finished,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.totals = {name: int(state["totals"][name]) for name in _TOTALS}
        self.elapsed_s = float(state["elapsed_s"])
        self.samples_digest = str(state["samples_digest"])
        self.guard.load(state["guard"])
        self.finished = bool(state["finished"])
