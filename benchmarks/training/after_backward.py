"""How much of a step comes after its backward pass: norm, clipping, and the optimizer's step."""

import time
from collections.abc import Callable
from typing import Any

import torch


def watch_backward(device: torch.device) -> Callable[[], float | None]:
    """Watches every `Tensor.backward` of this process from now on.

    Returns:
        A function to be called at the end of a step: waits for the device, and tells the seconds
        since the end of the step's last backward pass; None if there was none.
    """
    marks: list[Any] = []
    backward = torch.Tensor.backward

    def watched(self: torch.Tensor, *arguments: Any, **options: Any) -> None:
        backward(self, *arguments, **options)
        marks.append(_mark(device))

    torch.Tensor.backward = watched

    def end() -> float | None:
        last = _mark(device)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        found = _between(marks[-1], last) if marks else None
        marks.clear()
        return found

    return end


def _mark(device: torch.device) -> Any:
    """A moment: of the clock, or on a GPU of its stream, which nobody waits for."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between(first: Any, last: Any) -> float:
    return last - first if isinstance(first, float) else first.elapsed_time(last) / 1e3
