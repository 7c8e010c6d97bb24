"""A polite end: SIGTERM and SIGUSR1 ask for a checkpoint and an exit code that says "again"."""

import logging
import signal
from types import FrameType

logger = logging.getLogger(__name__)

# EX_TEMPFAIL of sysexits.h: not finished, run the same command again.
UNFINISHED = 75


class StopSignal:
    """Remembers whether this process was asked to stop."""

    def __init__(self) -> None:
        """Catches SIGTERM and SIGUSR1 from now on."""
        self.received = False
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._remember)

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self.received = True
        logger.warning("got %s; saving after this step", signal.Signals(number).name)
