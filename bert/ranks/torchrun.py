"""torchrun as this project's launcher runs it: on one machine, or as one machine of several.

    python -m bert.ranks.torchrun --obey-stdin <options of torchrun> <script> <arguments>

Beside plain torchrun it ends with the ranks' own status, where torchrun ends with 1; it passes
SIGTERM and SIGUSR1 on to the ranks and lets them save, where torchrun kills them after 30 seconds
(SIGTERM) or leaves them behind (SIGUSR1); and the ranks end with it, however it ends.
"""

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType
from typing import IO

import psutil
import torch
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run

from bert import leash
from bert.ranks.status import STOP_SIGNALS, UNFINISHED, joint_status, shell_status

_OBEY = "--obey-stdin"
_INTERVAL_S = 0.1
# Seconds that ranks have to end when the launcher is gone, before they are killed.
_LAST_WORDS_S = 5.0

_signals: list[int] = []  # for the ranks, in the order in which they came


def run_ranks(arguments: list[str]) -> int:
    """Starts the ranks, waits for them, and returns their joint status.

    Args:
        arguments: Of torchrun: options, script, arguments of the script.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, _remember)
    leash.follow(os.environ)
    leash.hand_over()
    # For all ranks of this machine together, as Snakemake sets it; torchrun would set 1.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    # What torchrun logs of failed ranks, `_status` says shorter.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    sent: set[tuple[int, int]] = set()
    # In a thread, because in the main thread torchrun would take the signals for itself.
    with ThreadPoolExecutor(1) as pool:
        agent = pool.submit(run, parse_args(arguments))  # type: ignore[no-untyped-call]
        while not agent.done():
            wait([agent], _INTERVAL_S)
            _pass_on(sent)
    try:
        agent.result()
    except ChildFailedError as error:
        return _status(error)
    return 0


def _remember(number: int, _frame: FrameType | None) -> None:
    _signals.append(number)


def _pass_on(sent: set[tuple[int, int]]) -> None:
    """Sends each signal to each rank of this machine once, to those that start later, too."""
    for number in list(_signals):
        for child in psutil.Process().children():
            if (child.pid, number) not in sent:
                sent.add((child.pid, number))
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.send_signal(number)


def _status(error: ChildFailedError) -> int:
    failures = sorted(error.failures.items(), key=lambda item: item[1].timestamp)
    status = joint_status(shell_status(failure.exitcode) for _, failure in failures)
    if status - 128 in _signals:
        return UNFINISHED  # asked to stop before any rank listened
    if status != UNFINISHED:
        ends = [f"rank {rank} {_describe(failure.exitcode)}" for rank, failure in failures]
        sys.stderr.write(f"the ranks ended with status {status}: {', '.join(ends)}\n")
    return status


def _describe(code: int) -> str:
    return f"with {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _obey(orders: IO[str]) -> None:
    """Takes the names of signals from a launcher on another machine, one a line.

    The end of the stream means that the launcher is gone, or wants an end.
    """
    for line in orders:
        _signals.append(signal.Signals[line.strip()])
    _signals.append(signal.SIGTERM)
    time.sleep(_LAST_WORDS_S)
    _signals.append(signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """The command line above."""
    if arguments[:1] == [_OBEY]:
        threading.Thread(target=_obey, args=[sys.stdin], daemon=True, name="orders").start()
        arguments = arguments[1:]
    return run_ranks(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
