"""Memory and throughput of this process: the numbers, and when they deserve a warning.

What is measured depends on the machine and its load, so it changes nothing but the log, and is no
part of a checkpoint.
"""

import ctypes
import os
import sys
from collections import deque
from pathlib import Path
from statistics import median

import torch

from bert.kernels.pool import give_back_pool
from bert.train.metrics import process_peak_mb

_WARM_UP = 20  # steps
_GROWTH = 1.5
_READINGS = 3  # in a row above the bound: a short peak is no growth
_SLOW = 0.5
_FEWEST, _MOST = 5, 101  # readings of the running median


def resident_mb() -> float:
    """Memory that this process holds now, in MB (10^6 bytes); its peak where there is no /proc."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return process_peak_mb()
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def give_back_memory() -> None:
    """Hands free memory back to the system: that of the pool, and glibc's.

    Streams of ragged lengths leave gaps in the heap, which glibc keeps: a process of 400 MB was
    seen at 1,700 MB after some hundred steps, and at 400 MB after this.
    """
    give_back_pool()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def peak_memory_mb(device: torch.device) -> float:
    """Most memory of what computes so far, in MB: tensors on an accelerator, else the process."""
    peak = getattr(getattr(torch, device.type, None), "max_memory_allocated", None)
    return process_peak_mb() if peak is None else peak(device) / 1e6


class Watch:
    """Compares readings with those before; each method returns a line to warn with, or None."""

    def __init__(self, step: int) -> None:
        """Begins at the first step of this process."""
        self._warm_until = step + _WARM_UP
        self._base_mb = 0.0
        self._above = 0
        self._expected: set[str] = set()
        self._speeds: deque[float] = deque(maxlen=_MOST)
        self._slow = False

    def expect_growth(self, event: str, step: int) -> None:
        """The first time something happens whose memory stays, 20 steps find the level anew.

        Args:
            event: Such as "checkpoint" (a copy of the weights) or "evaluate".
            step: Behind which it happened.
        """
        if event not in self._expected:
            self._expected.add(event)
            self._warm_until, self._base_mb, self._above = step + _WARM_UP, 0.0, 0

    def is_high(self, step: int, resident: float) -> bool:
        """Whether a reading is 50 % above the level of the first 20 steps."""
        return step >= self._warm_until and 0 < _GROWTH * self._base_mb < resident

    def memory(self, step: int, resident: float) -> str | None:
        """Warns when three readings in a row are 50 % above the level of the first 20 steps.

        The level is then that of the warning: memory that keeps growing warns again, a single
        growth does not.

        Args:
            step: Now.
            resident: As `resident_mb` reads it.
        """
        if step < self._warm_until or not self._base_mb:
            self._base_mb = max(self._base_mb, resident)
            return None
        self._above = self._above + 1 if self.is_high(step, resident) else 0
        if self._above < _READINGS:
            return None
        before, self._base_mb, self._above = self._base_mb, resident, 0
        return (
            f"memory of this process has grown from {before:,.0f} to {resident:,.0f} MB at step "
            f"{step}. If this comes again, it will run out: end the job with SIGTERM and start it "
            "again, it goes on where it was."
        )

    def speed(self, step: int, tokens_per_s: float) -> str | None:
        """Warns at the first reading of each stretch below half the running median."""
        usual = median(self._speeds) if len(self._speeds) >= _FEWEST else 0.0
        self._speeds.append(tokens_per_s)
        slow = tokens_per_s < _SLOW * usual
        first, self._slow = slow and not self._slow, slow
        if not first:
            return None
        return (
            f"throughput fell to {tokens_per_s:,.0f} tokens/s at step {step}; the median so far is "
            f"{usual:,.0f}. Look for other jobs on this machine, a slow disk, or a throttled "
            "processor."
        )
