"""Names of a PyTorch BERT's state_dict by the names of this project.

| there | here |
| --- | --- |
| module.bert... (DistributedDataParallel) | bert... |
| embeddings..., encoder..., pooler... (a bare encoder) | bert.embeddings..., ... |
| LayerNorm.gamma, LayerNorm.beta (before transformers) | LayerNorm.weight, LayerNorm.bias |
| dense_act (NVIDIA: linear map and activation in one) | dense |

Source: transformers, models/bert/modeling_bert.py; NVIDIA DeepLearningExamples and
gpauloski/BERT-PyTorch, modeling.py.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from bert.convert.found import WeightsError
from bert.convert.weights import BIAS, WORDS

_BARE = ("embeddings.", "encoder.", "pooler.")
_COPIES = {"cls.predictions.decoder.weight": WORDS, "cls.predictions.decoder.bias": BIAS}
_COUNTERS = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids")


def our_name(name: str) -> str:
    """Our name of a weight; a name that is in no way BERT's as it is."""
    name = name.removeprefix("module.")
    if name.startswith(_BARE):
        name = f"bert.{name}"
    if not name.startswith(("bert.", "cls.")):
        return name
    for old, new in (("gamma", "weight"), ("beta", "bias")):
        name = name.replace(f"LayerNorm.{old}", f"LayerNorm.{new}")
    return name.replace(".dense_act.", ".dense.")


def rename(
    stored: Mapping[str, Tensor], where: str
) -> tuple[dict[str, Tensor], dict[str, str], dict[str, str]]:
    """Weights by our names, their names in the files, and what is skipped with the reason.

    Raises:
        WeightsError: Two weights have one name here, or a stored copy differs from its original.
    """
    tensors: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    for theirs, tensor in stored.items():
        name = our_name(theirs)
        if name in tensors:
            raise WeightsError(
                f"{where} holds {origins[name]} and {theirs}, which are both {name}; expected one "
                "of them. Save the model's state_dict again."
            )
        tensors[name], origins[name] = tensor, theirs
    skipped = {}
    for copy, original in _COPIES.items():
        if copy not in tensors:
            continue
        if original not in tensors:  # of tied tensors a writer may keep either
            tensors[original], origins[original] = tensors.pop(copy), origins[copy]
            continue
        if not torch.equal(tensors[copy], tensors[original]):
            raise WeightsError(
                f"{where}: {copy} differs from {original}; expected them to be tied. A model with "
                "an untied output matrix is not the published BERT and cannot be read."
            )
        skipped[origins[copy]] = f"stored copy of {original}, and equal to it"
        del tensors[copy]
    for name in _COUNTERS:
        if tensors.pop(name, None) is not None:
            skipped[origins[name]] = "buffer that holds no weights"
    return tensors, {name: origins[name] for name in tensors}, skipped
