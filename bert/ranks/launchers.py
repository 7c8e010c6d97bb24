"""Who started this process, and which place it was given: read from the launcher's variables."""

import re
from collections.abc import Mapping
from typing import NamedTuple


class Launcher(NamedTuple):
    """A launcher by the names of the variables that it sets for each process."""

    name: str
    rank: str
    world: str
    local_rank: str
    local_world: str


# The first that matches wins, so inner launchers stand first: srun starts torchrun or mpirun, and
# those start the ranks. The variables of srun are those of a step: a batch script has SLURM_PROCID
# and SLURM_NTASKS, too, but is one process.
_LAUNCHERS = (
    Launcher("torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    Launcher(
        "mpirun",  # OpenMPI
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        "OMPI_COMM_WORLD_LOCAL_SIZE",
    ),
    Launcher("PALS", "PALS_RANKID", "PMI_SIZE", "PALS_LOCAL_RANKID", "PALS_LOCAL_SIZE"),
    Launcher("MPICH", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
    Launcher(
        "srun",
        "SLURM_PROCID",
        "SLURM_STEP_NUM_TASKS",
        "SLURM_LOCALID",
        "SLURM_STEP_TASKS_PER_NODE",
    ),
)


def find_launcher(variables: Mapping[str, str]) -> Launcher | None:
    """The launcher that started this process; None when it was started alone.

    One that tells rank, world and local rank is preferred: srun with PMI also sets PMI_RANK and
    PMI_SIZE, but only srun's own variables say which rank of its machine this is.
    """
    known = [each for each in _LAUNCHERS if each.rank in variables and each.world in variables]
    whole = [each for each in known if each.local_rank in variables]
    return next(iter(whole + known), None)


def find_local_world(variables: Mapping[str, str]) -> int:
    """How many ranks share this machine, this one included; 1 when the launcher does not say."""
    launcher = find_launcher(variables)
    if launcher is None or launcher.local_world not in variables:
        return 1
    text = variables[launcher.local_world]
    if launcher.name == "srun":
        return tasks_per_node(text)[int(variables.get("SLURM_NODEID", "0"))]
    return int(text)


def tasks_per_node(text: str) -> list[int]:
    """SLURM's short form of tasks on each node, such as `2(x3),1`: here 2, 2, 2, 1."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ValueError(
                f"SLURM_STEP_TASKS_PER_NODE is {text!r}; expected numbers such as 2(x3),1. "
                "Start the ranks with srun, which sets it."
            )
        counts += [int(match[1])] * int(match[2] or 1)
    return counts
