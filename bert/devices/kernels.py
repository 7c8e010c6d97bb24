"""Which kernels a matrix product on the CPU really runs, as oneDNN and MKL themselves say."""

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch.nn import functional as F

from bert.devices.config import ComputeConfig
from bert.devices.precision import autocast


def product_kernels(config: ComputeConfig) -> list[str]:
    """Kernels of a linear map of 256 x 256, forward and backward, in the configured precision.

    Takes some milliseconds. While it runs, this process writes nothing else to standard output.

    Returns:
        Sorted names, such as "brg_matmul:avx512_core_bf16" (oneDNN: algorithm and instruction set)
        or "mkl:SGEMM"; empty where neither library computes it, but torch itself.
    """
    x = torch.ones(256, 256, requires_grad=True)

    def product() -> None:
        with autocast(config, x.device):
            y = F.linear(x, x)
        y.sum().backward()  # type: ignore[no-untyped-call]

    return kernels_in(_said_by_libraries(product))


def kernels_in(text: str) -> list[str]:
    """Names of the kernels in the verbose lines of oneDNN and MKL, sorted, each once."""
    names = set()
    for line in text.splitlines():
        fields = line.split(",")
        # onednn_verbose,v1,primitive,exec,cpu,matmul,<implementation>,... (v1: oneDNN 3.x)
        if fields[:4] == ["onednn_verbose", "v1", "primitive", "exec"]:
            names |= {fields[6]} if fields[5] == "matmul" else set()
        elif line.startswith("MKL_VERBOSE ") and "GEMM" in line:
            names.add("mkl:" + line.split()[1].split("(")[0])
    return sorted(names)


def _said_by_libraries(compute: Callable[[], None]) -> str:
    """What oneDNN and MKL write to standard output, past Python, while `compute` runs."""
    sys.stdout.flush()
    standard_output = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            with ExitStack() as talking:
                libraries: list[Any] = [torch.backends.mkldnn, torch.backends.mkl]
                for library in libraries:
                    if library.is_available():
                        talking.enter_context(library.verbose(library.VERBOSE_ON))
                compute()
        finally:
            os.dup2(standard_output, 1)
            os.close(standard_output)
        file.seek(0)
        return file.read().decode(errors="replace")
