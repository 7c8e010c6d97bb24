"""What computes, and with which arithmetic. Free of torch, so the workflow can check it."""

from typing import Literal, Self

from pydantic import model_validator

from bert.config import Section, knob


class ComputeConfig(Section):
    """Device, arithmetic and execution; part of the section `runtime`."""

    device: Literal["auto", "cpu", "cuda", "xpu", "hpu"] = knob(
        "Where tensors live; auto takes the accelerator that torch finds, else the CPU."
    )
    precision: Literal["fp32", "tf32", "bf32", "bf16", "fp16"] = knob(
        "Arithmetic of the matrix products, the weights staying fp32: fp32; tf32 (NVIDIA) and bf32 "
        "(Intel) round their inputs inside the product; bf16 and fp16 under autocast, fp16 with "
        "loss scaling."
    )
    instruction_set: Literal["avx2", "avx512", "avx512_bf16", "amx", "amx_fp16"] | None = knob(
        "Highest instruction set that matrix products on a CPU may use; null = the machine's."
    )
    execution: Literal["eager", "graph", "trace", "lazy"] = knob(
        "eager; graph (torch.compile); trace (torch.jit.trace); lazy (operations collected and "
        "compiled at the end of a step: Habana's lazy mode, torch's lazy backend on a CPU)."
    )
    kernels: Literal["auto", "native", "torch"] = knob(
        "Who computes a CPU's training step: native (kernels of this project, compiled at first "
        "use; needs a C++ compiler), torch (its operations alone: the reference, slower), or auto "
        "(native where there is a compiler)."
    )
    ipex: bool = knob(
        "Whether the CPU kernels of Intel's extension take the place of torch's (the extra `ipex`; "
        "torch 2.8 only)."
    )
    activation_checkpointing: bool = knob(
        "Whether a layer's activations are computed again in the backward pass, not kept: memory "
        "of one layer in place of all, a third more work."
    )

    @model_validator(mode="after")
    def _device_can(self) -> Self:
        """What depends on the machine is checked there, by `choose_device`."""
        if self.precision == "tf32" and self.device in ("cpu", "hpu"):
            raise ValueError(
                f"precision is tf32 on device {self.device}, which has none; write bf32 or fp32."
            )
        if self.execution == "lazy" and self.device in ("cuda", "xpu"):
            raise ValueError(
                f"execution is lazy on device {self.device}; only hpu and cpu have it. Write graph."
            )
        if self.execution == "lazy" and self.device == "cpu" and self.precision != "fp32":
            raise ValueError(
                f"execution is lazy on device cpu with precision {self.precision}; torch's lazy "
                "backend has no autocast. Write fp32."
            )
        if self.ipex and self.device not in ("auto", "cpu"):
            raise ValueError(f"ipex is true on device {self.device}; it is for CPUs. Write false.")
        return self
