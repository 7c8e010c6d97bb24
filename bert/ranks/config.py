"""How ranks start and exchange gradients. Free of torch, so the workflow can check it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bert.config import Section, knob


class ReduceConfig(Section):
    """Section `runtime.all_reduce`: the sum of the gradients over the ranks."""

    dtype: Literal["fp32", "bf16", "fp16"] = knob(
        "Type in which gradients travel and are summed; fp32 is exact, the others halve the "
        "traffic. fp16 only with precision fp16, whose loss scale keeps small gradients alive."
    )
    bucket_mb: float = knob(
        "Megabytes (2^20 bytes of fp32) of gradients that travel together, at most; a larger "
        "parameter goes alone. torch's DDP: 25.",
        gt=0,
    )
    overlap: bool = knob(
        "Whether buckets travel during the last micro-batch's backward pass, or after it."
    )


class LaunchConfig(Section):
    """Section `runtime.launch`: how the ranks of pretraining are started."""

    launcher: Literal["torchrun", "mpirun", "srun", "ssh"] = knob(
        "Who starts the ranks if there are several: torchrun (this machine), mpirun (OpenMPI), "
        "srun (inside a SLURM allocation), ssh (torchrun on each host of `hosts`)."
    )
    processes: Annotated[int, Field(ge=1)] | Literal["numa"] = knob(
        "Ranks on each machine; numa = one for each NUMA node of the machine that starts them."
    )
    bind: Literal["numa", "none"] = knob(
        "numa: ranks that share a machine divide its physical cores, along NUMA nodes where that "
        "is fair, and have at most one thread a core; none: cores and threads as they are given."
    )
    hosts: str | None = knob(
        "File with one host a line, for ssh and mpirun; null = this machine alone."
    )
    backend: Literal["auto", "gloo", "nccl", "mpi", "xccl", "ccl", "hccl"] = knob(
        "Library in which tensors of several ranks meet; auto takes gloo on CPUs, nccl on CUDA, "
        "xccl on XPUs, hccl on HPUs. mpi needs a torch that was built with it."
    )
    options: str = knob("Further options of the launcher's command line; empty for none.")
    timeout_s: int = knob(
        "Seconds without a finished step after which a rank prints the stacks of all its threads "
        "and ends; also the limit of a collective.",
        ge=10,
    )

    @model_validator(mode="after")
    def _hosts_fit_launcher(self) -> Self:
        if self.launcher == "ssh" and self.hosts is None:
            raise ValueError("hosts is null with launcher ssh; name a file with one host a line.")
        if self.launcher in ("torchrun", "srun") and self.hosts is not None:
            raise ValueError(
                f"hosts is {self.hosts} with launcher {self.launcher}, which reads none; write "
                "null, or launcher ssh or mpirun."
            )
        return self
