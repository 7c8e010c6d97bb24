"""The one door to devices: choose one, describe it honestly, measure what it can do."""

import os
import platform
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from bert.data.batches import MicroBatch
from bert.devices.config import ComputeConfig
from bert.model.attention import Sequences
from bert.model.config import ModelConfig


class DeviceBatch(NamedTuple):
    """A micro-batch as tensors on the device; fields as in `MicroBatch`, int64."""

    input_ids: Tensor
    segment_ids: Tensor
    position_ids: Tensor
    sequences: Sequences
    masked_lm_positions: Tensor
    masked_lm_ids: Tensor
    next_sentence_labels: Tensor


def share_cores() -> None:
    """Divides the threads that this job was given among the ranks that share its machine.

    Snakemake sets OMP_NUM_THREADS to the threads of the whole job, for every rank alike.
    """
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    given = os.environ.get("OMP_NUM_THREADS")
    if given and ranks > 1:
        torch.set_num_threads(max(1, int(given) // ranks))


def choose_device(config: ComputeConfig, local_rank: int) -> torch.device:
    """The device of this rank, made current.

    Raises:
        ValueError: CUDA was asked for and there is none.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "runtime.device is cuda, but torch finds no CUDA device; use cpu or auto, or install "
            "a CUDA build of torch."
        )
    if config.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", local_rank % torch.cuda.device_count())
    torch.cuda.set_device(device)
    return device


def to_device(batch: MicroBatch, device: torch.device) -> DeviceBatch:
    """Copies a micro-batch to the device without waiting for it, and widens it there."""
    ids, segments, positions, ends, *targets = [_to_device(array, device) for array in batch]
    lengths = tuple((batch.cu_seqlens[1:] - batch.cu_seqlens[:-1]).tolist())
    return DeviceBatch(ids, segments, positions, Sequences(ends.int(), lengths), *targets)


def _to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An integer array as int64 on the device; copied as it is, widened there."""
    # Unsigned integers of 16 and 32 bits lack many kernels: their bits travel as signed ones.
    size = array.dtype.itemsize
    signed = array.view(f"i{size}") if size > 1 else array
    wide = torch.from_numpy(signed).to(device, non_blocking=True).long()
    return wide & (256**size - 1) if size > 1 and array.dtype.kind == "u" else wide


def autocast(config: ComputeConfig, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which the model runs: bf16 matrix products, or nothing."""
    if config.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def describe_device(device: torch.device, config: ComputeConfig) -> dict[str, Any]:
    """What computes, for the log and the manifest."""
    if device.type == "cuda":
        name, isa = torch.cuda.get_device_name(device), "CUDA"
    else:
        name, isa = _cpu_name(), torch.backends.cpu.get_cpu_capability()
    return {
        "device": device.type,
        "name": name,
        "instruction_set": isa,
        "threads": torch.get_num_threads(),
        "precision": config.precision,
        "torch": torch.__version__,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def probe_flops(device: torch.device, config: ComputeConfig) -> float:
    """FLOP/s of one matrix product (2048 x 1024 x 1024) here and now: the 100 % of the MFU.

    The best of a few short runs, some 50 ms in all on a CPU. It is a probe of this machine under
    its present load, not a data sheet.
    """
    dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
    m, k, n = 2048, 1024, 1024
    a = torch.ones(m, k, dtype=dtype, device=device)
    b = torch.ones(n, k, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(4):
        _wait(device)
        start = time.perf_counter()
        torch.nn.functional.linear(a, b)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * m * k * n / best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def training_flops(
    config: ModelConfig, vocab_size: int, lengths: tuple[int, ...], num_masked: int
) -> float:
    """Useful FLOPs of a training step on these instances: three times the forward's products.

    Counts real tokens only and the vocabulary head at masked positions only.

    Args:
        config: Shape of the model.
        vocab_size: Rows of the head.
        lengths: Tokens of each instance.
        num_masked: Predicted tokens in all.
    """
    hidden, tokens = config.hidden_size, sum(lengths)
    linear = tokens * (8 * hidden**2 + 4 * hidden * config.intermediate_size)
    attention = 4 * hidden * sum(length**2 for length in lengths)
    head = num_masked * 2 * hidden * (vocab_size + hidden)
    return 3.0 * (config.num_hidden_layers * (linear + attention) + head)
