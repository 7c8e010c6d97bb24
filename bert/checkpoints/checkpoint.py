"""Checkpoints: a folder a step, whole or absent, that no code runs from.

| file                         | content                                                      |
|------------------------------|--------------------------------------------------------------|
| `model.safetensors`          | parameters by name                                           |
| `optimizer.safetensors`      | the optimizer's tensors, `<key>:<parameter name>`            |
| `preconditioner.safetensors` | K-FAC's tensors; only where there are some                   |
| `state.json`                 | format, version, files (bytes and crc32 of each), phase,     |
|                              | step, vocabulary, model section, who made it                 |

`state.json` has `format` "bert-checkpoint" and `version` 2; version 1 had no `files` and no
preconditioner, and is read, too. A folder is written beside its place, fsynced and renamed, so a
name without a leading dot is a whole checkpoint. Random numbers and the data position are functions
of the step and need no file.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bert.checkpoints.tensor_file import Receipt, TensorFileError, read_tensors, write_tensors
from bert.manifest import atomic_directory, sha256_file

# Tensors of a checkpoint by file, without the suffix, and by name in it.
Parts = Mapping[str, Mapping[str, Tensor]]

_ALWAYS = ("model", "optimizer")
_PARTS = (*_ALWAYS, "preconditioner")
_FORMAT = "bert-checkpoint"
_VERSION = 2


class CheckpointError(ValueError):
    """A checkpoint that is damaged or belongs to another model or vocabulary."""


class Checkpoint(NamedTuple):
    """A loaded checkpoint, tensors on the CPU."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    preconditioner: dict[str, Tensor]  # empty without K-FAC
    state: dict[str, Any]


