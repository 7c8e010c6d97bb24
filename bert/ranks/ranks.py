"""The one door to torch.distributed: which rank is this, and what do the ranks agree on."""

import hashlib
import os
import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from bert.ranks.backends import choose_backend
from bert.ranks.launchers import find_launcher
from bert.ranks.meeting import meeting_point
from bert.ranks.status import STOP_SIGNALS


class Ranks(NamedTuple):
    """This process among all that train together.

    Every method is a meeting: all ranks call it, in the same order.
    """

    rank: int
    world: int
    local_rank: int

    def sum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Sums each value over all ranks, in double precision; the same bits on every rank."""
        if self.world == 1:
            return list(values)
        tensor = _doubles(values, device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def add(self, tensor: Tensor) -> None:
        """Makes `tensor`, which lies on the rank's device, the sum over all ranks."""
        if self.world > 1:
            dist.all_reduce(tensor)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any rank says yes; all get the same answer."""
        return self.sum([float(flag)], device)[0] > 0

    def check_same(self, what: str, value: str, device: torch.device) -> None:
        """Makes sure that all ranks run the same thing; otherwise they would hang or diverge.

        Args:
            what: Name of the value for the message, such as "the configuration".
            value: Text to compare, such as a digest.
            device: Where the ranks meet.

        Raises:
            ValueError: Some ranks have another value; every rank raises it.
        """
        all_digests = self._digests(value, device)
        (most, count), *_ = Counter(all_digests).most_common()
        odd = [rank for rank, one in enumerate(all_digests) if one != most]
        if odd:
            raise ValueError(
                f"{what} of {_name(odd)} differs from that of the other {count} "
                f"(rank {self.rank} has {value!r}); all ranks must run the same. Give every "
                "machine the same code, packages, configuration and files."
            )

    def peers(self, text: str, device: torch.device) -> list[int]:
        """Ranks that give the same text, in order, this one among them."""
        digests = self._digests(text, device)
        return [rank for rank, digest in enumerate(digests) if digest == digests[self.rank]]

    def _digests(self, text: str, device: torch.device) -> list[bytes]:
        """The digest of each rank's text."""
        digest = hashlib.sha256(text.encode()).digest()
        if self.world == 1:
            return [digest]
        mine = torch.frombuffer(bytearray(digest), dtype=torch.uint8).to(_meeting_device(device))
        tensors = [torch.empty_like(mine) for _ in range(self.world)]
        dist.all_gather(tensors, mine)
        return [bytes(tensor.tolist()) for tensor in tensors]

    def barrier(self) -> None:
        """Waits until every rank is here."""
        if self.world > 1:
            dist.barrier()


ALONE = Ranks(0, 1, 0)


def _doubles(values: Sequence[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, device=_meeting_device(device))


def _meeting_device(device: torch.device) -> torch.device:
    """Where small numbers meet: on the CPU if the group can, so that nobody waits for a device."""
    return torch.device("cpu") if "cpu:" in dist.get_backend_config() else device


def _name(ranks: list[int]) -> str:
    return ("rank " if len(ranks) == 1 else "ranks ") + ", ".join(map(str, ranks))


def find_ranks(environment: Mapping[str, str] | None = None) -> Ranks:
    """Rank, world size and local rank from the launcher's variables; (0, 1, 0) without one.

    Known are torchrun, OpenMPI's mpirun, PALS and MPICH's mpiexec (Intel MPI, too), and srun.

    Raises:
        ValueError: The variables are not a place among the ranks.
    """
    variables = os.environ if environment is None else environment
    launcher = find_launcher(variables)
    if launcher is None:
        return Ranks(0, 1, 0)
    names = (launcher.rank, launcher.world, launcher.local_rank)
    texts = [variables[names[0]], variables[names[1]], variables.get(names[2], "0")]
    if not all(text.isdigit() for text in texts) or int(texts[0]) >= int(texts[1]):
        found = ", ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
        raise ValueError(
            f"{launcher.name} set {found}; expected a rank from 0 and below the number of ranks. "
            "Start the ranks anew, or unset these variables to run alone."
        )
    return Ranks(int(texts[0]), int(texts[1]), int(texts[2]))


def join(
    ranks: Ranks, device: torch.device, *, backend: str = "auto", timeout_s: float = 600
) -> None:
    """Joins the process group. Alone, it does nothing.

    Args:
        ranks: This process.
        device: Its device.
        backend: As `runtime.launch.backend`.
        timeout_s: Seconds after which a meeting without all ranks is an error.

    Raises:
        ValueError: The launcher named no meeting point, or torch lacks the backend.
        ConnectionError: The ranks did not find each other.
    """
    if ranks.world == 1:
        return
    address, port = meeting_point(os.environ)
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address, str(port)
    try:
        dist.init_process_group(
            choose_backend(backend, device),
            rank=ranks.rank,
            world_size=ranks.world,
            timeout=timedelta(seconds=timeout_s),
        )
    except (dist.DistNetworkError, dist.DistStoreError) as error:
        raise ConnectionError(
            f"rank {ranks.rank} of {ranks.world} did not meet the others at {address} port {port}: "
            f"{str(error).splitlines()[0]} Set MASTER_ADDR to the first machine, reachable from "
            "all, and MASTER_PORT to a free port of it."
        ) from error


def leave(ranks: Ranks) -> None:
    """Waits for all ranks and leaves the process group; a last act, from the main thread.

    A launcher sends SIGTERM to the others when the first rank has ended with another status than
    0. So all that is to be written must be written before, and signals to stop are ignored from
    here on: they must not change the status of those who are about to end, too.
    """
    if ranks.world > 1:
        dist.barrier()
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        dist.destroy_process_group()
