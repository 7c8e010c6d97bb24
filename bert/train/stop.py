"""A polite end of a job: by a signal, by its time, or by its steps; then it can be started again.

SIGTERM and SIGUSR1 ask for a checkpoint and an exit code that says "again"; so do the limits of
section `runtime.stop`.
"""

import logging
import signal
import time
from types import FrameType

from bert.train.config import StopConfig

logger = logging.getLogger(__name__)


class StopSignal:
    """Remembers whether this process was asked to stop, and knows its limits."""

    def __init__(self, config: StopConfig) -> None:
        """Catches SIGTERM and SIGUSR1, and counts the minutes, from now on."""
        self.received = False
        self._config = config
        self._start = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._remember)

    def asked(self, steps: int) -> bool:
        """Whether to save and end, after `steps` steps of this job."""
        minutes = (time.monotonic() - self._start) / 60
        out_of_time = self._config.minutes is not None and minutes >= self._config.minutes
        out_of_steps = self._config.steps is not None and steps >= self._config.steps
        return self.received or out_of_time or out_of_steps

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.received = True
        logger.warning("got %s; saving after this step", signal.Signals(number).name)
