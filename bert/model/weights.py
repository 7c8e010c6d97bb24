"""Weights as the matrix products of the native path read them.

In bf16 that is a copy of each fp32 parameter, which autocast would make anew for every micro-batch.
Here it is made when the parameter has changed, which torch counts (`Tensor._version`), so once an
optimizer step. Query, key and value lie one after the other, for one product in place of three.
"""

import torch
from torch import Tensor


class ProductWeight:
    """One or more parameters, stacked along their first dimension, in the type of the products."""

    def __init__(self, *parameters: Tensor) -> None:
        """Args: parameters of the same width; they are never changed here."""
        self._parameters = parameters
        self._seen: tuple[object, ...] = ()
        self._copy: Tensor | None = None

    @torch.no_grad()
    def get(self, dtype: torch.dtype) -> Tensor:
        """The present values, contiguous; a single parameter of this type is itself."""
        first = self._parameters[0]
        if len(self._parameters) == 1 and first.dtype == dtype:
            return first.detach()
        found = (dtype, *((p.data_ptr(), p._version) for p in self._parameters))
        if found != self._seen:
            if self._copy is None or self._copy.dtype != dtype:
                rows = sum(len(p) for p in self._parameters)
                self._copy = torch.empty(rows, *first.shape[1:], dtype=dtype)
            pieces = self._copy.split([len(p) for p in self._parameters])  # type: ignore[no-untyped-call]
            torch._foreach_copy_(list(pieces), [p.detach() for p in self._parameters])
            self._seen = found
        assert self._copy is not None
        return self._copy
