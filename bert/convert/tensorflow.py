"""Weights of TensorFlow's BERT (google-research/bert, MLPerf) by the names of this project.

| there | here |
| --- | --- |
| bert/encoder/layer_0/.../query/kernel [in, out] | bert.encoder.layer.0....query.weight [out, in] |
| .../LayerNorm/gamma, .../LayerNorm/beta | ....LayerNorm.weight, ....LayerNorm.bias |
| bert/embeddings/word_embeddings | bert.embeddings.word_embeddings.weight |
| cls/predictions/output_bias | cls.predictions.bias |
| cls/seq_relationship/output_weights, .../output_bias | cls.seq_relationship.weight, ....bias |

Moments of Adam and LAMB and counters are left out; any other variable is refused. Source:
google-research/bert, modeling.py and run_pretraining.py (names), optimization.py (moments).
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bert.convert.tensor_bundle import BundleError, open_bundle, read_variable

_WHOLE = {
    "cls.predictions.bias": "cls/predictions/output_bias",
    "cls.seq_relationship.weight": "cls/seq_relationship/output_weights",
    "cls.seq_relationship.bias": "cls/seq_relationship/output_bias",
}
_LEFT_OUT = re.compile(
    r".*/(adam|lamb)_[mv]|global_step|(beta[12]_power|good_steps|num_good_steps|loss_scale"
    r"|current_loss_scale)"
)


def google_name(name: str) -> tuple[str, bool]:
    """The variable of one of our parameters, and whether it is stored transposed."""
    if name in _WHOLE:
        return _WHOLE[name], False
    path = re.sub(r"\blayer\.(\d+)", r"layer_\1", name).replace(".", "/")
    if "_embeddings/" in path:
        return path.removesuffix("/weight"), False
    if "/LayerNorm/" in path:
        return path.replace("/weight", "/gamma").replace("/bias", "/beta"), False
    return path.replace("/weight", "/kernel"), path.endswith("/weight")


def read_weights(index: Path, names: Iterable[str]) -> dict[str, Tensor]:
    """Reads the weights of a checkpoint.

    Args:
        index: Its file model.ckpt-<step>.index; the data files lie beside it.
        names: Parameters that are wanted, by our names.

    Returns:
        fp32, by our names, in the shapes of the checkpoint; linear maps as [out, in].

    Raises:
        BundleError: A variable is missing or unknown, or the files are damaged.
    """
    bundle = open_bundle(index)
    wanted = {google_name(name)[0]: name for name in names}
    missing = sorted(wanted.keys() - bundle.entries.keys())
    others = bundle.entries.keys() - wanted.keys()
    unknown = sorted(name for name in others if not _LEFT_OUT.fullmatch(name))
    if missing or unknown:
        problems = [f"{name} is missing" for name in missing]
        problems += [f"{name} is unknown" for name in unknown]
        raise BundleError(
            f"{index} does not fit the model in {len(problems)} variables: "
            f"{'; '.join(problems[:5])}. Expected a TensorFlow 1 checkpoint of "
            "google-research/bert with its pretraining heads, of the shape in the `model` section."
        )
    weights = {}
    for variable, name in wanted.items():
        values = read_variable(bundle, variable).astype(np.float32)
        transposed = google_name(name)[1]
        weights[name] = torch.from_numpy(np.ascontiguousarray(values.T if transposed else values))
    return weights
