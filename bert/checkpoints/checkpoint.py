"""Checkpoints: a folder a step, whole or absent, that no code runs from.

| file                    | content                                                             |
|-------------------------|---------------------------------------------------------------------|
| `model.safetensors`     | parameters by name                                                  |
| `optimizer.safetensors` | the optimizer's tensors, `<key>:<parameter name>`                   |
| `state.json`            | format, version, phase, step, vocabulary, model section, who made it |

`state.json` has `format` "bert-checkpoint" and `version` 1. A folder is written beside its place,
fsynced and renamed, so a name without a leading dot is a whole checkpoint. Random numbers and the
data position are functions of the step and need no file.
"""

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bert.manifest import atomic_directory, sha256_file

logger = logging.getLogger(__name__)

_FILES = ("model.safetensors", "optimizer.safetensors", "state.json")


class CheckpointError(ValueError):
    """A checkpoint that is damaged or belongs to another model or vocabulary."""


class Checkpoint(NamedTuple):
    """A loaded checkpoint, tensors on the CPU."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save_checkpoint(
    folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> None:
    """Writes a checkpoint to `folder`; an OSError (a full disk) leaves no trace of it.

    Args:
        folder: Its place; an older checkpoint there is replaced.
        model: Whose parameters and buffers are written.
        optimizer: Whose state is written.
        state: Plain data for `state.json`.
    """
    with atomic_directory(folder) as temporary:
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, temporary / "model.safetensors", {"format": "pt"})
        save_file(optimizer_tensors(model, optimizer), temporary / "optimizer.safetensors")
        head = {"format": "bert-checkpoint", "version": 1}
        text = json.dumps(head | state, indent=2, sort_keys=True)
        (temporary / "state.json").write_text(text + "\n", "utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Reads a checkpoint.

    Raises:
        CheckpointError: A file is missing, damaged or of another format.
    """
    missing = [name for name in _FILES if not (folder / name).exists()]
    if missing:
        raise CheckpointError(
            f"{folder} lacks {', '.join(missing)}; it is no checkpoint of this project. "
            "Run the rule `pretrain` again."
        )
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text("utf-8"))
        tensors = [load_file(folder / name) for name in _FILES[:2]]
    except (json.JSONDecodeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} is damaged ({error}); delete it and run the rule `pretrain` again."
        ) from None
    found = state.get("format"), state.get("version")
    if found != ("bert-checkpoint", 1):
        raise CheckpointError(f"{folder} is {found}; expected ('bert-checkpoint', 1).")
    return Checkpoint(tensors[0], tensors[1], state)


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


def prune(running: Path, keep_last: int, keep_every: int | None) -> None:
    """Deletes running checkpoints that are neither among the newest nor at a kept multiple."""
    steps = list_steps(running)
    for step in steps[:-keep_last]:
        if not keep_every or step % keep_every:
            shutil.rmtree(step_folder(running, step))
            logger.info("deleted the running checkpoint of step %d", step)


def checkpoint_digests(folder: Path) -> dict[str, str]:
    """sha256 of the tensors' files; equal training gives equal digests."""
    return {name: sha256_file(folder / name) for name in _FILES[:2]}
