"""Finds the checkpoints of a phase that has ended or still trains, and evaluates them."""

import logging
from pathlib import Path
from typing import Any

import torch

from bert.checkpoints.checkpoint import (
    CheckpointError,
    check_checkpoint,
    checkpoint_digests,
    list_steps,
    load_checkpoint,
    load_weights,
    read_state,
    step_folder,
)
from bert.config import check
from bert.data.corpus import Corpus
from bert.devices.execution import prepare_model
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.ranks.ranks import find_ranks
from bert.train.config import EvaluateConfig, RuntimeConfig
from bert.train.evaluate import evaluate

logger = logging.getLogger(__name__)

_METRICS = ("mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")


def list_checkpoints(folder: Path) -> dict[int, Path]:
    """The whole checkpoints of a phase by their steps, ascending.

    Args:
        folder: <results>/pretrain/phase<n>, where the final checkpoint lies in checkpoint/ and
            running ones in running/<identity>/; or one of these identities.

    Raises:
        FileNotFoundError: There is none.
        ValueError: There are running checkpoints of several identities.
    """
    runs = [run for run in [folder, *sorted(folder.glob("running/*"))] if list_steps(run)]
    if len(runs) > 1:
        names = ", ".join(str(run) for run in runs)
        raise ValueError(
            f"{folder} holds running checkpoints of {len(runs)} different runs (the recipe or the "
            f"code was changed in between): {names}. Give one of these folders, or delete the "
            "ones that are no longer needed."
        )
    found = {step: step_folder(run, step) for run in runs for step in list_steps(run)}
    final = folder / "checkpoint"
    if final.exists():
        found[_step_of(final)] = final
    if not found:
        raise FileNotFoundError(
            f"{folder} holds no checkpoint, neither in checkpoint/ nor in running/; the rule "
            "`pretrain` writes them. Give <results>/pretrain/phase<n>."
        )
    return dict(sorted(found.items()))


def _step_of(folder: Path) -> int:
    return int(read_state(folder)["totals"]["steps"])


def choose_checkpoints(folder: Path, which: str) -> dict[int, Path]:
    """Those of `list_checkpoints` that `which` names: newest, all, or a step's number.

    Raises:
        FileNotFoundError: There is none at all.
        ValueError: There is none of this step.
    """
    found = list_checkpoints(folder)
    if which == "all":
        return found
    step = max(found) if which == "newest" else int(which) if which.isdecimal() else None
    if step not in found:
        steps = ", ".join(map(str, found))
        raise ValueError(
            f"{folder} holds no checkpoint {which}; there are those of the steps {steps}. Give "
            "one of them, newest, or all."
        )
    return {step: found[step]}


def evaluate_checkpoint(
    folder: Path, corpus: Corpus, config: EvaluateConfig, runtime: RuntimeConfig,
    device: torch.device,
) -> dict[str, float | None]:  # fmt: skip
    """Losses and accuracies of a checkpoint, as `bert.train.evaluate.evaluate` gives them.

    Raises:
        CheckpointError: It is damaged, or of another vocabulary than the corpus.
        ValueError: The instances can be longer than the model's positions.
    """
    loaded = load_checkpoint(folder)
    check_checkpoint(folder, loaded.state, {"vocabulary_sha256": corpus.info.vocabulary_sha256})
    model_config = check(ModelConfig, loaded.state["model"], where=str(folder / "state.json"))
    longest, positions = corpus.info.max_seq_length, model_config.max_position_embeddings
    if longest > positions:
        raise ValueError(
            f"{corpus.files[0]} has instances of up to {longest} tokens, and the model of {folder} "
            f"has {positions} positions. Give held-out instances that fit."
        )
    model = BertForPretraining(model_config, corpus.info.vocab_size)
    load_weights(model, loaded.model, folder)
    model.to(device)
    prepare_model(model, runtime, device)
    return evaluate(
        model, corpus, config.masking, seed=config.seed, limit=config.instances,
        runtime=runtime, device=device, ranks=find_ranks({}),
    )  # fmt: skip


def evaluate_chosen(
    chosen: dict[int, Path], corpus: Corpus, config: EvaluateConfig, runtime: RuntimeConfig,
    device: torch.device,
) -> list[dict[str, Any]]:  # fmt: skip
    """Evaluates checkpoints one by one, of a run that may still train.

    Args:
        chosen: Folders by step; one that the run deletes in the meantime is left out with a
            warning, because newer ones have taken its place.
        corpus: Held-out instances.
        config: How they are masked, and how many.
        runtime: Section `runtime`.
        device: Where to compute.

    Returns:
        For each checkpoint its `step`, the `digests` of its files, and its `metrics`.

    Raises:
        CheckpointError: A checkpoint is damaged, of another vocabulary, or none is left.
    """
    rows = []
    for step, folder in chosen.items():
        try:
            digests = checkpoint_digests(folder)
            metrics = evaluate_checkpoint(folder, corpus, config, runtime, device)
        except (CheckpointError, OSError):
            if folder.exists():
                raise
            logger.warning("%s was deleted by the run; it is left out", folder)
            continue
        rows.append({"step": step, "digests": digests, "metrics": metrics})
    if not rows:
        raise CheckpointError(
            f"The run deleted all {len(chosen)} checkpoints while they were read; ask again."
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The metrics by step as aligned text, losses in nats, accuracies in percent."""
    lines = ["".join(f"{name:>14}" for name in ("step", *_METRICS))]
    for row in rows:
        cells = [_cell(name, row["metrics"][name]) for name in _METRICS]
        lines.append("".join([f"{row['step']:>14}", *cells]))
    return "\n".join(lines) + "\n"


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return f"{'-':>14}"
    return f"{value:>14.2%}" if name.endswith("accuracy") else f"{value:>14.4f}"
