"""bert_config.json of Google's code and those that follow it, both ways."""

import json
from pathlib import Path
from typing import Any

from bert.convert.found import WeightsError
from bert.model.config import ModelConfig

_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
)
# What their code fixes: modeling.py of google-research/bert and of NVIDIA's DeepLearningExamples.
FIXED = {"layer_norm_eps": 1e-12, "norm": "post", "positions": "learned"}


def read_google_config(file: Path) -> tuple[dict[str, Any], int | None]:
    """Keys of the section `model` and the vocabulary's size.

    `gelu` is left out: Google's code has had both of its forms under this name.

    Raises:
        WeightsError: The file is not a JSON object.
    """
    try:
        values = json.loads(file.read_bytes())
    except ValueError as error:
        raise WeightsError(f"{file} is not JSON ({error}). Copy it again.") from None
    if not isinstance(values, dict):
        raise WeightsError(f"{file} holds {str(values)[:40]}; expected an object. Copy it again.")
    said = {key: values[key] for key in _KEYS if key in values}
    if values.get("hidden_act", "gelu") != "gelu":
        said["hidden_act"] = values["hidden_act"]
    return said, values.get("vocab_size")


def google_config(config: ModelConfig, vocab_size: int) -> dict[str, Any]:
    """Content of bert_config.json; `gelu` is the exact one there."""
    values = config.model_dump()
    return {key: values[key] for key in (*_KEYS, "hidden_act")} | {"vocab_size": vocab_size}
