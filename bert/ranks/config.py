"""How ranks start and exchange gradients. Free of torch, so the workflow can check it."""

from typing import Literal

from bert.config import Section, knob


class ReduceConfig(Section):
    """Section `runtime.all_reduce`: the sum of the gradients over the ranks."""

    dtype: Literal["fp32", "bf16", "fp16"] = knob(
        "Type in which gradients travel; fp32 is exact, the others halve the traffic."
    )
    bucket_mb: float = knob("Megabytes of gradients that travel together; torch's DDP 25.", gt=0)
    overlap: bool = knob(
        "Whether buckets travel during the last micro-batch's backward pass, or after it."
    )


class LaunchConfig(Section):
    """Section `runtime.launch`: how the ranks of pretraining are started."""

    launcher: Literal["torchrun", "mpirun", "srun", "ssh"] = knob(
        "Who starts the ranks if there are several: torchrun (this machine), mpirun (OpenMPI), "
        "srun (inside a SLURM allocation), ssh (torchrun on each host of `hosts`)."
    )
    processes: int = knob("Ranks on each machine.", ge=1)
    hosts: str | None = knob(
        "File with one host a line, for ssh and mpirun; null = this machine alone."
    )
    options: str = knob("Further options of the launcher's command line; empty for none.")
    timeout_s: int = knob(
        "Seconds without a finished step after which a rank prints the stacks of all its threads "
        "and ends; also the limit of a collective.",
        ge=10,
    )
