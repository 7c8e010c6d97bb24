"""One workflow a results folder, and jobs that end with the workflow that started them.

A Snakemake that is killed with SIGKILL cannot stop its jobs; they would go on writing beside those
of the next start. So the workflow leaves its host name and process id in the environment, and every
script watches that process.
"""

import errno
import fcntl
import logging
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import IO

_HELD: list[IO[str]] = []  # open files keep their locks

logger = logging.getLogger(__name__)

_VARIABLE = "BERT_WORKFLOW"
_INTERVAL_S = 0.5
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


class LockedError(OSError):
    """Another workflow is working on the same results."""


def lock(folder: Path) -> None:
    """Locks a results folder for this process until it ends, however it ends.

    Snakemake's own lock stays behind when Snakemake is killed, and must then be removed by hand.
    Some shared file systems have no locks; there a warning says so, and nothing is locked.

    Raises:
        LockedError: Another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise LockedError(
            f"Another snakemake is working on {folder}; wait for it, stop it, or give this one its "
            "own folder: --config run=<name>."
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        logger.warning("cannot lock %s (%s); start no second snakemake on it", folder, error)
    _HELD.append(file)


def hand_over(environment: MutableMapping[str, str] = os.environ) -> None:
    """Gives the jobs that this process starts its interpreter, and its name to follow.

    A Snakemake that was called by its path, without activating its environment, would otherwise
    run the scripts with whatever `python` is first in PATH.
    """
    here = str(Path(sys.executable).parent)
    environment["PATH"] = os.pathsep.join(filter(None, [here, environment.get("PATH")]))
    environment[_VARIABLE] = f"{socket.gethostname()}:{os.getpid()}"


def follow(
    environment: MutableMapping[str, str], end: Callable[[int], None] = os._exit
) -> threading.Thread | None:
    """Watches the workflow named in `environment`, and ends this process when it is gone.

    A process on another host (a rank that srun started) cannot watch it and does not.

    Args:
        environment: Usually os.environ.
        end: Called with exit status 1; it must not return.

    Returns:
        The watching thread, or None if there is nothing to watch.
    """
    host, _, number = environment.get(_VARIABLE, "").rpartition(":")
    if host != socket.gethostname() or not number.isdigit():
        return None

    def watch() -> None:
        while _is_running(int(number)):
            time.sleep(_INTERVAL_S)
        logger.error("the workflow that started this job is gone; ending")
        end(1)

    thread = threading.Thread(target=watch, daemon=True, name="leash")
    thread.start()
    return thread


def follow_parent() -> threading.Thread | None:
    """Ends this process when the process whose pool it works for is gone; returns the watcher.

    A pool's worker otherwise outlives a parent that was killed: it goes on with what was queued,
    into the folder of the next start, and then waits for ever. None outside such a worker.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return None

    def watch() -> None:
        parent.join()
        os._exit(1)

    thread = threading.Thread(target=watch, daemon=True, name="leash")
    thread.start()
    return thread


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