def write_checkpoint(folder: Path, parts: Parts, state: Mapping[str, Any]) -> None:
    """Writes a checkpoint to `folder`; an OSError (a full disk) leaves no trace of it.

    Args:
        folder: Its place; an older checkpoint there is replaced.
        parts: Tensors of `model`, `optimizer` and, if there are any, `preconditioner`.
        state: Plain data for `state.json`.
    """
    with atomic_directory(folder) as temporary:
        files = {
            _file(part): write_tensors(temporary / _file(part), parts[part])._asdict()
            for part in _PARTS
            if part in _ALWAYS or parts.get(part)
        }
        head = {"format": _FORMAT, "version": _VERSION, "files": files}
        text = json.dumps(dict(state) | head, indent=2, sort_keys=True, allow_nan=False)
        (temporary / "state.json").write_text(text + "\n", "utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        CheckpointError: A file is missing, damaged or of another format; names it.
    """
    state = read_state(folder)
    receipts = _receipts(folder, state)
    missing = [name for name in receipts if not (folder / name).exists()]
    if missing:
        raise _lacks(folder, missing)
    tensors: dict[str, dict[str, Tensor]] = {}
    for name, receipt in receipts.items():
        try:
            tensors[name] = read_tensors(folder / name, receipt)
        except TensorFileError as error:
            raise _damaged(folder / name, str(error)) from None
    model, optimizer, preconditioner = (tensors.get(_file(part), {}) for part in _PARTS)
    return Checkpoint(model, optimizer, preconditioner, state)


def read_state(folder: Path) -> dict[str, Any]:
    """What `state.json` of a checkpoint says.

    Raises:
        CheckpointError: It is missing, damaged or of another format.
    """
    file = folder / "state.json"
    if not file.exists():
        raise _lacks(folder, [file.name])
    try:
        state = json.loads(file.read_bytes())
    except ValueError as error:
        raise _damaged(file, f"is not JSON ({error})") from None
    if not isinstance(state, dict):
        raise _damaged(file, f"holds {str(state)[:40]}, expected an object")
    found = state.get("format"), state.get("version")
    if found[0] != _FORMAT or found[1] not in range(1, _VERSION + 1):
        raise CheckpointError(
            f"{folder} is {found}; expected ('{_FORMAT}', 1 to {_VERSION}). Use it with the "
            "release of this project that wrote it, or run the rule `pretrain` again."
        )
    return state


def _receipts(folder: Path, state: dict[str, Any]) -> dict[str, Receipt | None]:
    """The files of tensors that a checkpoint is made of."""
    always = {_file(part): None for part in _ALWAYS}
    if state["version"] == 1:
        return dict(always)
    known = {_file(part) for part in _PARTS}
    files = state.get("files")
    try:
        receipts = {name: Receipt(**files[name]) for name in files}  # type: ignore[index, union-attr]
    except (TypeError, KeyError):
        receipts = {}
    if not always.keys() <= receipts.keys() <= known:
        raise _damaged(folder / "state.json", f"has files {str(files)[:80]}")
    return dict(receipts)


def _file(part: str) -> str:
    return f"{part}.safetensors"


def _lacks(folder: Path, missing: list[str]) -> CheckpointError:
    return CheckpointError(
        f"{folder} lacks {', '.join(missing)}; it is no checkpoint of this project. "
        "Run the rule `pretrain` again."
    )


def _damaged(file: Path, how: str) -> CheckpointError:
    return CheckpointError(
        f"{file} is damaged: it {how}. Delete {file.parent} and run the rule `pretrain` again."
    )


def check_checkpoint(folder: Path, state: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuses a checkpoint whose `state` differs from `expected` in one of its keys.

    Raises:
        CheckpointError: Names each key with both values.
    """
    differing = [
        f"{key} is {state.get(key)}, expected {value}"
        for key, value in expected.items()
        if state.get(key) != value
    ]
    if differing:
        raise CheckpointError(
            f"{folder} belongs to another model: {'; '.join(differing)}. Use the checkpoint of "
            "this run, or set the `model` and `vocab` sections to those it was made with."
        )


def load_weights(model: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    """Copies weights into a model of exactly the same parameters.

    Raises:
        CheckpointError: A tensor is missing, left over or of another shape.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in sorted(own.keys() - weights.keys())]
    problems += [f"{name} is not part of the model" for name in sorted(weights.keys() - own.keys())]
    problems += [
        f"{name} has shape {list(weights[name].shape)}, expected {list(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape != own[name].shape
    ]
    if problems:
        shown = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" * (len(problems) > 5))
        raise CheckpointError(
            f"{folder} does not fit the model: {shown}. Set the `model` section to the one it was "
            "made with."
        )
    model.load_state_dict(weights)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's per-parameter tensors under `<key>:<parameter name>`."""
    return {
        f"{key}:{name}": value.detach().contiguous()
        for name, parameter in model.named_parameters()
        for key, value in sorted(optimizer.state.get(parameter, {}).items())
        if isinstance(value, Tensor)
    }


def load_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], folder: Path
) -> None:
    """Puts saved tensors back as the state of the optimizer's parameters.

    Raises:
        CheckpointError: A tensor belongs to no parameter, or some parameter has none.
    """
    parameters = dict(model.named_parameters())
    seen = set()
    for full_name, tensor in tensors.items():
        key, _, name = full_name.partition(":")
        if name not in parameters:
            raise CheckpointError(
                f"{folder} has optimizer state for {name}, which is no parameter."
            )
        moved = tensor.to(parameters[name].device) if tensor.dim() else tensor
        optimizer.state[parameters[name]][key] = moved.clone()
        seen.add(name)
    missing = sorted(parameters.keys() - seen)
    if missing:
        raise CheckpointError(
            f"{folder} has no optimizer state for {missing[0]} and {len(missing) - 1} more."
        )


def step_folder(running: Path, step: int) -> Path:
    """Place of the running checkpoint of a step."""
    return running / f"step-{step:08d}"


def list_steps(running: Path) -> list[int]:
    """Steps of the whole checkpoints in a folder, ascending."""
    names = [path.name for path in running.iterdir()] if running.exists() else []
    return sorted(int(m[1]) for name in names if (m := re.fullmatch(r"step-(\d{8})", name)))


def checkpoint_digests(folder: Path) -> dict[str, str]:
    """sha256 of the tensors' files; equal training gives equal digests."""
    files = [folder / _file(part) for part in _PARTS]
    return {
        file.name: sha256_file(file)
        for part, file in zip(_PARTS, files, strict=True)
        if part in _ALWAYS or file.exists()
    }
