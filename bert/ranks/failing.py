"""How a rank fails: loudly if it is to blame, in one line if it only lost another rank."""

import logging
import os
import re
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist

from bert.ranks.ranks import Ranks

logger = logging.getLogger(__name__)

# What gloo, NCCL and the store say on a rank whose partner has gone.
_LOST = re.compile(
    r"connection (was )?(closed|reset|refused)|closed the connection|broken pipe|remote process"
    r" exited|communicator was aborted|timed out|timeout|recvbytes|sendbytes",
    re.IGNORECASE,
)
# Seconds that a rank which lost another one waits, so that the other's traceback stands first.
_AFTER_YOU_S = 2.0


@contextmanager
def failing(ranks: Ranks, log: Path | None = None) -> Iterator[None]:
    """Ends this process at once, with status 1, when the body raises on one of several ranks.

    The traceback goes to the log records (standard error, and rank 0's log file); a later rank
    adds it to `log`. A rank that lost another one says so in one line, some seconds later. Nobody
    waits in the process group for ranks that are gone. Exits (SystemExit, KeyboardInterrupt) pass,
    and so does everything when there is one rank.

    Args:
        ranks: This process among the others.
        log: The log file of the job, which only rank 0 writes otherwise.
    """
    try:
        yield
    except Exception as error:
        if ranks.world == 1:
            raise
        _report(ranks, error, log)
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def lost_another_rank(error: BaseException) -> bool:
    """Whether the error says that a partner in a meeting of the ranks has gone or is too late."""
    return (
        dist.is_initialized()
        and isinstance(error, RuntimeError)
        and _LOST.search(str(error)) is not None
    )


def _report(ranks: Ranks, error: Exception, log: Path | None) -> None:
    who = f"rank {ranks.rank} of {ranks.world} on {socket.gethostname()}"
    if lost_another_rank(error):
        time.sleep(_AFTER_YOU_S)
        # gloo puts a place in its source before, and advice behind.
        reason = re.sub(r"^\[[^]]*\]\s*", "", str(error).strip()).splitlines()[0].split(". ")[0]
        logger.error("%s lost another rank, which tells why if it could: %s", who, reason)
        return
    logger.error("%s failed", who, exc_info=error)
    if log is not None and ranks.rank != 0:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{who} failed\n{''.join(traceback.format_exception(error))}")
