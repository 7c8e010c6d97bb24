"""Most memory that a process has held since a moment: its own, or on a GPU that of its tensors."""

import contextlib
import os
import resource
from pathlib import Path

import torch


def reset_peak(device: torch.device) -> None:
    """Forgets peaks so far; where the system refuses (no Linux), they stay."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: torch.device) -> float:
    """Most memory since `reset_peak`, in MB (10^6 bytes)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # bytes on macOS
    lines = status.read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6


def resident_mb(device: torch.device) -> float:
    """Memory held now, in MB."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 1e6
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_mb(device)
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
