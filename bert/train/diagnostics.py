"""The report on a step whose loss or gradient is not finite, for a person to find the cause.

A folder `diagnostics/phase<n>-step<k>/`:

| file                       | content                                                          |
|----------------------------|------------------------------------------------------------------|
| `report.json`              | step, losses, norms, statistics of the weights, config, versions |
| `instances.csv`            | every instance of the batch: where it stands, and who had it     |
| `micro_batches-rank<r>.csv`| losses and counts of that rank's micro-batches                   |

Each file is written beside its place and renamed; report.json comes last, so a folder with it is
whole but for the files of other ranks. Numbers that are not finite stand as "nan" or "inf".
"""

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bert.data.batches import MicroBatch, Reading, cut_lengths, find_samples, rank_share
from bert.data.corpus import Corpus
from bert.manifest import atomic_file, versions, write_json

_LARGEST = 20
_INSTANCE_COLUMNS = ("rank", "micro_batch", "epoch", "instance", "shard", "row", "tokens")
_MICRO_COLUMNS = ("micro_batch", "instances", "tokens", "predictions", "mlm_loss", "nsp_loss")


class BadStep(NamedTuple):
    """A step as the report tells it; losses are means over the batch in nats."""

    step: int
    verdict: str  # skip, rollback or stop
    mlm_loss: float
    nsp_loss: float
    gradient_norm: float  # of the summed and unscaled gradient
    learning_rate: float
    loss_scale: float | None  # of this step; fp16 only
    rollbacks: int
    micro_losses: list[tuple[float, float]]  # this rank's, each summed: tokens, instances


def report_folder(output: Path, phase: int, bad: BadStep) -> Path:
    """Where the report of a step belongs; a repeated step after a rollback has its own."""
    again = f"-rollback{bad.rollbacks}" if bad.rollbacks else ""
    return output / "diagnostics" / f"phase{phase}-step{bad.step}{again}"


def write_report(
    folder: Path, bad: BadStep, micro_batches: Sequence[MicroBatch], model: nn.Module,
    corpus: Corpus, reading: Reading, config: dict[str, Any],
) -> None:  # fmt: skip
    """Writes this rank's part of the report; rank 0 also writes what concerns all.

    To be called on every rank while the gradients of the step still stand; the ranks do not wait
    for each other. Memory: some 100 bytes an instance of the batch.

    Args:
        folder: As `report_folder` names it; on a file system that all ranks see.
        bad: The step.
        micro_batches: This rank's share of it.
        model: With its weights and its gradients, summed over the ranks.
        corpus: What is trained on.
        reading: How this rank reads it.
        config: Sections by name, plain data.
    """
    rank = f"micro_batches-rank{reading.rank}.csv"
    _write_csv(folder / rank, _MICRO_COLUMNS, _micro_rows(micro_batches, bad.micro_losses))
    if reading.rank:
        return
    _write_csv(
        folder / "instances.csv", _INSTANCE_COLUMNS, instance_rows(corpus, reading, bad.step)
    )
    values = {key: value for key, value in bad._asdict().items() if key != "micro_losses"}
    report = {
        "phase": reading.phase,
        **values,
        "ranks": reading.world,
        "gradients": gradient_statistics(model),
        "weights": weight_statistics(model),
        "config": config,
        "versions": versions(),
    }
    write_json(folder / "report.json", _plain(report))


def instance_rows(corpus: Corpus, reading: Reading, step: int) -> Iterable[tuple[Any, ...]]:
    """Rows of instances.csv: every instance of a step's batch, over all ranks, as they had it.

    Yields:
        rank; micro_batch (counting from 0); epoch; instance (number in the corpus); shard (file
        name); row (in the shard, from 0); tokens.
    """
    for rank in range(reading.world):
        share = rank_share(reading.batch, rank, reading.world)
        sample = (step - 1) * reading.batch + share
        epoch, index = find_samples(corpus, sample, reading.seed, reading.phase)
        lengths = corpus.take(index).lengths
        shard = np.searchsorted(corpus.first, index, side="right") - 1
        numbers = _micro_batch_numbers(lengths, reading.micro_batch_tokens)
        columns = (numbers, epoch, index, shard, index - corpus.first[shard], lengths)
        for number, at, one, file, row, tokens in zip(*(c.tolist() for c in columns), strict=True):
            yield rank, number, at, one, corpus.files[file].name, row, tokens


def _micro_batch_numbers(lengths: NDArray[np.int64], most_tokens: int) -> NDArray[np.int64]:
    sizes = [last - first for first, last in cut_lengths(lengths, most_tokens)]
    return np.repeat(np.arange(len(sizes)), sizes)


def _micro_rows(
    micro_batches: Sequence[MicroBatch], losses: Sequence[tuple[float, float]]
) -> Iterable[tuple[Any, ...]]:
    for number, (micro, (mlm, nsp)) in enumerate(zip(micro_batches, losses, strict=True)):
        instances, predictions = len(micro.next_sentence_labels), len(micro.masked_lm_ids)
        means = (mlm / max(predictions, 1), nsp / instances)
        yield number, instances, len(micro.input_ids), predictions, *means


def gradient_statistics(model: nn.Module) -> dict[str, Any]:
    """Norms of the gradient by parameter: the 20 largest finite ones, and all that are not finite.

    Those that are not finite come with how many of their elements are NaN and infinite.
    """
    norms: dict[str, float] = {}
    broken: dict[str, dict[str, int]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is None:
            continue
        gradient = parameter.grad.detach().float()
        norm = float(torch.linalg.vector_norm(gradient))
        if math.isfinite(norm):
            norms[name] = norm
        else:
            counts = {"nan": gradient.isnan(), "inf": gradient.isinf()}
            broken[name] = {key: int(where.sum()) for key, where in counts.items()}
    largest = sorted(norms, key=lambda name: norms[name], reverse=True)[:_LARGEST]
    return {"largest": {name: norms[name] for name in largest}, "not_finite": broken}


def weight_statistics(model: nn.Module) -> dict[str, dict[str, Any]]:
    """Smallest, largest and root mean square of each parameter's finite elements, by name."""
    return {name: _statistics(parameter) for name, parameter in model.named_parameters()}


def _statistics(parameter: Tensor) -> dict[str, Any]:
    values = parameter.detach().float()
    finite = values[values.isfinite()]
    found: dict[str, Any] = {"not_finite": values.numel() - finite.numel()}
    if finite.numel():
        rms = torch.linalg.vector_norm(finite) / math.sqrt(finite.numel())
        found |= {"min": float(finite.min()), "max": float(finite.max()), "rms": float(rms)}
    return found


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _plain(value: Any) -> Any:
    """The same with "nan" and "inf" for floats that JSON has no name for."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
