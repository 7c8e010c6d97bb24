"""Weights by name against the network they are for: shapes, and the rows that pad the tables."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WORDS = "bert.embeddings.word_embeddings.weight"
BIAS = "cls.predictions.bias"
# Their rows are tokens, and behind those, padding.
TABLES = (WORDS, BIAS)


def shapes_of(build: Callable[[], nn.Module]) -> dict[str, torch.Size]:
    """Shape of each weight of a network, which is built without memory for its weights."""
    with torch.device("meta"):
        network = build()
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def misfits(state: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> list[str]:
    """How weights differ from those that are expected, a text a weight; empty if nowhere."""
    problems = [f"{name} is missing" for name in sorted(expected.keys() - state.keys())]
    problems += [f"{name} is unknown" for name in sorted(state.keys() - expected.keys())]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, expected {tuple(expected[name])}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name]
    ]
    return problems


def with_rows(name: str, tensor: Tensor, rows: int) -> Tensor:
    """A weight, contiguous; a table is cut, or padded with zeros, to this many rows."""
    if name not in TABLES:
        return tensor.contiguous()
    missing = max(0, rows - tensor.shape[0])
    return F.pad(tensor[:rows], (0, 0) * (tensor.dim() - 1) + (0, missing)).contiguous()
