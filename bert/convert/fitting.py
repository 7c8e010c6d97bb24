"""Foreign weights made into a checkpoint's: each is used, skipped with a reason, or an error."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from bert.convert.found import Found, WeightsError
from bert.convert.shape import model_section
from bert.convert.weights import TABLES, misfits, shapes_of, with_rows
from bert.model.config import ModelConfig, padded_vocab_size
from bert.model.heads import BertForPretraining

Before = Literal["phase1", "phase2", "finetune"]

_POOLER = "bert.pooler."
_NEXT_SENTENCE = "cls.seq_relationship."
# Heads of fine-tuned models: transformers, then google-research/bert.
_TASK_HEADS = ("classifier.", "qa_outputs.", "output_weights", "output_bias", "cls/squad/")
# Systems pad their tables to multiples of these.
_MULTIPLES = (2, 4, 8, 16, 32, 64, 128)


class Fitted(NamedTuple):
    """Weights that a run can start from.

    Attributes:
        state: fp32 by our names, token tables padded as the section says.
        config: The section `model` that fits them.
        used: Name in the files to ours.
        skipped: Name in the files to the reason.
        made: Our name to what of it is in no file, and how it was made.
    """

    state: dict[str, Tensor]
    config: ModelConfig
    used: dict[str, str]
    skipped: dict[str, str]
    made: dict[str, str]


def fit(found: Found, given: ModelConfig, vocab_size: int, before: Before) -> Fitted:
    """Fits weights to the network and the vocabulary of a run.

    Args:
        found: The weights.
        given: Section `model` of the run, for what the files do not say.
        vocab_size: True size of the run's vocabulary.
        before: The first stage that takes them. A phase needs the pretraining heads (the
            next-sentence head if `model.next_sentence`), fine-tuning only the encoder.

    Raises:
        WeightsError: Something is missing, unknown, of another shape or type, or not finite.
        ConfigError: The shape is not one that `ModelConfig` allows.
    """
    config = model_section(found, given)
    expected = shapes_of(lambda: BertForPretraining(config, vocab_size))
    tensors, skipped = _without_other_heads(found, config, before)
    if before == "finetune":
        expected = {name: shape for name, shape in expected.items() if name.startswith("bert.")}
        expected = _pooler_as_found(expected, tensors, config.hidden_size)
    rows = padded_vocab_size(vocab_size, config.vocab_multiple)
    made = dict(found.facts.get("made", {}))
    state = {}
    for name in sorted(tensors):
        tensor = _numbers(name, tensors[name], found)
        if name in TABLES:
            tensor, how = _fit_rows(name, tensor, vocab_size, rows, found)
            made |= {name: how} if how else {}
        state[name] = tensor.contiguous()
    if problems := misfits(state, expected):
        raise WeightsError(
            f"The weights of the {found.layout} do not fit the network in {len(problems)} places: "
            f"{'; '.join(problems[:5])}. {_WANTED[before == 'finetune']}"
        )
    used = {found.origins[name]: name for name in state if name in found.origins}
    return Fitted(state, config, used, dict(found.skipped) | skipped, made)


_WANTED = {
    False: "Pretraining needs the encoder and its pretraining heads; without a next-sentence head "
    "set model.next_sentence to false, without any head convert before finetune.",
    True: "Fine-tuning needs the encoder, in the shapes of one BERT.",
}


def _without_other_heads(
    found: Found, config: ModelConfig, before: Before
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors that the run has a use for, and why it has none for the others."""
    reasons: dict[tuple[str, ...], str] = {}
    if before == "finetune":
        reasons[("cls.",)] = "pretraining head; fine-tuning takes the encoder"
        reasons[_TASK_HEADS] = "head of another fine-tuning"
    elif not config.next_sentence:
        reasons[(_NEXT_SENTENCE,)] = "model.next_sentence is false"
        reasons[(_POOLER,)] = "pooler of the next-sentence head; model.next_sentence is false"
    skipped = {
        name: reason
        for name in found.tensors
        for prefixes, reason in reasons.items()
        if name.startswith(prefixes)
    }
    tensors = {name: tensor for name, tensor in found.tensors.items() if name not in skipped}
    return tensors, {found.origins[name]: reason for name, reason in skipped.items()}


def _pooler_as_found(
    expected: Mapping[str, torch.Size], tensors: Mapping[str, Tensor], width: int
) -> dict[str, torch.Size]:
    """Fine-tuning makes a pooler where the files have none; half of one is an error."""
    shapes = {f"{_POOLER}dense.weight": [width, width], f"{_POOLER}dense.bias": [width]}
    others = {name: size for name, size in expected.items() if not name.startswith(_POOLER)}
    if not any(name.startswith(_POOLER) for name in tensors):
        return others
    return others | {name: torch.Size(shape) for name, shape in shapes.items()}


def _numbers(name: str, tensor: Tensor, found: Found) -> Tensor:
    where = f"{found.origins.get(name, name)} of the {found.layout}"
    if not tensor.is_floating_point():
        raise WeightsError(
            f"{where} has type {tensor.dtype}; expected "
            "floating-point weights. Quantised models cannot be read."
        )
    if not torch.isfinite(tensor).all():
        raise WeightsError(
            f"{where} holds NaN or infinity; expected numbers. The training "
            "that wrote it had diverged: take an earlier checkpoint."
        )
    return tensor.float()


def _fit_rows(
    name: str, tensor: Tensor, vocab_size: int, rows: int, found: Found
) -> tuple[Tensor, str | None]:
    """A table with the run's rows, and what was changed."""
    count = tensor.shape[0]
    if found.vocab_size not in (None, vocab_size, count):
        raise _other_vocabulary(found, found.vocab_size, vocab_size)
    padded = [m for m in _MULTIPLES if padded_vocab_size(vocab_size, m) == count]
    if count == rows:
        return tensor, None
    if count != vocab_size and not padded:
        raise _other_vocabulary(found, count, vocab_size)
    tensor = with_rows(name, tensor[:vocab_size], rows)
    cut = f"{count - vocab_size} rows of padding cut" if count != vocab_size else ""
    added = f"{rows - vocab_size} rows of padding made as zeros" if rows != vocab_size else ""
    return tensor, ", ".join(part for part in (cut, added) if part)


def _other_vocabulary(found: Found, count: int | None, vocab_size: int) -> WeightsError:
    return WeightsError(
        f"The {found.layout} has a vocabulary of {count} tokens, the run has {vocab_size}. Give "
        "the vocabulary of the weights in the `vocab` section."
    )
