"""Where the ranks of a job find each other: an address and a port that all of them know alone."""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path

from bert.ranks.launchers import Launcher, find_launcher, find_local_world
from bert.ranks.nodelist import expand_nodelist

# Below the ports that Linux hands out by itself (32768 and up), above the usual services.
_FIRST_PORT, _PORTS = 12000, 20000

# A variable with the same value on all ranks of a job and another in any other job.
_JOB = {
    "mpirun": ("PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"),
    "PALS": ("PALS_APID", "PBS_JOBID"),
    "MPICH": ("PBS_JOBID", "COBALT_JOBID", "SLURM_JOB_ID"),
    "srun": ("SLURM_JOB_ID",),  # with the step's number
}
_HOW_TO_NAME = {
    "mpirun": "mpirun -x MASTER_ADDR=<first host> ...",
    "MPICH": "mpiexec -genv MASTER_ADDR <first host> ...",
}


def meeting_point(variables: Mapping[str, str]) -> tuple[str, int]:
    """Address and port of the ranks' meeting point, where rank 0 is.

    MASTER_ADDR and MASTER_PORT, which torchrun sets, decide. Without them: this machine if all
    ranks are on it, else the first host of the batch system's list; and a port made from the name
    of the job.

    Raises:
        ValueError: The launcher tells too little; the message says what to set.
    """
    launcher = find_launcher(variables)
    address = variables.get("MASTER_ADDR") or _address(variables, launcher)
    port = variables.get("MASTER_PORT") or str(_port(variables, launcher))
    if not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"MASTER_PORT is {port!r}; expected a port number from 1 to 65535.")
    return address, int(port)


def make_port(text: str) -> int:
    """A port that belongs to the job named `text`."""
    return _FIRST_PORT + zlib.crc32(text.encode()) % _PORTS


def _address(variables: Mapping[str, str], launcher: Launcher | None) -> str:
    if launcher is None or launcher.name == "torchrun":
        raise ValueError(
            "RANK and WORLD_SIZE are set, MASTER_ADDR is not; start the ranks with torchrun, or "
            "set MASTER_ADDR and MASTER_PORT to the first machine's address and a free port."
        )
    if find_local_world(variables) == int(variables[launcher.world]):
        return "127.0.0.1"
    lists = ["SLURM_STEP_NODELIST"] if launcher.name == "srun" else []
    for name in [*lists, "SLURM_JOB_NODELIST"]:
        if name in variables:
            return expand_nodelist(variables[name])[0]
    for name in ("PBS_NODEFILE", "COBALT_NODEFILE"):
        if name in variables and Path(variables[name]).is_file():
            return Path(variables[name]).read_text("utf-8").split()[0]
    how = _HOW_TO_NAME.get(launcher.name, "MASTER_ADDR=<first host> in the environment")
    raise ValueError(
        f"{variables[launcher.world]} ranks were started by {launcher.name} on several machines, "
        f"and no rank can tell the first one; name it: {how}"
    )


def _port(variables: Mapping[str, str], launcher: Launcher | None) -> int:
    names = _JOB.get(launcher.name, ()) if launcher else ()
    job = next((variables[name] for name in names if name in variables), None)
    if job is not None and launcher is not None:
        step = variables.get("SLURM_STEP_ID", "") if launcher.name == "srun" else ""
        return make_port(f"{job}.{step}")
    if launcher is not None and find_local_world(variables) == int(variables[launcher.world]):
        # MPICH names no job. On one machine its ranks have the same parent.
        return make_port(str(os.getppid()))
    raise ValueError(
        "MASTER_PORT is not set, and the launcher names no job to make a port from; set it to a "
        "free port of the first machine."
    )
