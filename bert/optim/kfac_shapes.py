"""Shapes of K-FAC's tensors and the memory they take. Free of torch, so the plan can use it.

A linear layer from n to m features has an input factor of n + 1 rows (the bias is a weight of a
constant input of 1) and an output factor of m rows.
"""

from collections.abc import Iterable
from math import prod
from typing import NamedTuple

from bert.model.config import ModelConfig
from bert.optim.config import KfacConfig

_BYTES = 4  # fp32


class KfacBytes(NamedTuple):
    """Memory of K-FAC on the rank that has most of it, in bytes.

    Attributes:
        factors: Running means, on every rank.
        sums: Second moments of the step in progress, on every rank, freed at the step's end.
        inverses: Inverses of the layers that the rank keeps.
        checkpoint: Factors and inverses of all layers.
    """

    factors: int
    sums: int
    inverses: int
    checkpoint: int


def factor_shapes(inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the running means of a layer from `inputs` to `outputs` features."""
    rows = inputs + 1
    return {"input_factor": (rows, rows), "output_factor": (outputs, outputs)}


def inverse_shapes(method: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    """Shapes of what a layer's factors are inverted to; see `bert.optim.kfac_inverses`."""
    rows = inputs + 1
    if method == "inverse":
        return {"input_inverse": (rows, rows), "output_inverse": (outputs, outputs)}
    return {
        "input_values": (rows,),
        "input_vectors": (rows, rows),
        "output_values": (outputs,),
        "output_vectors": (outputs, outputs),
    }


def inversion_cost(inputs: int, outputs: int) -> int:
    """Work of inverting a layer's factors: the sum of their cubed sizes."""
    return int((inputs + 1) ** 3 + outputs**3)


def encoder_linears(model: ModelConfig) -> list[tuple[int, int]]:
    """(input, output) features of the encoder's linear layers, six in each of its layers."""
    hidden, wide = model.hidden_size, model.intermediate_size
    return [*[(hidden, hidden)] * 4, (hidden, wide), (wide, hidden)] * model.num_hidden_layers


def predict_bytes(model: ModelConfig, config: KfacConfig, world: int) -> KfacBytes:
    """Memory that K-FAC takes in front of the optimizer.

    Args:
        model: Shape of the network.
        config: Method and distribution.
        world: Number of ranks.
    """
    linears = encoder_linears(model)
    factors = _bytes(factor_shapes(*linear) for linear in linears)
    inverses = [_bytes([inverse_shapes(config.method, *linear)]) for linear in linears]
    costs = dict(enumerate(inversion_cost(*linear) for linear in linears))
    owners = assign_owners(costs, world)
    most = max(
        sum(inverses[number] for number, owner in owners.items() if owner in group)
        for group in holder_groups(config.distribution, world)
    )
    return KfacBytes(factors, factors, most, factors + sum(inverses))


def assign_owners(costs: dict[int, int], world: int) -> dict[int, int]:
    """The rank that inverts each layer's factors: the costliest first, to the least busy rank.

    Args:
        costs: Work by layer number.
        world: Number of ranks.

    Returns:
        Rank by layer number.
    """
    busy = [0] * world
    owners = {}
    for number in sorted(costs, key=lambda key: (-costs[key], key)):
        owners[number] = busy.index(min(busy))
        busy[owners[number]] += costs[number]
    return owners


def holder_groups(distribution: str, world: int) -> list[tuple[int, ...]]:
    """Groups of ranks of which each keeps the inverses of the layers that its members invert.

    Source: Pauloski et al., 2021 (KAISA), section 3: gradient workers.
    """
    everyone = range(world)
    if distribution == "comm_opt" or world == 1:
        return [tuple(everyone)]
    if distribution == "mem_opt":
        return [(rank,) for rank in everyone]
    return [tuple(everyone[0::2]), tuple(everyone[1::2])]


def delivery_groups(distribution: str, world: int) -> list[tuple[int, ...]]:
    """Groups of ranks that pass preconditioned gradients on; each meets every holder group."""
    everyone = range(world)
    if distribution == "comm_opt" or world == 1:
        return [(rank,) for rank in everyone]
    if distribution == "mem_opt":
        return [tuple(everyone)]
    pairs = [tuple(everyone[first : first + 2]) for first in everyone[0 : world - 1 : 2]]
    # An odd rank out joins the last pair.
    return [*pairs[:-1], tuple(everyone[pairs[-1][0] :])]


def _bytes(layers: Iterable[dict[str, tuple[int, ...]]]) -> int:
    return _BYTES * sum(prod(shape) for shapes in layers for shape in shapes.values())
