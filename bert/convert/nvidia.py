"""The .pt files of NVIDIA's DeepLearningExamples, gpauloski/BERT-PyTorch and their like.

A file is a dictionary: `model` the state_dict, and besides it optimizer, preconditioner, sampler
and more. `torch.load(..., weights_only=True)` reads it. The token table has rows up to a multiple
of 8 (30,522 tokens: 30,528). Shape and attention heads stand in a bert_config.json beside it.

A model of gpauloski's without next-sentence head has no segment table; it gets one of zeros, which
computes the same.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bert.convert.found import Found, WeightsError
from bert.convert.google_config import FIXED, google_config, read_google_config
from bert.convert.huggingface import check_shapes
from bert.convert.model_folder import copy_vocabulary, write_plain_json
from bert.convert.state_dict import rename
from bert.convert.torch_file import load_torch_file
from bert.convert.weights import WORDS, shapes_of, with_rows
from bert.data.vocab import load_vocabulary
from bert.model.config import ModelConfig, padded_vocab_size
from bert.model.heads import BertForPretraining

_STATE_KEYS = ("model", "state_dict")
_SEGMENTS = "bert.embeddings.token_type_embeddings.weight"
_FUSED = ("intermediate", "pooler", "transform")  # their linear map is named dense_act there
_ROWS = 8


class NvidiaError(ValueError):
    """A network that NVIDIA's code does not have."""


def read_nvidia(file: Path, config: Path | None) -> Found:
    """Reads the weights of a .pt file.

    Args:
        file: With a state_dict, alone or under `model` or `state_dict`.
        config: bert_config.json, if there is one.

    Raises:
        WeightsError: The file is damaged, holds no state_dict, or would run code.
    """
    stored, others = _state_dict(load_torch_file(file), file)
    tensors, origins, skipped = rename(stored, str(file))
    skipped |= dict.fromkeys(_tensor_names(others), "state of the training besides the weights")
    said, vocab_size = read_google_config(config) if config else ({}, None)
    step = _step(others)
    facts: dict[str, Any] = {} if step is None else {"imported_step": step}
    if WORDS in tensors and not {_SEGMENTS, "cls.seq_relationship.weight"} & tensors.keys():
        tensors[_SEGMENTS] = torch.zeros(2, tensors[WORDS].shape[-1])
        facts["made"] = {_SEGMENTS: "zeros: the model has no segments"}
    return Found(
        layout="PyTorch checkpoint in NVIDIA's layout",
        files=(file, *([config] if config else [])),
        tensors=tensors,
        origins=origins,
        skipped=skipped,
        said=FIXED | said,
        vocab_size=vocab_size,
        facts=facts,
    )


def export_nvidia(
    folder: Path, state: Mapping[str, Tensor], config: ModelConfig, *, vocabulary: Path
) -> dict[str, int]:
    """Writes checkpoint.pt ({"model": state_dict}), bert_config.json and the vocabulary.

    Args:
        folder: An existing, empty folder.
        state: Weights of `BertForPretraining`, with the padded vocabulary rows.
        config: Section they were trained with.
        vocabulary: Folder of the vocabulary.

    Returns:
        Counts: `parameters` and `tensors` written, tied ones once.

    Raises:
        NvidiaError: Their code has no such network.
        HuggingFaceError: The weights are not those of `config` and the vocabulary.
        VocabError: The vocabulary is damaged.
    """
    _check_possible(config)
    words = load_vocabulary(vocabulary)
    check_shapes(state, shapes_of(lambda: BertForPretraining(config, words.size)))
    rows = padded_vocab_size(words.size, _ROWS)
    weights = {_their_name(name): with_rows(name, state[name], rows) for name in sorted(state)}
    parameters = sum(tensor.numel() for tensor in weights.values())
    tied = {"cls.predictions.decoder.weight": weights[WORDS]}
    torch.save({"model": weights | tied}, folder / "checkpoint.pt")
    write_plain_json(folder / "bert_config.json", google_config(config, words.size))
    copy_vocabulary(folder, vocabulary, words)
    return {"parameters": parameters, "tensors": len(weights)}


def _check_possible(config: ModelConfig) -> None:
    wanted = {"hidden_act": "gelu", "next_sentence": True} | FIXED
    del wanted["positions"]  # fixed ones become an ordinary table
    differing = [
        f"{key} is {found}, expected {value}"
        for key, value in wanted.items()
        if (found := getattr(config, key)) != value
    ]
    if differing:
        raise NvidiaError(
            f"NVIDIA's BERT has no such network: in the `model` section {'; '.join(differing)}. "
            "Export it for transformers."
        )


def _their_name(name: str) -> str:
    parts = name.split(".")
    if parts[-2] == "dense" and parts[-3] in _FUSED:
        parts[-2] = "dense_act"
    return ".".join(parts)


def _state_dict(content: Any, file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The state_dict of a file's content, and what else is there."""
    key = next((k for k in _STATE_KEYS if isinstance(content, dict) and k in content), None)
    stored = content if key is None else content[key]
    if not isinstance(stored, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in stored.items()
    ):
        held = ", ".join(map(str, content))[:80] if isinstance(content, Mapping) else type(content)
        raise WeightsError(
            f"{file} holds {held or 'nothing'}; expected tensors by name, alone or under "
            f"{' or '.join(_STATE_KEYS)}. Save the model's state_dict with torch.save."
        )
    others = {} if key is None else {name: content[name] for name in content if name != key}
    return dict(stored), others


def _tensor_names(value: Any, path: str = "") -> Iterator[str]:
    """Places of the tensors in nested dictionaries and lists."""
    if isinstance(value, Tensor):
        yield path
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        yield from _tensor_names(inner, f"{path}.{key}" if path else str(key))


def _step(others: Mapping[str, Any]) -> int | None:
    """Steps of the optimizer, where apex or NVIDIA's LAMB counts them."""
    try:
        return int(others["optimizer"]["param_groups"][0]["step"])
    except (KeyError, IndexError, TypeError, ValueError):
        return None
