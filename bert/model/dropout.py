"""Dropout as a function of a seed and a place, with 16 random bits a value.

A call draws a seed of 64 bits from torch's default generator; value i then has part i % 4 of number
i / 4 of SplitMix64. So a mask depends on no thread, the native kernels draw the same one, forward
and backward, and torch's own dropout, slower on a CPU than the matrices, is not needed there.

Sources: Srivastava et al., 2014; Steele, Lea and Flood, 2014, with the constants of Vigna's
implementation. The probability is rounded to a multiple of 1/65536, and the kept values are scaled
by the rounded one, so the expectation is exact.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 1 << 16
_GOLDEN = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_MASK = (1 << 64) - 1


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
    if levels(p) == 0:
        return x
    return x * factors(x.shape, p, draw_seed(), x.dtype)


def levels(p: float) -> int:
    """How many of the 65,536 values of 16 bits mean 0."""
    return round(p * LEVELS)


def draw_seed() -> Tensor:
    """64 bits of torch's default generator, int64 []."""
    return torch.empty((), dtype=torch.int64).random_(-(1 << 63), None)


def factors(shape: tuple[int, ...], p: float, seed: Tensor, dtype: torch.dtype) -> Tensor:
    """0 or 1 / (1 - p) for each value.

    Args:
        shape: Of the result; rows, that is the last dimension, are drawn with a length filled up
            to a multiple of 4 if there is more than one dimension.
        p: Probability of 0.
        seed: As `draw_seed` gives it.
        dtype: Of the result.
    """
    *outer, inner = shape
    stride = -(-inner // 4) * 4
    bits = splitmix(seed, torch.Size(outer).numel() * stride // 4).view(torch.int16)
    dropped = levels(p)
    keep = bits.view(*outer, stride)[..., :inner] >= dropped - LEVELS // 2
    return keep.to(dtype).mul_(LEVELS / (LEVELS - dropped))


def splitmix(seed: Tensor, count: int) -> Tensor:
    """The first `count` numbers of SplitMix64, int64."""
    numbers = torch.arange(1, count + 1).mul_(_signed(_GOLDEN)).add_(seed)
    for shift, factor in _ROUNDS:
        # The shift of a signed number repeats its sign: the mask takes that away.
        numbers ^= (numbers >> shift).bitwise_and_((1 << (64 - shift)) - 1)
        if factor != 1:
            numbers *= _signed(factor)
    return numbers


def nth_seed(seed: Tensor, place: int) -> Tensor:
    """Number `place` of SplitMix64, the seed of one of many masks that share a draw."""
    number = (int(seed) + (place + 1) * _GOLDEN) & _MASK
    for shift, factor in _ROUNDS:
        number = ((number ^ (number >> shift)) * factor) & _MASK
    return torch.tensor(_signed(number))


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
