"""A watchdog: a rank that makes no progress says where it hangs, and ends.

A rank that waits for another one for ever would keep a whole machine without a word.
"""

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TextIO

from bert.ranks.status import HUNG

# The first step also compiles, allocates, and meets all ranks for the first time.
_FIRST = 3.0
# Seconds that a rank that only waits for others leaves to the one that they wait for.
_AFTER_YOU_S = 3.0
_MEETINGS = ("torch.distributed", "bert.ranks")
# Seconds after which the C library acts, should Python be unable to.
_FALLBACK_S = 10.0


class Watchdog:
    """Ends this process when no step is finished for some seconds."""

    def __init__(self, timeout_s: float, rank: int, log: Path | None = None) -> None:
        """Starts the watch, with three times as long for the first step.

        Args:
            timeout_s: Seconds that a step may take.
            rank: Of this process, for the message.
            log: File that gets the message, too; it always goes to standard error.
        """
        self._timeout_s, self._rank, self._log = timeout_s, rank, log
        self._step = 0
        self._times = _FIRST
        self._armed = threading.Condition()
        self._deadline = 0.0
        self._stopped = False
        self._arm()
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()

    def kick(self, step: int) -> None:
        """Says that `step` is finished."""
        self._step, self._times = step, 1.0
        self._arm()

    @contextmanager
    def longer(self, times: float) -> Iterator[None]:
        """Inside, progress may take `times` as long: for evaluations and checkpoints."""
        before, self._times = self._times, times
        self._arm()
        try:
            yield
        finally:
            self._times = before
            self._arm()

    def stop(self) -> None:
        """Ends the watch."""
        faulthandler.cancel_dump_traceback_later()
        with self._armed:
            self._stopped = True
            self._armed.notify()

    def _arm(self) -> None:
        allowed = self._timeout_s * self._times
        with self._armed:
            self._deadline = time.monotonic() + allowed
            self._armed.notify()
        # A thread that holds the interpreter's lock keeps `_watch` from running, but not this.
        faulthandler.dump_traceback_later(
            allowed + _AFTER_YOU_S + _FALLBACK_S, exit=True, file=sys.__stderr__ or 2
        )

    def _watch(self) -> None:
        while self._wait():
            waits = _waits_for_others()
            if waits:
                time.sleep(_AFTER_YOU_S)
                if self._deadline > time.monotonic():
                    continue  # they came
            if sys.__stderr__ is not None:
                self._report(sys.__stderr__, waits)
            if self._log is not None:
                with self._log.open("a", encoding="utf-8") as file:
                    self._report(file, waits)
            os._exit(HUNG)

    def _wait(self) -> bool:
        """Sleeps until the time is up; False once the watch is stopped."""
        with self._armed:
            while not self._stopped and (left := self._deadline - time.monotonic()) > 0:
                self._armed.wait(left)
            return not self._stopped

    def _report(self, file: TextIO, waits: bool) -> None:
        where = f"after step {self._step}" if self._step else "before its first step"
        what = "waits for other ranks" if waits else "makes no progress"
        file.write(
            f"rank {self._rank} {what} {where}, for {self._timeout_s * self._times:g} s now; it "
            f"ends with status {HUNG}. Its threads:\n"
        )
        file.flush()
        faulthandler.dump_traceback(file=file, all_threads=True)


def _waits_for_others() -> bool:
    """Whether the main thread is in a meeting of the ranks, so that another rank is to blame."""
    frame: FrameType | None = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_MEETINGS):
            return True
        frame = frame.f_back
    return False
