"""One phase of pretraining: the step, the loop, and where a run starts or goes on."""

import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch

from bert.checkpoints.checkpoint import (
    check_checkpoint,
    list_steps,
    load_checkpoint,
    load_optimizer,
    load_weights,
    prune,
    save_checkpoint,
    step_folder,
)
from bert.data.batches import MicroBatch, Reading, StepBatch, read_steps, steps_ahead
from bert.data.corpus import Corpus
from bert.data.prefetch import prefetch
from bert.data.randomness import make_key
from bert.devices.device import autocast, probe_flops, to_device, training_flops
from bert.log import Progress
from bert.model.bert import initialize
from bert.model.config import ModelConfig
from bert.model.heads import BertForPretraining
from bert.optim.clip import clip_by_global_norm
from bert.optim.groups import make_optimizer
from bert.optim.moments import MomentOptimizer, reset_step, set_learning_rate
from bert.optim.schedule import learning_rate_factor
from bert.ranks.ranks import Ranks
from bert.train.config import PhaseConfig, RuntimeConfig
from bert.train.evaluate import evaluate, loss_sums, run_model
from bert.train.metrics import Clock, MetricsFile, StepResult
from bert.train.stop import StopSignal

logger = logging.getLogger(__name__)


class Setup(NamedTuple):
    """All that a phase is made of, the same on every rank but for `ranks` and `device`."""

    phase: int  # 1 or 2, mixed into every seed
    config: PhaseConfig
    model: ModelConfig
    runtime: RuntimeConfig
    train: Corpus
    held_out: Corpus
    ranks: Ranks
    device: torch.device


def build(setup: Setup) -> tuple[BertForPretraining, MomentOptimizer]:
    """The freshly initialised model on its device, and its optimizer."""
    model = BertForPretraining(setup.model, setup.train.info.vocab_size)
    generator = torch.Generator().manual_seed(setup.config.seed)
    std, positions = setup.model.initializer_range, setup.model.position_init
    initialize(model, std, generator, positions=positions)
    model.to(setup.device).train()
    return model, make_optimizer(model.named_parameters(), setup.config.optimizer)


def identity(setup: Setup) -> dict[str, Any]:
    """What a checkpoint must share with this run to be loaded into it."""
    return {
        "model": setup.model.model_dump(),
        "vocab_size": setup.train.info.vocab_size,
        "vocabulary_sha256": setup.train.info.vocabulary_sha256,
    }


def start_from_previous(
    setup: Setup, model: BertForPretraining, optimizer: MomentOptimizer, folder: Path
) -> None:
    """NVIDIA's phase switch: weights and moments of the last phase, the step counted from 0.

    Raises:
        CheckpointError: The checkpoint is of another model or vocabulary.
    """
    loaded = load_checkpoint(folder)
    check_checkpoint(folder, loaded.state, identity(setup))
    load_weights(model, loaded.model, folder)
    load_optimizer(model, optimizer, loaded.optimizer, folder)
    reset_step(optimizer)


def train_step(
    setup: Setup, model: BertForPretraining, optimizer: MomentOptimizer, batch: StepBatch
) -> StepResult:
    """One optimizer step on this rank's share of a batch.

    The loss is the mean over all predicted tokens of the global batch plus the mean over all its
    instances, whatever the micro-batches and ranks.

    Raises:
        RuntimeError: The loss or the gradient is not finite; the weights are as before.
    """
    counts = [_counts(setup, micro) for micro in batch.micro_batches]
    summed = setup.ranks.sum([math.fsum(c) for c in zip(*counts, strict=True)], setup.device)
    tokens, masked_tokens, flops = summed
    optimizer.zero_grad(set_to_none=True)
    mlm_sum = nsp_sum = 0.0
    for number, micro in enumerate(batch.micro_batches):
        # Dropout, too, is a function of the step: nothing to save, nothing to restore.
        torch.manual_seed(_dropout_seed(setup, batch.step, number))
        moved = to_device(micro, setup.device)
        with autocast(setup.runtime, setup.device):
            logits = run_model(model, moved)
        sums = loss_sums(logits, moved)
        loss = sums.mlm_loss / masked_tokens + sums.nsp_loss / setup.config.batch
        loss.backward()  # type: ignore[no-untyped-call]
        mlm_sum += float(sums.mlm_loss.detach())
        nsp_sum += float(sums.nsp_loss.detach())
    setup.ranks.sum_gradients(model.parameters())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = float(clip_by_global_norm(gradients, setup.config.optimizer.max_grad_norm))
    mlm_sum, nsp_sum = setup.ranks.sum([mlm_sum, nsp_sum], setup.device)
    mlm_loss, nsp_loss = mlm_sum / masked_tokens, nsp_sum / setup.config.batch
    if not math.isfinite(mlm_loss + nsp_loss + norm):
        raise RuntimeError(
            f"Step {batch.step} has mlm_loss {mlm_loss}, nsp_loss {nsp_loss} and gradient norm "
            f"{norm}; all must be finite. The weights of step {batch.step - 1} were kept. Lower "
            "learning_rate or max_grad_norm, or use precision fp32."
        )
    optimizer.step()
    return StepResult(mlm_loss, nsp_loss, norm, int(tokens), int(masked_tokens), flops)


