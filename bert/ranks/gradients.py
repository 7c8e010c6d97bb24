"""The sum of the gradients over the ranks, once a step, after the last micro-batch.

Gradients travel in flat buckets. An fp32 gradient moves into its bucket when the first backward
pass of the step has made it, and is a view into it from then on; for a narrower type it is rounded
into the bucket before it travels, and widened afterwards. Nothing is set to zero first, and nothing
is added to zeros. The buckets hold the parameters in reverse order, as the backward pass reaches
them, so that the first ones can travel while the pass still works on the others.
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
    flat: Tensor  # in the type of the wire
    parameters: list[Tensor]
    views: list[Tensor]


class Gradients:
    """Gradients of some parameters, summed over the ranks.

    The order of a step: `zero`, backward passes with `last_micro_batch` before the last one,
    `reduce`. A rank without micro-batches calls `zero` and `reduce`. The ranks must not meet
    otherwise between `last_micro_batch` and `reduce`. With one rank, gradients are ordinary ones
    and nothing else happens.
    """

    def __init__(self, parameters: Iterable[Tensor], config: ReduceConfig, ranks: Ranks) -> None:
        """Makes the buckets.

        Args:
            parameters: fp32 leaves that require gradients, in the same order on all ranks.
            config: Wire type, size of a bucket, overlap.
            ranks: All that share; they have joined.

        Raises:
            TypeError: A parameter is not fp32.
        """
        self._parameters = [each for each in parameters if each.requires_grad]
        self._overlap = config.overlap
        self._buckets: list[_Bucket] = []
        self._place_of: dict[Tensor, tuple[int, Tensor]] = {}  # its bucket, its view into it
        self._travelling: list[dist.Work] = []  # of the first buckets
        self._missing: list[set[Tensor]] = []  # by bucket; empty unless hooks are to start buckets
        if ranks.world == 1:
            return
        limit = int(config.bucket_mb * 2**20) // 4
        for parameters_of_bucket in cut_into_buckets(self._parameters[::-1], limit):
            bucket = _make_bucket(parameters_of_bucket, _WIRE[config.dtype])
            for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
                self._place_of[parameter] = len(self._buckets), view
                hook = self._gradient_is_there
                parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
            self._buckets.append(bucket)

    @property
    def bucket_elements(self) -> list[int]:
        """Elements of each bucket, in the order of travel; empty with one rank."""
        return [bucket.flat.numel() for bucket in self._buckets]

    def zero(self) -> None:
        """Forgets the gradients of the last step: all are None."""
        for parameter in self._parameters:
            parameter.grad = None
        self._missing = []

    def last_micro_batch(self) -> None:
        """Says that the next backward pass is this rank's last one of the step."""
        if self._overlap:
            self._missing = [set(bucket.parameters) for bucket in self._buckets]

    def reduce(self) -> None:
        """Waits until every gradient is the sum over all ranks; starts what has not started."""
        self._missing = []
        for bucket in self._buckets[len(self._travelling) :]:
            self._start(bucket)
        for bucket, work in zip(self._buckets, self._travelling, strict=True):
            work.wait()
            _unpack(bucket)
        self._travelling = []

    def _gradient_is_there(self, parameter: Tensor) -> None:
        """Starts the buckets that are complete, in the same order on all ranks."""
        place, view = self._place_of[parameter]
        if view.dtype == parameter.dtype:
            _pack(parameter, view)
        if not self._missing:
            return
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
        for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
            _pack(parameter, view)
        work = dist.all_reduce(bucket.flat, async_op=True)
        assert work is not None
        self._travelling.append(work)


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


def _make_bucket(parameters: list[Tensor], wire: torch.dtype) -> _Bucket:
    for parameter in parameters:
        if parameter.dtype != torch.float32:
            raise TypeError(
                f"a parameter of shape {tuple(parameter.shape)} is {parameter.dtype}; gradients of "
                "several ranks are summed for fp32 parameters. Keep the weights in fp32."
            )
    sizes = [parameter.numel() for parameter in parameters]
    flat = torch.zeros(sum(sizes), dtype=wire, device=parameters[0].device)
    pieces = flat.split(sizes)  # type: ignore[no-untyped-call]
    views = [piece.view_as(one) for piece, one in zip(pieces, parameters, strict=True)]
    return _Bucket(flat, parameters, views)


def _pack(parameter: Tensor, view: Tensor) -> None:
    """Puts the gradient into its bucket; zeros for a parameter that no backward pass reached."""
    if parameter.grad is view:
        return
    if parameter.grad is None:
        view.zero_()
        parameter.grad = view if view.dtype == parameter.dtype else torch.zeros_like(parameter)
    else:
        view.copy_(parameter.grad)
        if view.dtype == parameter.dtype:
            parameter.grad = view


def _unpack(bucket: _Bucket) -> None:
    """Widens the sums into the gradients, unless these are in the bucket themselves."""
    for parameter, view in zip(bucket.parameters, bucket.views, strict=True):
        if parameter.grad is not None and parameter.grad is not view:
            parameter.grad.copy_(view)
