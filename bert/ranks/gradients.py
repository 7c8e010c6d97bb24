"""The sum of the gradients over the ranks, once a step, after the last micro-batch.

Gradients are views into flat buckets, in which they travel without being copied first. The buckets
hold the parameters in reverse order, as the backward pass reaches them, so that the first ones can
travel while the pass still works on the others.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from bert.ranks.config import ReduceConfig
from bert.ranks.ranks import Ranks

# On the wire the gradients are summed in this type, as they are: the loss is divided by the counts
# of the whole batch beforehand, so a sum is no larger than the mean gradient. fp16 overflows above
# 65,504 to infinity, which the guard of the step sees, and loses what is below 6e-8: it is for
# gradients with a loss scale. bf16 has the range of fp32, and 8 bits of precision.
_WIRE = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class _Bucket(NamedTuple):
    flat: Tensor
    parameters: list[Tensor]
    views: list[Tensor]


class _Travel(NamedTuple):
    bucket: _Bucket
    wire: Tensor
    work: dist.Work


class Gradients:
    """Gradients of some parameters, summed over the ranks.

    The order of a step: `zero`, backward passes with `last_micro_batch` before the last one,
    `reduce`. A rank without micro-batches calls `zero` and `reduce`. The ranks must not meet
    otherwise between `last_micro_batch` and `reduce`. With one rank, gradients are ordinary ones,
    set to None by `zero`, and nothing else happens.
    """

    def __init__(self, parameters: Iterable[Tensor], config: ReduceConfig, ranks: Ranks) -> None:
        """Makes the buckets; the gradients are views into them from the first `zero` on.

        Args:
            parameters: fp32 leaves that require gradients, in the same order on all ranks.
            config: Wire type, size of a bucket, overlap.
            ranks: All that share; they have joined.

        Raises:
            TypeError: A parameter is not fp32.
        """
        self._parameters = [each for each in parameters if each.requires_grad]
        self._shared = ranks.world > 1
        self._wire = _WIRE[config.dtype]
        self._buckets: list[_Bucket] = []
        self._bucket_of: dict[Tensor, int] = {}
        self._travelling: list[_Travel] = []
        self._missing: list[set[Tensor]] = []  # by bucket; empty unless hooks are to start buckets
        if not self._shared:
            return
        limit = int(config.bucket_mb * 2**20) // 4
        for bucket in cut_into_buckets(self._parameters[::-1], limit):
            self._bucket_of |= dict.fromkeys(bucket, len(self._buckets))
            self._buckets.append(_make_bucket(bucket))
        if config.overlap:
            for parameter in self._parameters:
                hook = self._gradient_is_there
                parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]

    @property
    def bucket_elements(self) -> list[int]:
        """Elements of each bucket, in the order of travel; empty with one rank."""
        return [bucket.flat.numel() for bucket in self._buckets]

    def zero(self) -> None:
        """Forgets the gradients of the last step."""
        if not self._shared:
            for parameter in self._parameters:
                parameter.grad = None
        self._missing = []
        for bucket in self._buckets:
            bucket.flat.zero_()
            # Whoever set a gradient to None or to another tensor is put right here.
            for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
                parameter.grad = view

    def last_micro_batch(self) -> None:
        """Says that the next backward pass is this rank's last one of the step."""
        self._missing = [set(bucket.parameters) for bucket in self._buckets]

    def reduce(self) -> None:
        """Waits until every gradient is the sum over all ranks; starts what has not started."""
        self._missing = []
        for bucket in self._buckets[len(self._travelling) :]:
            self._start(bucket)
        for bucket, wire, work in self._travelling:
            work.wait()
            if wire is not bucket.flat:
                bucket.flat.copy_(wire)
        self._travelling = []

    def _gradient_is_there(self, parameter: Tensor) -> None:
        """Starts the buckets that are complete, in the same order on all ranks."""
        if not self._missing:
            return
        place = self._bucket_of[parameter]
        if parameter not in self._missing[place]:
            raise RuntimeError(
                f"the gradient of a parameter of shape {tuple(parameter.shape)} came twice in one "
                "backward pass, maybe after it was summed over the ranks; set "
                "runtime.all_reduce.overlap to false."
            )
        self._missing[place].remove(parameter)
        while len(self._travelling) < len(self._buckets):
            if self._missing[len(self._travelling)]:
                return
            self._start(self._buckets[len(self._travelling)])

    def _start(self, bucket: _Bucket) -> None:
        wire = bucket.flat.to(self._wire)  # the bucket itself if the type is the same
        self._travelling.append(_Travel(bucket, wire, dist.all_reduce(wire, async_op=True)))


def cut_into_buckets(parameters: Iterable[Tensor], limit: int) -> list[list[Tensor]]:
    """Consecutive parameters of at most `limit` elements together; a larger one stays alone."""
    buckets: list[list[Tensor]] = []
    size = 0
    for parameter in parameters:
        if not buckets or size + parameter.numel() > limit:
            buckets.append([])
            size = 0
        buckets[-1].append(parameter)
        size += parameter.numel()
    return buckets


def _make_bucket(parameters: list[Tensor]) -> _Bucket:
    for parameter in parameters:
        if parameter.dtype != torch.float32:
            raise TypeError(
                f"a parameter of shape {tuple(parameter.shape)} is {parameter.dtype}; gradients of "
                "several ranks are summed for fp32 parameters. Keep the weights in fp32."
            )
    sizes = [parameter.numel() for parameter in parameters]
    flat = torch.zeros(sum(sizes), device=parameters[0].device)
    pieces = flat.split(sizes)  # type: ignore[no-untyped-call]
    views = [piece.view_as(one) for piece, one in zip(pieces, parameters, strict=True)]
    return _Bucket(flat, parameters, views)
