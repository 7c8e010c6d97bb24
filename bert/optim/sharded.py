"""Each rank keeps the moments of its share of the parameters: ZeRO, stage 1.

A rank updates its share and sends the new weights to the others. Whole tensors are shared out,
because LAMB's trust ratio needs a tensor's norm, so the weights are those of the optimizer that is
not sharded, bit for bit. A checkpoint holds the moments of all, whoever kept them: it can be read
with any number of ranks, sharded or not. A rank holds at least the largest tensor's moments (the
word embeddings are a tenth of BERT-large). Source: Rajbhandari et al., 2020.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from bert.checkpoints.checkpoint import CheckpointError
from bert.optim.config import AdamWConfig, LambConfig
from bert.optim.groups import optimizer_of_groups, parameter_groups
from bert.ranks.ranks import Ranks

_BUCKET_ELEMENTS = 25 * 1024 * 1024 // 4
_KEYS = ("exp_avg", "exp_avg_sq")


def share_out(sizes: list[int], world: int) -> list[int]:
    """Owner of each of the tensors with these sizes, a function of the arguments alone.

    Largest first, each to the rank that holds least so far, the lowest of equals.
    """
    loads = [0] * world
    owners = [0] * len(sizes)
    for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        owners[index] = loads.index(min(loads))
        loads[owners[index]] += sizes[index]
    return owners


class ShardedOptimizer:
    """LAMB or AdamW over all ranks; every rank has all gradients, summed."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, Tensor]],
        config: LambConfig | AdamWConfig,
        ranks: Ranks,
    ) -> None:
        """Starts with a learning rate of 0, which the loop sets before every step.

        Args:
            named_parameters: As `module.named_parameters()` gives them, the same on every rank.
            config: Optimizer.
            ranks: All that share; they have joined.

        Raises:
            OptimizerError: A parameter is not fp32.
        """
        self._ranks = ranks
        live = [(name, param) for name, param in named_parameters if param.requires_grad]
        owners = share_out([param.numel() for _, param in live], ranks.world)
        self._owners = {param: owner for (_, param), owner in zip(live, owners, strict=True)}
        self._shares: list[list[Tensor]] = [[] for _ in range(ranks.world)]
        for param, owner in self._owners.items():
            self._shares[owner].append(param)
        # Every rank has the same groups, empty ones too, so that the counters are the same.
        groups = parameter_groups(live, config.weight_decay)
        self._own = optimizer_of_groups([self._own_part(group) for group in groups], config)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups, with this rank's parameters only; their counters are equal on all ranks."""
        return self._own.param_groups

    @torch.no_grad()
    def step(self, *, divisor: Tensor | None = None) -> None:
        """Updates this rank's parameters, then all ranks take the new weights of the others.

        Args:
            divisor: Of the gradients, the same on all ranks; as in `MomentOptimizer.step`.
        """
        self._own.step(divisor=divisor)
        if self._ranks.world == 1:
            return
        for owner, share in enumerate(self._shares):
            for bucket in _buckets(share):
                flat = self._flat(bucket, owner)
                dist.broadcast(flat, src=owner)
                if owner != self._ranks.rank:
                    torch._foreach_copy_(bucket, _pieces(flat, bucket))

    @torch.no_grad()
    def tensors(self, model: nn.Module) -> dict[str, Tensor]:
        """The complete state on rank 0, as a plain optimizer gives it; all ranks must call.

        Args:
            model: Whose parameters this optimizer has.

        Returns:
            `<key>:<parameter name>` to fp32 tensor on the CPU on rank 0, which may share the
            optimizer's memory; {} on the other ranks.
        """
        entries = self._entries(model)
        complete: dict[str, Tensor] = {}
        for owner in range(self._ranks.world):
            chosen = {name: param for name, param in entries if self._owners[param] == owner}
            complete |= self._collect(chosen, owner)
        return {name: complete[name] for name, _ in entries if name in complete}

    def load(self, model: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
        """Takes this rank's share of a complete state; the step counter is set on the groups.

        Args:
            model: Whose parameters this optimizer has.
            tensors: What `tensors` gave on rank 0, or what a plain optimizer gave.
            folder: Where they came from, for the message.

        Raises:
            CheckpointError: A tensor belongs to no parameter, or some parameter has none.
        """
        parameters = {name: p for name, p in model.named_parameters() if p in self._owners}
        names = {full_name.partition(":")[2] for full_name in tensors}
        unknown, missing = sorted(names - parameters.keys()), sorted(parameters.keys() - names)
        if unknown or missing:
            raise CheckpointError(
                f"{folder} has optimizer state for {len(unknown)} tensors that are no parameters "
                f"{unknown[:1]} and none for {len(missing)} that are {missing[:1]}. Use the "
                "checkpoint of this run, or set the `model` section to the one it was made with."
            )
        for full_name, tensor in tensors.items():
            key, _, name = full_name.partition(":")
            param = parameters[name]
            if self._owners[param] == self._ranks.rank:
                self._own.state[param][key] = tensor.to(param.device).clone()

    def forget(self) -> None:
        """Drops the moments, as if no step had been taken; the counters stay."""
        self._own.forget()

    def _own_part(self, group: dict[str, Any]) -> dict[str, Any]:
        own = [self._owners[param] == self._ranks.rank for param in group["params"]]
        kept = {
            key: [value for value, is_own in zip(group[key], own, strict=True) if is_own]
            for key in ("params", "names")
        }
        return group | kept

    def _entries(self, model: nn.Module) -> list[tuple[str, Tensor]]:
        """(full name, parameter) of every moment that its owner has; the same on all ranks."""
        named = [(name, param) for name, param in model.named_parameters() if param in self._owners]
        entries = [(f"{key}:{name}", param) for name, param in named for key in _KEYS]
        here = [float(bool(self._own.state.get(param))) for _, param in entries]
        held = self._ranks.sum(here, entries[0][1].device)
        return [entry for entry, count in zip(entries, held, strict=True) if count]

    def _collect(self, chosen: dict[str, Tensor], owner: int) -> dict[str, Tensor]:
        """Moves one owner's moments to rank 0; {} elsewhere."""
        rank = self._ranks.rank
        if owner == rank:
            own = {name: self._moment(name, param) for name, param in chosen.items()}
            if rank == 0:
                return {name: value.cpu() for name, value in own.items()}
            for bucket in _buckets(list(own.values())):
                dist.send(self._flat(bucket, owner), dst=0)
        if rank != 0:
            return {}
        received: list[Tensor] = []
        for bucket in _buckets(list(chosen.values())):
            flat = self._flat(bucket, owner)
            dist.recv(flat, src=owner)
            received += _pieces(flat.cpu(), bucket)
        return dict(zip(chosen, received, strict=True))

    def _moment(self, full_name: str, param: Tensor) -> Tensor:
        moment: Tensor = self._own.state[param][full_name.partition(":")[0]]
        return moment

    def _flat(self, bucket: list[Tensor], owner: int) -> Tensor:
        """One vector for a bucket: its values on the owner, memory for them elsewhere."""
        if owner == self._ranks.rank:
            return torch.cat([tensor.detach().reshape(-1) for tensor in bucket])
        return bucket[0].new_empty(sum(tensor.numel() for tensor in bucket))


def _buckets(tensors: list[Tensor]) -> Iterator[list[Tensor]]:
    """Consecutive tensors of about 25 MB together; the same cut on every rank."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        bucket.append(tensor)
        size += tensor.numel()
        if size >= _BUCKET_ELEMENTS:
            yield bucket
            bucket, size = [], 0
    if bucket:
        yield bucket


def _pieces(flat: Tensor, like: list[Tensor]) -> list[Tensor]:
    pieces = torch.split(flat, [tensor.numel() for tensor in like])
    return [piece.view_as(tensor) for piece, tensor in zip(pieces, like, strict=True)]
