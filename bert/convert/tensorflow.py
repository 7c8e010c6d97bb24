"""Weights of TensorFlow 1's BERT (google-research/bert, MLPerf) by the names of this project.

| there | here |
| --- | --- |
| bert/encoder/layer_0/.../query/kernel [in, out] | bert.encoder.layer.0....query.weight [out, in] |
| .../LayerNorm/gamma, .../LayerNorm/beta | ....LayerNorm.weight, ....LayerNorm.bias |
| bert/embeddings/word_embeddings | bert.embeddings.word_embeddings.weight |
| cls/predictions/output_bias | cls.predictions.bias |
| cls/seq_relationship/output_weights, .../output_bias | cls.seq_relationship.weight, ....bias |

Moments of Adam and LAMB and counters are not read; `global_step` is kept as a fact. Source:
google-research/bert, modeling.py and run_pretraining.py (names), optimization.py (moments).
"""

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bert.convert.found import Found
from bert.convert.google_config import FIXED, read_google_config
from bert.convert.tensor_bundle import Bundle, open_bundle, read_variable

_STEP = "global_step"
_WHOLE = {
    "cls/predictions/output_bias": "cls.predictions.bias",
    "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",
    "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
}
_LEFT_OUT = {
    r".*/(adam|lamb)_[mv]|.*/Adam(_1)?": "moment of the optimizer",
    r"global_step": "counter, kept as imported_step",
    r"beta[12]_power": "counter of the optimizer",
    r"(num_)?good_steps|(current_)?loss_scale": "state of the loss scale",
}


def our_name(variable: str) -> tuple[str, bool]:
    """Our name of a variable, and whether it is stored transposed; any other name as it is."""
    if variable in _WHOLE:
        return _WHOLE[variable], False
    if not variable.startswith(("bert/", "cls/predictions/transform/")):
        return variable, False
    path, _, last = re.sub(r"\blayer_(\d+)", r"layer.\1", variable).rpartition("/")
    if last.endswith("_embeddings"):
        last = f"{last}/weight"
    ends = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    return f"{path}/{ends.get(last, last)}".replace("/", "."), last == "kernel"


def read_tensorflow(index: Path, config: Path | None) -> Found:
    """Reads a checkpoint.

    Args:
        index: Its file model.ckpt-<step>.index; the data files lie beside it.
        config: bert_config.json, if there is one.

    Raises:
        BundleError: The files are damaged, or hold something else than whole numbers.
        WeightsError: bert_config.json is damaged.
    """
    bundle = open_bundle(index)
    skipped = {name: reason for name in bundle.entries if (reason := _left_out(name))}
    tensors, origins = {}, {}
    for variable in bundle.entries.keys() - skipped.keys():
        name, transposed = our_name(variable)
        tensors[name] = _tensor(bundle, variable, transposed)
        origins[name] = variable
    said, vocab_size = read_google_config(config) if config else ({}, None)
    step = int(read_variable(bundle, _STEP)) if _STEP in bundle.entries else None
    shards = sorted(index.parent.glob(f"{index.stem}.data-*-of-{bundle.shards:05d}"))
    return Found(
        layout="TensorFlow 1 checkpoint",
        files=(index, *shards, *([config] if config else [])),
        tensors=tensors,
        origins=origins,
        skipped=skipped,
        said=FIXED | said,
        vocab_size=vocab_size,
        facts={} if step is None else {"imported_step": step},
    )


def _left_out(variable: str) -> str | None:
    return next((why for what, why in _LEFT_OUT.items() if re.fullmatch(what, variable)), None)


def _tensor(bundle: Bundle, variable: str, transposed: bool) -> Tensor:
    values = read_variable(bundle, variable)
    return torch.from_numpy(np.array(values.T if transposed else values, order="C"))