def pretrain(
    setup: Setup, model: BertForPretraining, optimizer: MomentOptimizer, *, running: Path,
    previous: Path | None, stop: StopSignal,
) -> dict[str, int] | None:  # fmt: skip
    """Trains until the last step, going on from the newest running checkpoint if there is one.

    Args:
        setup: The phase.
        model: As `build` made it; trained in place.
        optimizer: As `build` made it.
        running: Folder of this run's checkpoints and metrics.jsonl; it names the run's identity.
        previous: Final checkpoint of the previous phase, or None.
        stop: Asked after every step, on all ranks.

    Returns:
        Totals over all steps (steps, sequences, tokens, masked_tokens), or None if it was stopped.
    """
    totals = _resume(setup, model, optimizer, running, previous)
    first = totals["steps"] + 1
    metrics = MetricsFile(running / "metrics.jsonl", totals["steps"], setup.ranks.rank == 0)
    steps = range(first, setup.config.steps + 1)
    clock = _start_clock(setup, first)
    reading = _reading(setup)
    ahead = steps_ahead(setup.train, reading)
    for batch in prefetch(read_steps(setup.train, steps, reading), ahead):
        rate = setup.config.learning_rate * learning_rate_factor(
            batch.step, setup.config.steps, setup.config.schedule
        )
        set_learning_rate(optimizer, rate)
        result = train_step(setup, model, optimizer, batch)
        _count(totals, result, setup.config.batch)
        last = batch.step == setup.config.steps
        clock.tick(batch.step, result, rate, metrics)
        if last or batch.step % setup.config.evaluation.every == 0:
            clock.pause()
            metrics.write("evaluate", batch.step, **_evaluate(setup, model))
        stopping = setup.ranks.any(stop.received, setup.device)
        if last or stopping or batch.step % setup.runtime.checkpoint.every_steps == 0:
            clock.pause()
            _save(setup, model, optimizer, running, totals)
        if stopping and not last:
            return None
    clock.close()
    return totals


def _start_clock(setup: Setup, first: int) -> Clock:
    steps = setup.config.steps
    name = f"pretrain phase {setup.phase}"
    progress = Progress(name, steps, start=first - 1) if setup.ranks.rank == 0 else None
    flops = probe_flops(setup.device, setup.runtime) * setup.ranks.world
    return Clock(setup.config, flops, progress)


def _reading(setup: Setup) -> Reading:
    return Reading(
        setup.config.seed,
        setup.phase,
        setup.config.batch,
        setup.config.masking,
        setup.runtime.micro_batch_tokens,
        setup.ranks.rank,
        setup.ranks.world,
    )


def _counts(setup: Setup, micro: MicroBatch) -> tuple[int, int, float]:
    lengths = tuple((micro.cu_seqlens[1:] - micro.cu_seqlens[:-1]).tolist())
    masked = len(micro.masked_lm_ids)
    vocab_size = setup.train.info.vocab_size
    return sum(lengths), masked, training_flops(setup.model, vocab_size, lengths, masked)


def _dropout_seed(setup: Setup, step: int, micro_batch: int) -> int:
    key = make_key(setup.config.seed, setup.phase, step, micro_batch, setup.ranks.rank)
    return int(key) >> 1


def _count(totals: dict[str, int], result: StepResult, batch: int) -> None:
    totals["steps"] += 1
    totals["sequences"] += batch
    totals["tokens"] += result.tokens
    totals["masked_tokens"] += result.masked_tokens


def _evaluate(setup: Setup, model: BertForPretraining) -> dict[str, float | None]:
    return evaluate(
        model,
        setup.held_out,
        setup.config.masking,
        seed=setup.config.seed,
        limit=setup.config.evaluation.instances,
        runtime=setup.runtime,
        device=setup.device,
        ranks=setup.ranks,
    )


def _save(
    setup: Setup, model: BertForPretraining, optimizer: MomentOptimizer, running: Path,
    totals: dict[str, int],
) -> None:  # fmt: skip
    if setup.ranks.rank == 0:
        state = {
            "phase": setup.phase,
            "optimizer_step": optimizer.param_groups[0]["step"],
            "totals": totals,
        }
        folder = step_folder(running, totals["steps"])
        save_checkpoint(folder, model, optimizer, state | identity(setup))
        logger.info("saved %s", folder)
        prune(running, setup.runtime.checkpoint.keep_last, setup.runtime.checkpoint.keep_every)
    setup.ranks.barrier()


def _resume(
    setup: Setup, model: BertForPretraining, optimizer: MomentOptimizer, running: Path,
    previous: Path | None,
) -> dict[str, int]:  # fmt: skip
    steps = list_steps(running)
    if not steps:
        if previous is not None:
            start_from_previous(setup, model, optimizer, previous)
            logger.info("starting from the weights and moments of %s", previous)
        return {"steps": 0, "sequences": 0, "tokens": 0, "masked_tokens": 0}
    folder = step_folder(running, steps[-1])
    loaded = load_checkpoint(folder)
    check_checkpoint(folder, loaded.state, identity(setup) | {"phase": setup.phase})
    load_weights(model, loaded.model, folder)
    load_optimizer(model, optimizer, loaded.optimizer, folder)
    for group in optimizer.param_groups:
        group["step"] = loaded.state["optimizer_step"]
    logger.info("going on from %s", folder)
    totals: dict[str, int] = loaded.state["totals"]
    return totals
