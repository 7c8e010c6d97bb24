"""Accelerators: which one is here, how it is loaded and made current, and its lazy mode."""

import importlib
import importlib.util
import os

import torch

from bert.devices.config import ComputeConfig


def find_accelerator(config: ComputeConfig) -> str:
    """The accelerator that is here: hpu, cuda or xpu, or cpu where there is none."""
    if importlib.util.find_spec("habana_frameworks") is not None:
        _load_habana(config)
    if not torch.accelerator.is_available():
        return "cpu"
    found = torch.accelerator.current_accelerator()
    return found.type if found is not None and found.type in ("cuda", "xpu", "hpu") else "cpu"


def make_current(kind: str, config: ComputeConfig, local_rank: int) -> torch.device:
    """The device of this kind for this rank; ranks share accelerators in turn.

    Raises:
        ValueError: There is none.
    """
    if kind == "cpu":
        return torch.device("cpu")
    if kind == "hpu":
        _load_habana(config)
        # Habana gives each process a device of its own.
        return torch.device("hpu")
    if not getattr(torch, kind).is_available():
        raise ValueError(
            f"runtime.device is {kind}, but torch finds no {kind.upper()} device; use cpu or auto, "
            f"or install a build of torch for {kind} (this one is {torch.__version__})."
        )
    device = torch.device(kind, local_rank % torch.accelerator.device_count())
    torch.accelerator.set_device_index(device)
    return device


def _load_habana(config: ComputeConfig) -> None:
    """Registers the device hpu, in the mode that must be set before.

    Raises:
        ValueError: Habana's package is not installed.
    """
    os.environ["PT_HPU_LAZY_MODE"] = "1" if config.execution == "lazy" else "0"
    try:
        importlib.import_module("habana_frameworks.torch")
    except ImportError as error:
        raise ValueError(
            f"runtime.device is hpu, but habana_frameworks.torch cannot be imported ({error}); "
            "install Habana's PyTorch from its SynapseAI release, or use cpu or auto."
        ) from error


def lazy_device(device: torch.device, config: ComputeConfig) -> torch.device:
    """The device that collects operations in place of this one: torch's own for a CPU.

    Raises:
        ValueError: This device has no lazy mode, or not with this precision.
    """
    if device.type == "hpu":
        return device
    if device.type != "cpu":
        raise ValueError(
            f"runtime.execution is lazy, but the device is {device.type}; only hpu and cpu have a "
            "lazy mode: write eager or graph."
        )
    if config.precision != "fp32" or config.activation_checkpointing:
        raise ValueError(
            "torch's lazy device computes in fp32 and without activation checkpointing, but "
            f"runtime.precision is {config.precision} and runtime.activation_checkpointing is "
            f"{config.activation_checkpointing}; change them, or write execution: eager."
        )
    # Untyped in torch, hence not imported by name.
    importlib.import_module("torch._lazy.ts_backend").init()
    return torch.device("lazy")
