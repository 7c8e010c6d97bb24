"""Checkpoints to and from folders that `transformers` loads.

| file | content |
| --- | --- |
| config.json | shape of the network, in the names of transformers |
| model.safetensors | weights, padded vocabulary rows removed, tied matrix stored once |
| vocab.txt, or vocab.json and merges.txt | the vocabulary: WordPiece, or byte-level BPE |
| tokenizer.json, tokenizer_config.json, special_tokens_map.json | the tokenizer |
| README.md | model card: shape, parameters, provenance |

Parameter names are ours as they stand, so nothing is renamed on the way out. Fixed positions become
an ordinary table there; a network with `norm: pre` is refused. On the way in, bare
names (`embeddings...`), gamma and beta, and stored copies of the tied matrix are understood;
anything else that does not fit is refused. No file is unpickled.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from bert.config import check
from bert.convert.model_folder import write_card, write_plain_json, write_tokenizer
from bert.data.vocab import Vocabulary, load_vocabulary
from bert.model.config import ModelConfig, padded_vocab_size
from bert.model.heads import BertForPretraining

_TABLE = "bert.embeddings.word_embeddings.weight"
_BIAS = "cls.predictions.bias"
_COPIES = {"cls.predictions.decoder.weight": _TABLE, "cls.predictions.decoder.bias": _BIAS}
_SAME_KEYS = (
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


class HuggingFaceError(ValueError):
    """Weights, configuration or vocabulary that do not fit each other."""


class Imported(NamedTuple):
    """A folder of transformers in our terms.

    Attributes:
        state: Weights by our names, fp32; rows beyond the vocabulary are 0. Heads that the folder
            does not hold are absent.
        config: The `model` section that fits.
        vocab_size: True size of the vocabulary.
    """

    state: dict[str, Tensor]
    config: ModelConfig
    vocab_size: int


def export_folder(
    folder: Path,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    *,
    vocabulary: Path,
    provenance: str,
) -> dict[str, int]:
    """Writes a folder that AutoModel, BertForPreTraining and AutoTokenizer load.

    Args:
        folder: An existing, empty folder.
        state: Weights of `BertForPretraining`, with the padded vocabulary rows.
        config: Section they were trained with.
        vocabulary: Folder of the vocabulary.
        provenance: Where the weights come from, Markdown for the model card.

    Returns:
        Counts: `parameters` and `tensors` written.

    Raises:
        HuggingFaceError: The weights are not those of `config` and the vocabulary, or the network
            is one that transformers' BERT is not.
        VocabError: The vocabulary is damaged.
    """
    if config.norm != "post":
        raise HuggingFaceError(
            f"model.norm is {config.norm}; transformers' BERT has LayerNorm after each sum only "
            "(post), so this model cannot be exported. Its checkpoint is fine-tuned as it is."
        )
    words = load_vocabulary(vocabulary)
    _check_shapes(state, _shapes(config, words.size), "the checkpoint")
    weights = {name: _true_rows(name, state[name], words.size) for name in sorted(state)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    write_plain_json(folder / "config.json", _config_out(config, words))
    write_tokenizer(folder, vocabulary, words, config.max_position_embeddings)
    parameters = sum(tensor.numel() for tensor in weights.values())
    write_card(folder, config, words, parameters, provenance)
    return {"parameters": parameters, "tensors": len(weights)}


def read_folder(folder: Path, *, vocab_multiple: int) -> Imported:
    """Reads the BERT weights and the shape of a folder written for transformers.

    Args:
        folder: With config.json and model.safetensors.
        vocab_multiple: Rows of the token table are padded to a multiple of this.

    Raises:
        HuggingFaceError: A file is missing or damaged, the model is not a BERT, a weight is
            missing, unknown or of another shape, or a stored copy differs from its original.
        ConfigError: The shape is not one that `ModelConfig` allows.
    """
    values, stored = _read_files(folder)
    state = _without_copies({_our_name(name): tensor for name, tensor in stored.items()}, folder)
    nsp = "cls.seq_relationship.weight" in state
    config, vocab_size = _config_in(values, folder, vocab_multiple, nsp)
    wanted = _shapes(config.model_copy(update={"vocab_multiple": 1}), vocab_size)
    if not any(name.startswith("cls.predictions.") for name in state):
        wanted = {name: shape for name, shape in wanted.items() if not name.startswith("cls.pred")}
    optional = {} if nsp else _pooler_shapes(config, state)
    _check_shapes(state, wanted | optional, str(folder))
    rows = padded_vocab_size(vocab_size, vocab_multiple)
    state = {name: _padded_rows(name, state[name].float(), rows) for name in sorted(state)}
    return Imported(state, config, vocab_size)


def _read_files(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise HuggingFaceError(
                f"{folder / name} is missing. Save the model with transformers' save_pretrained, "
                "which writes both config.json and model.safetensors."
            )
    try:
        values = json.loads((folder / "config.json").read_text("utf-8"))
        return values, load_file(folder / "model.safetensors")
    except (json.JSONDecodeError, SafetensorError) as error:
        raise HuggingFaceError(f"{folder} is damaged: {error}. Copy it again.") from None


def _shapes(config: ModelConfig, vocab_size: int) -> dict[str, torch.Size]:
    with torch.device("meta"):
        model = BertForPretraining(config, vocab_size)
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _pooler_shapes(config: ModelConfig, state: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """A bare encoder has a pooler without the head that reads it."""
    names = {"bert.pooler.dense.weight": 2, "bert.pooler.dense.bias": 1}
    if not names.keys() & state.keys():
        return {}
    return {name: torch.Size([config.hidden_size] * rank) for name, rank in names.items()}


def _check_shapes(
    state: Mapping[str, Tensor], expected: Mapping[str, torch.Size], where: str
) -> None:
    problems = [f"{name} is missing" for name in sorted(expected.keys() - state.keys())]
    problems += [f"{name} is unknown" for name in sorted(state.keys() - expected.keys())]
    problems += [
        f"{name} has shape {tuple(state[name].shape)}, expected {tuple(expected[name])}"
        for name in sorted(expected.keys() & state.keys())
        if state[name].shape != expected[name]
    ]
    if problems:
        raise HuggingFaceError(
            f"The weights of {where} do not fit the configuration and the vocabulary in "
            f"{len(problems)} places: {'; '.join(problems[:5])}. Use the configuration and the "
            "vocabulary that they were trained with."
        )


def _true_rows(name: str, tensor: Tensor, vocab_size: int) -> Tensor:
    return tensor[:vocab_size].contiguous() if name in (_TABLE, _BIAS) else tensor.contiguous()


def _padded_rows(name: str, tensor: Tensor, rows: int) -> Tensor:
    if name not in (_TABLE, _BIAS):
        return tensor
    return F.pad(tensor, (0, 0) * (tensor.dim() - 1) + (0, rows - tensor.shape[0]))


def _our_name(name: str) -> str:
    if not name.startswith(("bert.", "cls.")):
        name = f"bert.{name}"
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _without_copies(state: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    """Drops the position counter of old files and copies of tied weights, which must be equal."""
    for copy, original in _COPIES.items():
        if copy in state and not torch.equal(state[copy], state.get(original, state[copy])):
            raise HuggingFaceError(
                f"{folder}: {copy} differs from {original}; expected them to be tied. A model with "
                "an untied output matrix is not the published BERT and cannot be read."
            )
    dropped = {*_COPIES, "bert.embeddings.position_ids"}
    return {name: tensor for name, tensor in state.items() if name not in dropped}


def _config_out(config: ModelConfig, vocabulary: Vocabulary) -> dict[str, Any]:
    values = config.model_dump()
    head = "BertForPreTraining" if config.next_sentence else "BertForMaskedLM"
    return {
        "architectures": [head],
        "model_type": "bert",
        "dtype": "float32",
        "vocab_size": vocabulary.size,
        "pad_token_id": vocabulary.pad_id,
        "hidden_act": _ACTIVATION_OUT[config.hidden_act],
        "tie_word_embeddings": True,
    } | {key: values[key] for key in _SAME_KEYS}


def _config_in(
    values: dict[str, Any], folder: Path, vocab_multiple: int, next_sentence: bool
) -> tuple[ModelConfig, int]:
    """The `model` section and the vocabulary size of a config.json."""
    required = {*_SAME_KEYS, "vocab_size", "hidden_act"}
    absent = sorted(required - values.keys())
    found = values.get("model_type"), values.get("position_embedding_type", "absolute")
    if absent or found != ("bert", "absolute") or values["hidden_act"] not in _ACTIVATION_IN:
        raise HuggingFaceError(
            f"{folder / 'config.json'} has model_type and position_embedding_type {found}, "
            f"hidden_act {values.get('hidden_act')}, and lacks {absent or 'no key'}; expected "
            f"('bert', 'absolute') with one of {sorted(_ACTIVATION_IN)} and every key. "
            "Only plain BERT can be read."
        )
    section = {key: values[key] for key in _SAME_KEYS} | {
        "hidden_act": _ACTIVATION_IN[values["hidden_act"]],
        "positions": "learned",
        "position_init": "normal",
        "norm": "post",
        "vocab_multiple": vocab_multiple,
        "next_sentence": next_sentence,
    }
    return check(ModelConfig, section, where=str(folder / "config.json")), values["vocab_size"]
