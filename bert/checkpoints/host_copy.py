"""A copy of tensors in host memory that is taken up once and used again."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_ALIGNMENT = 64  # bytes; a cache line


class _Place(NamedTuple):
    part: str
    name: str
    start: int
    end: int


class HostCopy:
    """As much host memory as the largest copy so far; page-locked if it is taken from CUDA."""

    def __init__(self) -> None:
        """Takes up no memory yet."""
        self._memory = torch.empty(0, dtype=torch.uint8)

    def reserve(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Takes up the memory, so that `take` copies and does nothing else.

        A page costs the most when it is first written to: more than ten copies on some virtual
        machines.
        """
        size = max((place.end for place in _places(tensors)), default=0)
        if len(self._memory) >= size:
            return
        if _on_cuda(tensors) is not None:
            self._memory = torch.empty(size, dtype=torch.uint8, pin_memory=True)
            return
        # numpy asks for large pages, torch does not.
        memory = np.empty(size, np.uint8)
        memory[:: 4 << 10] = 0
        self._memory = torch.from_numpy(memory)

    def take(self, tensors: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """The tensors as they are now; valid until the next call."""
        self.reserve(tensors)
        copies: dict[str, dict[str, Tensor]] = {part: {} for part in tensors}
        for part, name, start, end in _places(tensors):
            tensor = tensors[part][name]
            copy = self._memory[start:end].view(tensor.dtype).view(tensor.shape)
            copy.copy_(tensor.detach(), non_blocking=True)
            copies[part][name] = copy
        device = _on_cuda(tensors)
        if device is not None:
            torch.cuda.current_stream(device).synchronize()
        return copies


def _on_cuda(tensors: Mapping[str, Mapping[str, Tensor]]) -> torch.device | None:
    devices = (tensor.device for named in tensors.values() for tensor in named.values())
    return next((device for device in devices if device.type == "cuda"), None)


def _places(tensors: Mapping[str, Mapping[str, Tensor]]) -> Iterator[_Place]:
    end = 0
    for part, named in tensors.items():
        for name, tensor in named.items():
            start = -(-end // _ALIGNMENT) * _ALIGNMENT
            end = start + tensor.numel() * tensor.element_size()
            yield _Place(part, name, start, end)
