"""The one door to torch.distributed: which rank is this, and what do the ranks agree on."""

import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

# (rank, world size, local rank) as torchrun, srun and OpenMPI's mpirun name them.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
)
_BUCKET_ELEMENTS = 25 * 1024 * 1024 // 4


class Ranks(NamedTuple):
    """This process among all that train together."""

    rank: int
    world: int
    local_rank: int

    def sum(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Sums each value over all ranks, in double precision."""
        if self.world == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor.tolist()]

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether any rank says yes; all get the same answer."""
        return self.sum([float(flag)], device)[0] > 0

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Adds up the gradients of all ranks in place, in buckets of 25 MB.

        A parameter without a gradient on this rank contributes zeros, so that the ranks always
        make the same calls.
        """
        if self.world == 1:
            return
        bucket: list[Tensor] = []
        size = 0
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            bucket.append(parameter.grad)
            size += parameter.grad.numel()
            if size >= _BUCKET_ELEMENTS:
                _sum_bucket(bucket)
                bucket, size = [], 0
        _sum_bucket(bucket)

    def barrier(self) -> None:
        """Waits until every rank is here."""
        if self.world > 1:
            dist.barrier()


def _sum_bucket(gradients: list[Tensor]) -> None:
    if not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view_as(gradient))


def find_ranks(environment: dict[str, str] | None = None) -> Ranks:
    """Rank, world size and local rank from the launcher's variables; (0, 1, 0) without one."""
    variables = os.environ if environment is None else environment
    for rank, world, local in _LAUNCHERS:
        if rank in variables and world in variables:
            return Ranks(int(variables[rank]), int(variables[world]), int(variables.get(local, 0)))
    return Ranks(0, 1, 0)


def join(ranks: Ranks, device: torch.device, *, timeout_s: float = 600) -> None:
    """Joins the process group: nccl on CUDA, gloo elsewhere. Alone, it does nothing.

    Raises:
        ValueError: The launcher named no meeting point.
    """
    if ranks.world == 1:
        return
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        raise ValueError(
            f"{ranks.world} ranks were started without {' and '.join(missing)}; start them with "
            "torchrun, or set both variables to the address and a free port of the first node."
        )
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        rank=ranks.rank,
        world_size=ranks.world,
        timeout=timedelta(seconds=timeout_s),
    )


def leave(ranks: Ranks) -> None:
    """Leaves the process group."""
    if ranks.world > 1:
        dist.destroy_process_group()
