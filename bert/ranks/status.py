"""How ranks are asked to stop, and what their exit statuses mean, one by one and together."""

import signal
from collections.abc import Iterable

# A rank that gets one saves and ends with `UNFINISHED`.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

# EX_TEMPFAIL of sysexits.h: not finished, run the same command again.
UNFINISHED = 75
# EX_SOFTWARE of sysexits.h: no progress; the watchdog ended the process.
HUNG = 70


def shell_status(code: int) -> int:
    """What a shell reports for a return code of `subprocess`: 128 + n for signal n."""
    return code if code >= 0 else 128 - code


def joint_status(statuses: Iterable[int]) -> int:
    """The status of a job, from its processes' statuses in the order in which they ended.

    0 if all ended well; `UNFINISHED` if none did worse; otherwise the first failure. One that was
    ended by a signal (above 128) counts only if nothing else failed, because a launcher sends
    signals to the others when one has ended.
    """
    failures = [status for status in statuses if status != 0]
    own = [status for status in failures if status < 128]
    for group in ([status for status in own if status != UNFINISHED], own, failures):
        if group:
            return group[0]
    return 0
