"""Where the ranks of a machine run: each on cores of its own, with one thread a physical core.

Memory follows by itself, because Linux takes a page from the NUMA node of the thread that writes it
first. The second hardware threads of the cores are left to those that compute little: the loader,
gloo, the writer of checkpoints. torch's threads wait for each other many times in a layer, so one
that shares its core with another delays all.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Collection
from pathlib import Path

import torch

from bert.ranks.config import LaunchConfig
from bert.ranks.ranks import Ranks
from bert.ranks.topology import allowed_cpus, divide, format_list, read_cores, words

logger = logging.getLogger(__name__)


def share_threads() -> None:
    """Divides the threads that this job was given among the ranks that share its machine.

    Snakemake sets OMP_NUM_THREADS to the threads of the whole job, for every rank alike. Call it
    before anything computes.
    """
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    given = os.environ.get("OMP_NUM_THREADS")
    if given and ranks > 1:
        torch.set_num_threads(max(1, int(given) // ranks))


def place(config: LaunchConfig, ranks: Ranks, device: torch.device) -> None:
    """Binds this rank to its share of the cores, as `runtime.launch.bind` says; a meeting.

    Ranks that may run on the same CPUs of the same machine divide them. Those that a launcher has
    bound already, each to CPUs of its own, stay there. Threads become at most one a physical core.
    Nothing happens where the system tells nothing of CPUs (macOS).

    Args:
        config: Whether to bind.
        ranks: All; they have joined.
        device: Where they meet.

    Raises:
        OSError: The system refuses.
    """
    allowed = allowed_cpus()
    if config.bind == "none" or allowed is None:
        return
    peers = ranks.peers(f"{socket.gethostname()} {sorted(allowed)}", device)
    cores = read_cores(allowed)
    shares = divide(cores, len(peers))
    if not all(shares):
        torch.set_num_threads(1)
        if ranks.rank == peers[0]:
            logger.warning(
                "more ranks (%d) than cores (%d, %s): none is bound, and each has one thread; "
                "lower runtime.launch.processes",
                len(peers), len(cores), words(cores),
            )  # fmt: skip
        return
    own = shares[peers.index(ranks.rank)]
    torch.set_num_threads(min(torch.get_num_threads(), len(own)))
    if len(peers) > 1:
        bind({cpu for core in own for cpu in core.cpus})
    each = [f"rank {peer}: {words(share)}" for peer, share in zip(peers, shares, strict=True)]
    logger.info("threads of a rank: %d; %s", torch.get_num_threads(), "; ".join(each))


def bind(cpus: Collection[int]) -> None:
    """Moves all threads of this process to these CPUs; those that start later follow.

    Raises:
        OSError: The system refuses.
    """
    for thread in Path("/proc/self/task").iterdir():
        try:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.sched_setaffinity(int(thread.name), cpus)
        except OSError as error:
            raise OSError(
                f"runtime.launch.bind is numa, but this system does not let the process run on "
                f"CPUs {format_list(cpus)} ({error.strerror}); write none, or let the launcher "
                "bind the ranks."
            ) from error
