"""Arithmetic of the matrix products: what is asked for, and what the machine does.

| precision | weights | inputs of a product | how |
| --- | --- | --- | --- |
| fp32 | fp32 | 23 bits of fraction | torch's default |
| tf32 | fp32 | 10 bits | cuda, xpu: rounded inside the product |
| bf32 | fp32 | 7 bits | CPU with AMX, xpu: rounded inside the product |
| bf16 | fp32 | 7 bits | autocast |
| fp16 | fp32 | 10 bits | autocast, with loss scaling |
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn import functional as F

from bert.devices.config import ComputeConfig

FRACTION_BITS = {"fp32": 23, "tf32": 10, "bf32": 7, "bf16": 7, "fp16": 10}
_AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
_INSIDE_PRODUCT = {"tf32": ("cuda", "xpu"), "bf32": ("cpu", "xpu")}


def set_product_precision(config: ComputeConfig, device: torch.device) -> None:
    """Sets how products of fp32 tensors round, for the whole process.

    Raises:
        ValueError: This device has no such products.
    """
    devices = _INSIDE_PRODUCT.get(config.precision, (device.type,))
    if device.type not in devices:
        raise ValueError(
            f"runtime.precision is {config.precision}, which {' and '.join(devices)} have, but the "
            f"device is {device.type}; write bf16 or fp32."
        )
    # One call that all versions of torch from 2.8 on understand: the flags of single backends
    # (allow_tf32, fp32_precision) were renamed in between, and refuse to be mixed.
    level = {"tf32": "high", "bf32": "medium"}.get(config.precision, "highest")
    torch.set_float32_matmul_precision(level)
    if device.type == "xpu":
        onednn: Any = torch.backends.mkldnn
        onednn.set_flags(_allow_tf32=config.precision in _INSIDE_PRODUCT)


def autocast(config: ComputeConfig, device: torch.device) -> AbstractContextManager[Any]:
    """The context in which the model runs: bf16 or fp16 matrix products, or nothing."""
    if config.precision not in _AUTOCAST:
        return nullcontext()
    return torch.autocast(device.type, _AUTOCAST[config.precision])


def needs_loss_scaling(config: ComputeConfig) -> bool:
    """Whether gradients are held in a type in which small ones vanish."""
    return config.precision == "fp16"


@torch.no_grad()
def product_bits(config: ComputeConfig, device: torch.device) -> int:
    """Bits of fraction that a number keeps on its way through a matrix product, here and now.

    The numbers 1 + 2^-b, for all b at once, are multiplied by the unit matrix: what comes out as 1
    was rounded. A machine that takes a precision's name but computes in another shows it here.
    """
    size = 256  # large enough for the kernels that the model meets
    bits = torch.arange(size).clamp(1, 23)
    numbers = (1 + torch.exp2(-bits.float())).expand(size, size).to(device)
    with autocast(config, device):
        product = F.linear(numbers, torch.eye(size, device=device))
    kept = (product.float() > 1).all(0).cpu()
    return int(bits[kept].max()) if kept.any() else 0
