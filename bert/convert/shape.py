"""The section `model` of imported weights: from their files where those say it, else as given.

The shapes of the tensors say most of it and must agree with what a configuration file says.
Dropout, starting values and padding are no property of the weights and stay as they are given.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bert.config import check
from bert.convert.found import Found, WeightsError
from bert.convert.weights import WORDS
from bert.model.config import ModelConfig

# Keys that decide what given weights compute; next_sentence is a choice of the run.
_STRUCTURE = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "positions",
    "norm",
    "layer_norm_eps",
)
# Key to the tensor and dimension that tell it.
_TOLD_BY = {
    "hidden_size": (WORDS, 1),
    "intermediate_size": ("bert.encoder.layer.0.intermediate.dense.weight", 0),
    "max_position_embeddings": ("bert.embeddings.position_embeddings.weight", 0),
    "type_vocab_size": ("bert.embeddings.token_type_embeddings.weight", 0),
}
_LAYER = re.compile(r"bert\.encoder\.layer\.(\d+)\.")


def model_section(found: Found, given: ModelConfig) -> ModelConfig:
    """The section that fits the weights.

    Args:
        found: The weights.
        given: Section `model` of the run, for what no file says.

    Raises:
        WeightsError: A configuration file and the tensors contradict each other.
        ConfigError: The shape is not one that `ModelConfig` allows.
    """
    told = _told_by_shapes(found.tensors)
    said = {key: found.said[key] for key in _STRUCTURE if key in found.said}
    wrong = [
        f"{key} is {said[key]} in their configuration and {told[key]} by the shapes of the tensors"
        for key in told.keys() & said.keys()
        if told[key] != said[key]
    ]
    if wrong:
        raise WeightsError(
            f"The files of the {found.layout} contradict each other: {'; '.join(sorted(wrong))}. "
            "Fetch the configuration that belongs to these weights."
        )
    values = given.model_dump() | said | told
    if values["positions"] == "fixed":
        values["position_init"] = None
    elif values["position_init"] is None:
        values["position_init"] = "normal"
    return check(ModelConfig, values, where=f"the {found.layout} and the section `model`")


def differences(found: Found, given: ModelConfig, taken: ModelConfig) -> dict[str, dict[str, Any]]:
    """Where files and section differ: key to `files`, `section` and `taken`."""
    after, before = taken.model_dump(), given.model_dump()
    said = {key: value for key, value in found.said.items() if key in before}
    said |= {key: after[key] for key in _STRUCTURE if after[key] != before[key]}
    return {
        key: {"files": value, "section": before[key], "taken": after[key]}
        for key, value in sorted(said.items())
        if value != before[key]
    }


def _told_by_shapes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    told = {
        key: tensors[name].shape[dimension]
        for key, (name, dimension) in _TOLD_BY.items()
        if name in tensors and tensors[name].dim() == 2
    }
    layers = [int(match[1]) for name in tensors if (match := _LAYER.match(name))]
    return told | ({"num_hidden_layers": max(layers) + 1} if layers else {})
