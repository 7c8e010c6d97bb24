"""Dynamic loss scaling: keeps small gradients inside the range of fp16.

The loss is multiplied by the scale before the backward pass and the gradients are divided by it
after they are summed. A gradient that is not finite says that the scale was too large: the step is
skipped and the scale halved. After 2,000 steps without that it is doubled. The scale is a power of
two, so that nothing is rounded. Source: Micikevicius et al., 2018; torch.amp.GradScaler, whose
values it has, but which waits for the device itself and lets the scale fall to 0.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

FIRST = 2.0**16
GROWTH = 2.0
BACKOFF = 0.5
CLEAN_STEPS = 2000
FLOOR = 1.0


class LossScaleError(RuntimeError):
    """Gradients are not finite for another reason than fp16's range."""


class LossScale:
    """The scale and how many steps in a row were clean; plain numbers, equal on all ranks."""

    def __init__(self) -> None:
        """Starts at 65,536."""
        self.value = FIRST
        self._clean_steps = 0

    @property
    def is_lowest(self) -> bool:
        """Whether a gradient that is not finite cannot be the scale's doing any more."""
        return self.value * BACKOFF < FLOOR

    @torch.no_grad()
    def unscale_(self, gradients: Iterable[Tensor]) -> None:
        """Divides the gradients by the scale in place; one that is not finite stays so."""
        gradients = list(gradients)
        if gradients:
            torch._foreach_mul_(gradients, 1 / self.value)

    def update(self, overflowed: bool) -> None:
        """Moves the scale after a step.

        Args:
            overflowed: Whether a gradient was not finite on any rank, so the step was skipped.

        Raises:
            LossScaleError: The scale would fall below 1; it stays at 1.
        """
        if not overflowed:
            self._clean_steps += 1
            if self._clean_steps == CLEAN_STEPS:
                self.value *= GROWTH
                self._clean_steps = 0
            return
        self._clean_steps = 0
        if self.is_lowest:
            raise LossScaleError(
                f"The gradients are not finite at a loss scale of {self.value:g}, where fp16's "
                "range is not the cause. Lower learning_rate or max_grad_norm, or set "
                "runtime.precision to bf16 or fp32, whose gradients need no scale."
            )
        self.value *= BACKOFF

    def state(self) -> dict[str, float]:
        """Plain numbers for state.json."""
        return {"value": self.value, "clean_steps": self._clean_steps}

    def load(self, state: dict[str, float]) -> None:
        """Goes on from what `state` gave."""
        self.value, self._clean_steps = float(state["value"]), int(state["clean_steps"])
