"""Who inverts which layer's factors, who keeps the inverses, and how ranks pass them on.

Every layer has one owner that inverts its factors, and the owner's holder group keeps the result.
A delivery group has one member in each holder group (or two, of which the first speaks), so that
each rank gets the gradients that it cannot precondition itself from within its delivery group.

| distribution | holder group | delivery group | traffic a step                       |
|--------------|--------------|----------------|--------------------------------------|
| comm_opt     | all          | one rank       | none; inverses to all when computed  |
| hybrid_opt   | every second | two neighbours | half of the gradients                |
| mem_opt      | one rank     | all            | all gradients; inverses never travel |

Source: Pauloski et al., 2021 (KAISA), section 3.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch.distributed as dist
from torch import Tensor

from bert.optim.kfac_shapes import assign_owners, delivery_groups, holder_groups
from bert.ranks.ranks import Ranks


class Exchange:
    """The traffic of K-FAC between ranks; every rank makes the same calls in the same order."""

    def __init__(self, ranks: Ranks, costs: Sequence[int], distribution: str) -> None:
        """Deals the layers to the ranks; collective, because it makes process groups.

        Args:
            ranks: This process among the others.
            costs: Work of inverting each layer's factors.
            distribution: `comm_opt`, `hybrid_opt` or `mem_opt`.
        """
        self._rank, self._world = ranks.rank, ranks.world
        holders = holder_groups(distribution, ranks.world)
        deliveries = delivery_groups(distribution, ranks.world)
        owners = assign_owners(dict(enumerate(costs)), ranks.world)
        self.owners = [owners[layer] for layer in range(len(costs))]
        self.holders = [next(g for g in holders if owner in g) for owner in self.owners]
        self._delivery = next(group for group in deliveries if ranks.rank in group)
        self._groups = {
            group: self._make_group(group) for group in dict.fromkeys([*holders, *deliveries])
        }

    def _make_group(self, members: tuple[int, ...]) -> dist.ProcessGroup | None:
        if len(members) in (1, self._world):
            return None  # nobody to talk to, or the group that is there already
        group: dist.ProcessGroup = dist.new_group(list(members))
        return group

    def owns(self, layer: int) -> bool:
        """Whether this rank inverts the layer's factors."""
        return self.owners[layer] == self._rank

    def holds(self, layer: int) -> bool:
        """Whether this rank keeps the layer's inverse."""
        return self._rank in self.holders[layer]

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Sums each tensor over all ranks in place."""
        if self._world > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def share_inverse(self, layer: int, inverse: Mapping[str, Tensor]) -> None:
        """Copies the owner's inverse to those who hold it; only they call this."""
        group = self.holders[layer]
        self._broadcast(_in_order(inverse), self.owners[layer], group)

    @property
    def delivers(self) -> bool:
        """Whether preconditioned gradients travel at all."""
        return len(self._delivery) > 1

    def deliver(self, layer: int, gradient: Tensor) -> None:
        """Copies a preconditioned gradient in place to those of the group who cannot compute it."""
        sender = next(rank for rank in self._delivery if rank in self.holders[layer])
        self._broadcast([gradient], sender, self._delivery)

    def send_to_first(self, layer: int, inverse: Mapping[str, Tensor]) -> None:
        """Copies the owner's inverse to rank 0, unless that holds it; only these two do anything.

        Args:
            layer: Number of the layer.
            inverse: The owner's tensors, or rank 0's room for them.
        """
        if 0 in self.holders[layer]:
            return
        for tensor in _in_order(inverse):
            if self._rank == 0:
                dist.recv(tensor, self.owners[layer])
            elif self.owns(layer):
                dist.send(tensor, 0)

    def _broadcast(self, tensors: Iterable[Tensor], source: int, group: tuple[int, ...]) -> None:
        if len(group) > 1:
            for tensor in tensors:
                dist.broadcast(tensor, source, group=self._groups[group])


def _in_order(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    return [tensors[key] for key in sorted(tensors)]
