"""Dropout with 16 random bits a value on the CPU, where torch's own is slower than the matrices.

Source: Srivastava et al., 2014. The probability is rounded to a multiple of 1/65536, and the kept
values are scaled by the rounded one, so the expectation is exact. Numbers come from torch's default
generator, drawn by one thread: they do not depend on the number of threads.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Drops values in training and does nothing otherwise."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any floating tensor to one of its shape and dtype."""
        return dropout(x, self.p) if self.training else x


def dropout(x: Tensor, p: float) -> Tensor:
    """Sets each value to 0 with probability `p` and divides the others by 1 - p."""
    if x.device.type != "cpu":
        return F.dropout(x, p)
    dropped = round(p * _LEVELS)
    if dropped == 0:
        return x
    # Four draws from one 64-bit number; the lowest `dropped` of the 65536 values mean 0.
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    keep = bits.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - _LEVELS // 2
    return x * keep.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))
