"""Masked-token and next-sentence loss and accuracy on held-out instances."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bert.data.batches import read_all
from bert.data.corpus import Corpus
from bert.data.masking import MaskingConfig
from bert.devices.device import DeviceBatch, to_device
from bert.devices.precision import autocast
from bert.model.fused import summed_cross_entropy
from bert.model.heads import BertForPretraining, PretrainingLogits
from bert.ranks.ranks import Ranks
from bert.train.config import RuntimeConfig
from bert.train.guard import NonFiniteError


class Losses(NamedTuple):
    """Cross entropies in nats, summed over a micro-batch; fp32 tensors without shape."""

    mlm_loss: Tensor
    nsp_loss: Tensor  # 0 in a model without next-sentence head


def run_model(model: BertForPretraining, batch: DeviceBatch) -> PretrainingLogits:
    """The forward pass on a micro-batch."""
    logits: PretrainingLogits = model(
        batch.input_ids,
        batch.segment_ids,
        batch.position_ids,
        batch.sequences,
        batch.masked_lm_positions,
    )
    return logits


def losses(logits: PretrainingLogits, batch: DeviceBatch) -> Losses:
    """Cross entropies of predicted tokens and of instances, computed in fp32."""
    mlm_loss = summed_cross_entropy(logits.mlm_logits, batch.masked_lm_ids)
    if logits.nsp_logits is None:
        return Losses(mlm_loss, torch.zeros_like(mlm_loss))
    labels = batch.next_sentence_labels
    return Losses(mlm_loss, F.cross_entropy(logits.nsp_logits.float(), labels, reduction="sum"))


def count_correct(logits: PretrainingLogits, batch: DeviceBatch) -> tuple[Tensor, Tensor]:
    """Predicted tokens and instances with the highest score on the right answer.

    Apart from the losses, because it reads all scores once more and training has no use for it.
    """
    mlm_correct = (logits.mlm_logits.argmax(-1) == batch.masked_lm_ids).sum()
    if logits.nsp_logits is None:
        return mlm_correct, torch.zeros_like(mlm_correct)
    return mlm_correct, (logits.nsp_logits.argmax(-1) == batch.next_sentence_labels).sum()


@torch.no_grad()
def evaluate(
    model: BertForPretraining, corpus: Corpus, masking: MaskingConfig | None, *, seed: int,
    limit: int | None, runtime: RuntimeConfig, device: torch.device, ranks: Ranks,
) -> dict[str, float | None]:  # fmt: skip
    """Losses (nats) and accuracies (0 to 1) on the first `limit` instances, masked by `seed`.

    Without `masking`, the masks are those that the instances hold.
    All ranks share the work, those beyond the last micro-batch with none of it, and get the same
    result; the number of ranks does not change it (tested with == on one machine). The model is in
    training mode afterwards if it was before. The keys are those of an "evaluate" line in
    metrics.jsonl.

    Raises:
        NonFiniteError: A loss is not finite; every rank raises it.
        ValueError: No instance has a predicted token.
        ShardError: A shard is damaged, or holds no masks where `masking` is None.
    """
    training = model.training
    model.eval()
    found: list[Tensor] = []  # four sums a micro-batch, on the device
    counts = [0.0, 0.0]  # predicted tokens, instances
    for micro in read_all(
        corpus, micro_batch_tokens=runtime.micro_batch_tokens, masking=masking, seed=seed,
        limit=limit, rank=ranks.rank, world=ranks.world,
    ):  # fmt: skip
        batch = to_device(micro, device)
        with autocast(runtime, device):
            logits = run_model(model, batch)
        sums = [*losses(logits, batch), *count_correct(logits, batch)]
        found.append(torch.stack([value.float() for value in sums]))  # fp32 holds counts to 2^24
        counts[0] += len(micro.masked_lm_ids)
        counts[1] += len(micro.next_sentence_labels)
    model.train(training)
    totals = ranks.sum([*_added(found), *counts], device)
    mlm_loss, nsp_loss, mlm_correct, nsp_correct, tokens, instances = totals
    if not tokens:
        raise ValueError(
            f"{corpus.files[0]} and its companions have no predicted token in {int(instances)} "
            "instances, so there is no loss. Give `masking`, or make them with masks."
        )
    if not math.isfinite(mlm_loss + nsp_loss):
        raise NonFiniteError(
            f"The held-out losses on {corpus.files[0]} and its companions sum up to {mlm_loss} "
            f"(masked tokens) and {nsp_loss} (next sentence). The weights are broken, or too large "
            "for runtime.precision; evaluate with fp32 to tell which."
        )
    has_nsp = model.cls.seq_relationship is not None
    return {
        "mlm_loss": mlm_loss / tokens,
        "mlm_accuracy": mlm_correct / tokens,
        "nsp_loss": nsp_loss / instances if has_nsp else None,
        "nsp_accuracy": nsp_correct / instances if has_nsp else None,
    }


def _added(found: list[Tensor]) -> list[float]:
    """The micro-batches' sums, read in one transfer and added in their order in float64."""
    totals = [0.0] * 4
    for sums in torch.stack(found).tolist() if found else []:
        totals = [a + b for a, b in zip(totals, sums, strict=True)]
    return totals
