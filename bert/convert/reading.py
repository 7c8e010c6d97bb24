"""Which of the known layouts a raw item's files are, and what they hold.

| files, in one folder | what they are |
| --- | --- |
| state.json, model.safetensors | a checkpoint of this project |
| config.json and model.safetensors or pytorch_model.bin, also sharded | a folder of transformers |
| <name>.index, <name>.data-?????-of-?????; bert_config.json | a TensorFlow 1 checkpoint |
| <name>.pt; bert_config.json | NVIDIA's layout |

bert_config.json may be absent. Other files are left alone. An item that is one archive is read as
the folder that it holds, see `bert.text.archive_item`.
"""

from collections.abc import Sequence
from pathlib import Path

from bert.checkpoints.checkpoint import load_checkpoint
from bert.convert.found import Found, WeightsError
from bert.convert.huggingface_files import WEIGHT_FILES, read_huggingface
from bert.convert.nvidia import read_nvidia
from bert.convert.tensorflow import read_tensorflow

_SINGLE = (".index", ".pt", ".pth")


def read_weights(files: Sequence[Path], where: str = "convert.raw") -> Found:
    """Reads the weights among the files of a raw item.

    Args:
        files: All of them.
        where: What holds them, for messages.

    Raises:
        WeightsError: None or several of the files are weights, or they are damaged.
        BundleError: A TensorFlow checkpoint is damaged.
        HuggingFaceError: A folder of transformers is no plain BERT.
        CheckpointError: A checkpoint of this project is damaged.
    """
    folders = [file for file in files if _is_folder_of_weights(file)]
    keys = folders or [file for file in files if file.suffix in _SINGLE]
    if len(keys) != 1:
        what = ", ".join(sorted(file.name for file in keys or files)[:5])
        raise WeightsError(
            f"{where} names {len(files)} files with {len(keys)} checkpoints ({what}); expected "
            "one: a checkpoint of this project, a folder of transformers, a TensorFlow "
            "checkpoint's .index with its data, or a .pt file. Name its files, or one .zip or "
            ".tar.gz of them, alone in `fetch`."
        )
    found = _read(keys[0], files)
    if unnamed := sorted(set(found.files) - set(files)):
        raise WeightsError(
            f"{unnamed[0]} is needed ({len(unnamed)} files in all) and lies there, but `fetch` "
            "does not name it, so no receipt would tell of it. Name it, or its whole folder."
        )
    return found


def _read(key: Path, files: Sequence[Path]) -> Found:
    config = key.with_name("bert_config.json")
    beside = config if config in files else None
    if key.name == "state.json":
        return _read_own(key.parent)
    if key.name == "config.json":
        return read_huggingface(key.parent)
    return (read_tensorflow if key.suffix == ".index" else read_nvidia)(key, beside)


def _is_folder_of_weights(file: Path) -> bool:
    """Whether a file is the one by which a folder is known; a .pt in it is then something else."""
    weights = {"config.json": WEIGHT_FILES, "state.json": ("model.safetensors",)}
    return any(file.with_name(name).is_file() for name in weights.get(file.name, ()))


def _read_own(folder: Path) -> Found:
    loaded = load_checkpoint(folder)
    others = {
        "optimizer": (loaded.optimizer, "moment of the optimizer"),
        "preconditioner": (loaded.preconditioner, "state of K-FAC"),
    }
    skipped = {
        f"{part}.safetensors:{name}": reason
        for part, (tensors, reason) in others.items()
        for name in tensors
    }
    facts = {"imported_step": loaded.state["step"]} if "step" in loaded.state else {}
    return Found(
        layout="checkpoint of this project",
        files=(folder / "state.json", *sorted(folder.glob("*.safetensors"))),
        tensors=loaded.model,
        origins={name: name for name in loaded.model},
        skipped=skipped,
        said=loaded.state["model"],
        vocab_size=loaded.state.get("vocab_size"),
        facts=facts | {"vocabulary_sha256": loaded.state.get("vocabulary_sha256")},
    )
