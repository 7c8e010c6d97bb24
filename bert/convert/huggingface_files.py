"""Weights of a folder that `transformers` wrote: safetensors or pytorch_model.bin, in one or more.

`model.safetensors` is preferred. Sharded weights have an index, <name>.index.json, whose
`weight_map` names the file of each tensor. A .bin is read by the weights-only loader.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bert.convert.found import Found, WeightsError
from bert.convert.huggingface_config import section_in
from bert.convert.state_dict import rename
from bert.convert.torch_file import load_torch_file

# In the order of preference.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)


def read_huggingface(folder: Path) -> Found:
    """Reads weights and shape of a BERT, with any head or none.

    Args:
        folder: With config.json and one of `WEIGHT_FILES`.

    Raises:
        WeightsError: A file is missing or damaged.
        HuggingFaceError: The model is not a plain BERT.
    """
    file = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    config = folder / "config.json"
    if file is None or not config.is_file():
        raise WeightsError(
            f"{folder} has no {'config.json' if file else ' and no '.join(WEIGHT_FILES)}; expected "
            "a folder written by transformers' save_pretrained. Fetch that file, too."
        )
    said, vocab_size = section_in(_json(config), str(config))
    stored, files = _sharded(file) if file.suffix == ".json" else (_tensors(file), [file])
    tensors, origins, skipped = rename(stored, str(folder))
    return Found(
        layout="folder of transformers",
        files=(config, *files),
        tensors=tensors,
        origins=origins,
        skipped=skipped,
        said=said,
        vocab_size=vocab_size,
    )


def _sharded(index: Path) -> tuple[dict[str, Tensor], list[Path]]:
    """All tensors of an index, each from the file that it names, and those files."""
    places = _json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise WeightsError(f"{index} has no weight_map; expected names and files. Copy it again.")
    stored: dict[str, Tensor] = {}
    files = [index, *(index.with_name(Path(name).name) for name in sorted(set(places.values())))]
    for file in files[1:]:
        tensors = _tensors(file)
        wanted = {name for name, place in places.items() if Path(place).name == file.name}
        if wanted != tensors.keys():
            first = min(wanted ^ tensors.keys())
            raise WeightsError(
                f"{file} and {index.name} differ in {len(wanted ^ tensors.keys())} tensors, first "
                f"{first}; expected the same names. Copy the folder again."
            )
        stored |= tensors
    return stored, files


def _tensors(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise WeightsError(f"{file} is missing; the index beside it names it. Fetch it, too.")
    if file.suffix == ".bin":
        content = load_torch_file(file)
        if isinstance(content, Mapping) and all(isinstance(t, Tensor) for t in content.values()):
            return dict(content)
        raise WeightsError(f"{file} holds more than tensors; expected a state_dict.")
    try:
        return dict(load_file(file))
    except SafetensorError as error:
        raise WeightsError(f"{file} is damaged: {error}. Copy it again.") from None


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_bytes())
    except ValueError as error:
        raise WeightsError(f"{file} is not JSON ({error}). Copy it again.") from None
    if not isinstance(values, dict):
        raise WeightsError(f"{file} holds {str(values)[:40]}; expected an object. Copy it again.")
    return values
