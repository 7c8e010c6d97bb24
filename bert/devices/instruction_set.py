"""A ceiling on the instructions that matrix products on a CPU may use.

oneDNN and MKL read their ceilings from the environment at their first product, ATen at its first
operation on a tensor. So the variables can be set inside the running process, after `import torch`,
as long as nothing was computed.

Sources: oneDNN developer guide, "CPU dispatcher control"; ATen's DispatchStub.cpp; Intel MKL
developer guide, MKL_ENABLE_INSTRUCTIONS.
"""

import os
import platform

import torch

from bert.devices.config import ComputeConfig

# ATen takes "avx512" at its word, even on a CPU that has none; "avx2" is the only safe ceiling.
_CEILINGS = {
    "avx2": {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
    },
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "MKL_ENABLE_INSTRUCTIONS": "AVX512"},
    "avx512_bf16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"},
    "amx": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX"},
    "amx_fp16": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX_FP16"},
}


def limit_instruction_set(config: ComputeConfig) -> None:
    """Sets the ceiling of this process and of those it starts; nothing without one.

    Call it before the first tensor. A machine that has less than the ceiling uses what it has.

    Raises:
        ValueError: This is no x86 CPU, or torch has computed already with more than the ceiling.
    """
    name = config.instruction_set
    if name is None:
        return
    if platform.machine().lower() not in ("x86_64", "amd64"):
        raise ValueError(
            f"runtime.instruction_set is {name}, but this CPU is {platform.machine()}, and the "
            "sets are those of x86; write null."
        )
    os.environ.update(_CEILINGS[name])
    used = torch.backends.cpu.get_cpu_capability()
    if name == "avx2" and used != "AVX2":
        raise ValueError(
            f"runtime.instruction_set is avx2, but torch has computed with {used} before the "
            "ceiling was set; start the process with ATEN_CPU_CAPABILITY=avx2 in its environment."
        )
