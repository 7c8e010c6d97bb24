"""transformers' BertForPreTraining as a subject, trained as its users train it.

Padded batches with a mask of attention, labels of -100 where nothing is predicted, bf16 autocast,
torch's fused AdamW, gradients clipped to norm 1. The mask of attention is left out where a batch
has no padding, a batch is filled up to its longest sequence only, and nobody waits for the loss:
each is to its advantage.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from subject import Subject
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from bert.data.batches import StepBatch
from bert.model.config import padded_vocab_size

os.environ["HF_HUB_OFFLINE"] = "1"

_IGNORED = -100  # what transformers' loss leaves out


def make(order: dict[str, Any]) -> Subject:
    """Builds the model on its device with torch's optimizer.

    Args:
        order: See `worker.py`.
    """
    device = torch.device(order["device"])
    model = make_model(order).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=True)

    def step(batch: dict[str, Tensor]) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        moved = {name: x.to(device, non_blocking=True) for name, x in batch.items()}
        with _autocast(order["precision"], device):
            loss = model(**moved).loss
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    return Subject(device, {"threads": torch.get_num_threads()}, pad_batch, step)


def make_model(order: dict[str, Any]) -> Any:
    """The model with fresh weights, the case's shape, and dropout 0.1 everywhere."""
    from transformers import BertConfig, BertForPreTraining  # noqa: PLC0415

    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=padded_vocab_size(order["vocab_size"], 8),
        hidden_size=order["hidden"],
        num_hidden_layers=order["layers"],
        num_attention_heads=order["heads"],
        intermediate_size=order["intermediate"],
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        attn_implementation=order["attention"],
    )
    return BertForPreTraining(config)


def pad_batch(batch: StepBatch) -> dict[str, Tensor]:
    """A step's stream as the arguments of BertForPreTraining.

    Returns:
        input_ids, token_type_ids, labels, all int64 [B, L], next_sentence_label int64 [B], and
        attention_mask int64 [B, L] if there is padding; L is the longest sequence.
    """
    (stream,) = batch.micro_batches
    lengths = torch.from_numpy(stream.cu_seqlens).diff()
    there = torch.arange(int(lengths.max())) < lengths[:, None]

    def filled(values: Any, value: int) -> Tensor:
        rows = torch.full(there.shape, value, dtype=torch.int64)
        rows[there] = torch.as_tensor(values.astype("int64"))
        return rows

    labels = torch.full((len(stream.input_ids),), _IGNORED, dtype=torch.int64)
    labels[torch.from_numpy(stream.masked_lm_positions).long()] = torch.as_tensor(
        stream.masked_lm_ids.astype("int64")
    )
    padded = {
        "input_ids": filled(stream.input_ids, 0),
        "token_type_ids": filled(stream.segment_ids, 0),
        "labels": filled(labels.numpy(), _IGNORED),
        "next_sentence_label": torch.as_tensor(stream.next_sentence_labels.astype("int64")),
    }
    return padded if bool(there.all()) else padded | {"attention_mask": there.long()}


def _autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
