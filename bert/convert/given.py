"""First weights that somebody else trained, for a phase with `start: given`.

| files | what they are |
| --- | --- |
| state.json, model.safetensors, ... | a checkpoint of this project |
| config.json, model.safetensors | a folder of transformers: BertForPreTraining or BertForMaskedLM |
| <name>.index, <name>.data-00000-of-00001 | a TensorFlow 1 checkpoint, such as MLPerf's |

The weights must be those of the network to the last name and shape, heads included, and where the
files tell of the vocabulary or of what no shape shows (attention heads, activation, epsilon), that
must agree, too. Only the rows that pad the token table are made up, as zeros.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from bert.checkpoints.checkpoint import load_checkpoint
from bert.convert.huggingface import read_folder
from bert.convert.tensorflow import read_weights
from bert.data.wordpiece import parse_tokens
from bert.model.heads import BertForPretraining

logger = logging.getLogger(__name__)

_TABLES = ("bert.embeddings.word_embeddings.weight", "cls.predictions.bias")
# Keys of the `model` section that change what given weights compute.
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
    "next_sentence",
)
# Google's code has had both forms of gelu under this name, so its bert_config.json tells neither.
_UNSAID_BY_GOOGLE = ("hidden_act",)


class GivenError(ValueError):
    """Given weights that are not those of this network and vocabulary."""


def load_given(
    files: Sequence[Path], network: BertForPretraining, identity: Mapping[str, Any]
) -> None:
    """Copies given weights into a network.

    Args:
        files: Files of the raw item, in one folder.
        network: On any device; its weights are replaced.
        identity: `model` (the section as plain data), `vocab_size` and `vocabulary_sha256` of the
            run, as its checkpoints have them.

    Raises:
        GivenError: The files hold no weights, or those of another network or vocabulary.
        BundleError: A TensorFlow checkpoint is damaged or of other variables.
        HuggingFaceError: A folder of transformers is damaged or no plain BERT.
        CheckpointError: A checkpoint of this project is damaged.
    """
    named = {file.name: file for file in files}
    folder = sorted({file.parent for file in files})[0] if files else Path()
    indices = [file for file in files if file.suffix == ".index"]
    _check_vocabulary(named.get("vocab.txt"), identity)
    if "state.json" in named:
        weights, said = _of_checkpoint(named["state.json"].parent, identity)
    elif "model.safetensors" in named:
        weights, said = _of_transformers(named["model.safetensors"].parent, identity)
    elif len(indices) == 1:
        weights, said = _of_tensorflow(indices[0], named.get("bert_config.json"), network)
    else:
        raise GivenError(
            f"weights_from names {len(files)} files ({', '.join(sorted(named)[:5])}) in {folder}; "
            "expected a checkpoint of this project, config.json and model.safetensors of "
            "transformers, or one <name>.index of TensorFlow with its data beside it."
        )
    _check_structure(said, identity["model"], folder)
    _fill(network, weights, identity["vocab_size"], folder)
    logger.info("starting from the weights in %s", folder)


Found = tuple[dict[str, Tensor], dict[str, Any]]


def _of_checkpoint(folder: Path, identity: Mapping[str, Any]) -> Found:
    loaded = load_checkpoint(folder)
    digest = loaded.state.get("vocabulary_sha256")
    if digest != identity["vocabulary_sha256"]:
        raise GivenError(
            f"{folder} was trained with the vocabulary {digest}, the run has "
            f"{identity['vocabulary_sha256']}. Give that vocabulary in the `vocab` section."
        )
    return loaded.model, loaded.state["model"]


def _of_transformers(folder: Path, identity: Mapping[str, Any]) -> Found:
    found = read_folder(folder, vocab_multiple=identity["model"]["vocab_multiple"])
    if found.vocab_size != identity["vocab_size"]:
        raise GivenError(
            f"{folder} has a vocabulary of {found.vocab_size} tokens, the run has "
            f"{identity['vocab_size']}. Give the vocabulary of the weights in the `vocab` section."
        )
    return found.state, found.config.model_dump()


def _of_tensorflow(index: Path, config: Path | None, network: BertForPretraining) -> Found:
    weights = read_weights(index, network.state_dict())
    if config is None:
        logger.warning(
            "no bert_config.json lies with %s: the number of attention heads, which no shape "
            "shows, is taken from the `model` section",
            index,
        )
        return weights, {}
    said = json.loads(config.read_text("utf-8"))
    return weights, {key: said[key] for key in said if key not in _UNSAID_BY_GOOGLE}


def _check_vocabulary(file: Path | None, identity: Mapping[str, Any]) -> None:
    """A vocab.txt beside the weights must be the run's."""
    if file is None:
        return
    tokens = parse_tokens(file.read_bytes(), str(file))
    digest = sha256("".join(f"{token}\n" for token in tokens).encode("utf-8")).hexdigest()
    if digest != identity["vocabulary_sha256"]:
        raise GivenError(
            f"{file} with {len(tokens)} tokens is not the vocabulary of the run, which has "
            f"{identity['vocab_size']}. Give it in the `vocab` section (kind: given)."
        )


def _check_structure(said: Mapping[str, Any], section: Mapping[str, Any], folder: Path) -> None:
    differing = [
        f"{key} is {said[key]} there and {section[key]} in the `model` section"
        for key in _STRUCTURE
        if key in said and said[key] != section[key]
    ]
    if differing:
        raise GivenError(
            f"The weights in {folder} are of another network: {'; '.join(differing)}. Write the "
            "values of the weights."
        )


def _fill(
    network: BertForPretraining, weights: Mapping[str, Tensor], vocab_size: int, folder: Path
) -> None:
    own = network.state_dict()
    problems = [f"{name} is missing" for name in sorted(own.keys() - weights.keys())]
    problems += [f"{name} is unknown" for name in sorted(weights.keys() - own.keys())]
    fitted = {}
    for name in sorted(own.keys() & weights.keys()):
        tensor, shape = weights[name], own[name].shape
        if name in _TABLES and tensor.shape[0] == vocab_size:
            rows = shape[0] - vocab_size
            tensor = F.pad(tensor, (0, 0) * (tensor.dim() - 1) + (0, rows))
        if tensor.shape != shape:
            problems.append(f"{name} has shape {list(tensor.shape)}, expected {list(shape)}")
        fitted[name] = tensor
    if problems:
        raise GivenError(
            f"The weights in {folder} do not fit the network in {len(problems)} places: "
            f"{'; '.join(problems[:5])}. Pretraining needs the encoder and its pretraining heads, "
            "in the shapes of the `model` section, and the vocabulary of these weights."
        )
    network.load_state_dict(fitted)
