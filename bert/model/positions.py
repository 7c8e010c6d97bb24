"""Sinusoidal positions: as the start of a trained table, or as a table that is never trained.

In such a table the way from one position to the next is the same linear map everywhere, so a head
that attends to the neighbour has one thing to learn instead of one for every position.

Source: Vaswani et al., 2017, section 3.5; wavelengths from 2 pi to 10,000 times that.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FixedPositions(nn.Module):
    """A position table that is never trained, of amplitude 1 (Vaswani et al.; Cerebras `fixed`).

    The table is a buffer: no optimizer, gradient sum or norm ever sees it. It has the name of the
    trained table, so a checkpoint holds it and other systems read it as if it were trained.
    """

    weight: Tensor

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", sinusoids(positions, width))

    def forward(self, position_ids: Tensor) -> Tensor:
        """int64 [T] to [T, D]."""
        return F.embedding(position_ids, self.weight)


def sinusoids(positions: int, width: int, amplitude: float = 1.0) -> Tensor:
    """[positions, width] fp32: column 2i is sin(p / 10,000^(2i / width)), column 2i + 1 its cosine.

    Args:
        positions: Rows p, from 0 on.
        width: Columns; with an odd number the last sine has no cosine.
        amplitude: Factor on all values.
    """
    position = torch.arange(positions, dtype=torch.float64)[:, None]
    rate = 10_000.0 ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)
    waves = torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1)
    return (amplitude * waves.flatten(1)[:, :width]).float()
