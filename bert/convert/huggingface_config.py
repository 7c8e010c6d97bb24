"""config.json of `transformers` and our section `model`, both ways."""

from collections.abc import Mapping, Sequence
from typing import Any

from bert.data.vocab import Vocabulary
from bert.model.config import ModelConfig
from bert.tasks.features import Head

SAME_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
)
_ACTIVATION_OUT = {"gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh", "relu": "relu"}
_ACTIVATION_IN = {v: k for k, v in _ACTIVATION_OUT.items()} | {"gelu_new": "gelu_tanh"}
_PROBLEMS: dict[Head, str] = {"sentence": "single_label_classification", "value": "regression"}


class HuggingFaceError(ValueError):
    """Weights, configuration or vocabulary that do not fit each other."""


def config_out(config: ModelConfig, vocabulary: Vocabulary, architecture: str) -> dict[str, Any]:
    """Content of config.json for an encoder with a head.

    Raises:
        HuggingFaceError: The network is one that transformers' BERT is not.
    """
    if config.norm != "post":
        raise HuggingFaceError(
            f"model.norm is {config.norm}; transformers' BERT has LayerNorm after each sum only "
            "(post), so this model cannot be exported. Its checkpoint is fine-tuned as it is."
        )
    values = config.model_dump()
    return {
        "architectures": [architecture],
        "model_type": "bert",
        "dtype": "float32",
        "vocab_size": vocabulary.size,
        "pad_token_id": vocabulary.pad_id,
        "hidden_act": _ACTIVATION_OUT[config.hidden_act],
        "tie_word_embeddings": True,
    } | {key: values[key] for key in SAME_KEYS}


def labels_out(head: Head, labels: Sequence[str]) -> dict[str, Any]:
    """What config.json says of a task head's outputs."""
    problem = {"problem_type": _PROBLEMS[head]} if head in _PROBLEMS else {}
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    } | problem


def section_in(values: Mapping[str, Any], where: str) -> tuple[dict[str, Any], int]:
    """What a config.json says of the `model` section, and the vocabulary's size.

    Args:
        values: Content of config.json.
        where: Its path, for messages.

    Raises:
        HuggingFaceError: The model is not a plain BERT, or a key is missing.
    """
    required = {*SAME_KEYS, "vocab_size", "hidden_act"}
    absent = sorted(required - values.keys())
    found = values.get("model_type"), values.get("position_embedding_type", "absolute")
    if absent or found != ("bert", "absolute") or values["hidden_act"] not in _ACTIVATION_IN:
        raise HuggingFaceError(
            f"{where} has model_type and position_embedding_type {found}, "
            f"hidden_act {values.get('hidden_act')}, and lacks {absent or 'no key'}; expected "
            f"('bert', 'absolute') with one of {sorted(_ACTIVATION_IN)} and every key. "
            "Only plain BERT can be read."
        )
    said = {key: values[key] for key in SAME_KEYS} | {
        "hidden_act": _ACTIVATION_IN[values["hidden_act"]],
        "positions": "learned",
        "norm": "post",
    }
    return said, values["vocab_size"]
