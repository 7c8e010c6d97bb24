"""The one door to devices: choose one, describe it honestly, measure what it can do."""

import importlib
import logging
import platform
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from bert.data.batches import MicroBatch
from bert.devices.accelerators import find_accelerator, lazy_device, make_current
from bert.devices.config import ComputeConfig
from bert.devices.instruction_set import limit_instruction_set
from bert.devices.ipex import ipex_version, load_ipex
from bert.devices.kernels import product_kernels
from bert.devices.memory import keep_memory
from bert.devices.precision import FRACTION_BITS, autocast, product_bits, set_product_precision
from bert.devices.repeatable import compute_repeatably
from bert.kernels.compiled import kernels_on, use_kernels
from bert.model.attention import Sequences
from bert.model.config import ModelConfig

logger = logging.getLogger(__name__)


class DeviceBatch(NamedTuple):
    """A micro-batch as tensors on the device; fields as in `MicroBatch`, int64."""

    input_ids: Tensor
    segment_ids: Tensor
    position_ids: Tensor
    sequences: Sequences
    masked_lm_positions: Tensor
    masked_lm_ids: Tensor
    next_sentence_labels: Tensor


def choose_device(config: ComputeConfig, local_rank: int) -> torch.device:
    """The device of this rank, made current, and the arithmetic of this process as configured.

    Call it before the first tensor of the process: an instruction set's ceiling comes too late
    after that.

    Args:
        config: Device, precision, instruction set, execution, IPEX.
        local_rank: Number of this rank on its machine; ranks share accelerators in turn.

    Returns:
        cpu, cuda:n, xpu:n or hpu; or `lazy`, torch's lazy device, for execution: lazy on a CPU.

    Raises:
        ValueError: This machine or this torch has not what was asked for.
    """
    limit_instruction_set(config)
    kind = find_accelerator(config) if config.device == "auto" else config.device
    device = make_current(kind, config, local_rank)
    if config.execution == "lazy":
        device = lazy_device(device, config)
    if config.ipex:
        load_ipex(device)
    set_product_precision(config, device)
    compute_repeatably(device)
    use_kernels(config.kernels if device.type == "cpu" else "torch")
    keep_memory(device)
    _warn_of_other_arithmetic(config, device)
    return device


def _warn_of_other_arithmetic(config: ComputeConfig, device: torch.device) -> None:
    """Says where the machine has not what the precision is chosen for."""
    name = config.precision
    if name in ("tf32", "bf32") and (got := product_bits(config, device)) != FRACTION_BITS[name]:
        logger.warning(
            "runtime.precision is %s, whose matrix products keep %d bits of fraction, but here "
            "they keep %d: this machine has no such product and computes another.",
            name,
            FRACTION_BITS[name],
            got,
        )
    if name in ("bf16", "fp16") and device.type == "cpu" and not product_kernels(config):
        logger.warning(
            "runtime.precision is %s, for which no library has a kernel on this CPU: torch "
            "multiplies itself, many times slower than fp32. Write fp32%s.",
            name,
            "" if name == "bf16" else " or bf16",
        )


def to_device(batch: MicroBatch, device: torch.device) -> DeviceBatch:
    """Copies a micro-batch to the device without waiting for it, and widens it there.

    The copies stand in the device's queue before the micro-batch that is being computed has ended:
    they need no stream of their own, being some 80 KB for 16,384 tokens. On a CPU nothing is
    copied but for the widening.
    """
    ids, segments, positions, ends, *targets = [array_to_device(array, device) for array in batch]
    lengths = tuple((batch.cu_seqlens[1:] - batch.cu_seqlens[:-1]).tolist())
    return DeviceBatch(ids, segments, positions, Sequences(ends.int(), lengths), *targets)


def array_to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on the device, copied as it is; integers are widened there to int64."""
    # Unsigned integers of 16 and 32 bits lack many kernels: their bits travel as signed ones.
    size, kind = array.dtype.itemsize, array.dtype.kind
    signed = array.view(f"i{size}") if size > 1 and kind == "u" else array
    host = torch.from_numpy(signed)
    if device.type in ("cuda", "xpu"):
        # From other memory the driver copies only when all work before has ended. torch keeps the
        # pages and gives them out again when the copy is done.
        host = host.pin_memory()
    moved = host.to(device, non_blocking=True)
    if kind == "f":
        return moved
    return moved.long() & (256**size - 1) if size > 1 and kind == "u" else moved.long()


def describe_device(device: torch.device, config: ComputeConfig) -> dict[str, Any]:
    """What computes, asked for and got, for the log and the manifest; some milliseconds.

    Returns:
        device, name, threads, torch; `precision` as asked and `product_bits`, the bits of fraction
        that matrix products keep (23 fp32, 10 tf32 and fp16, 7 bf16); on a CPU `instruction_set`
        of torch's own kernels, `instruction_set_limit` as asked, and `product_kernels`, the
        kernels of oneDNN and MKL that multiply matrices; execution, and versions of extensions.
    """
    described = {
        "device": device.type,
        "name": _device_name(device),
        "threads": torch.get_num_threads(),
        "precision": config.precision,
        "product_bits": product_bits(config, device),
        "execution": config.execution,
        "activation_checkpointing": config.activation_checkpointing,
        "torch": torch.__version__,
    }
    if device.type == "cpu":
        described |= {
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "instruction_set_limit": config.instruction_set,
            "product_kernels": product_kernels(config),
            "kernels": "native" if kernels_on() else "torch",
        }
    if config.ipex:
        described["ipex"] = ipex_version()
    return described


def _device_name(device: torch.device) -> str:
    if device.type in ("cpu", "lazy"):
        return _cpu_name()
    module = torch.get_device_module(device)
    return str(module.get_device_name())


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
    m, k, n = 2048, 1024, 1024
    a, b = torch.ones(m, k, device=device), torch.ones(n, k, device=device)
    with autocast(config, device):
        # Casting is no part of the product.
        dtype = torch.nn.functional.linear(a[:1], b).dtype
    a, b = a.to(dtype), b.to(dtype)
    best = float("inf")
    for _ in range(4):
        _wait(device)
        start = time.perf_counter()
        torch.nn.functional.linear(a, b)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * m * k * n / best


def _wait(device: torch.device) -> None:
    """Until all that was started on the device has ended."""
    if device.type == "lazy":
        importlib.import_module("torch._lazy").mark_step()
    elif device.type != "cpu":
        torch.get_device_module(device).synchronize()


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
