"""MRPC as a task: are two sentences paraphrases of each other?

Source: Dolan and Brockett 2005; Devlin et al. 2018, section 4.1; google/bert run_classifier.py.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer

from bert.config import Section, knob
from bert.tasks import mrpc_tsv
from bert.tasks.features import (
    Feature,
    FeatureError,
    FeatureSet,
    Head,
    Role,
    check_count,
    check_finite,
    framed,
    special_ids,
    token_ids,
)
from bert.tasks.mrpc_tsv import Layout, MrpcExample

logger = logging.getLogger(__name__)

HEAD: Head = "sentence"
NUM_LABELS = 2
PARAPHRASE = 1


class MrpcConfig(Section):
    """MRPC paraphrase recognition."""

    format: Literal["mrpc"] = knob("Task format: MRPC sentence pairs.")
    layout: Layout = knob(
        "Layout of the files: glue = one TSV a split; microsoft = msr_paraphrase_train.txt and "
        "GLUE's dev_ids.tsv, both for either split, whose rows are chosen by the ids."
    )
    max_seq_length: int = knob(
        "Longest sequence in tokens, both sentences and 3 special tokens (Devlin et al.: 128).",
        ge=5,
    )


class MrpcPrediction(BaseModel):
    """The prediction of one pair: its label, and the probability that it is a paraphrase."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Literal[0, 1]
    probability: float = Field(ge=0, le=1)


PREDICTION = MrpcPrediction


def read_examples(
    files: Sequence[Path], config: MrpcConfig, *, role: Role
) -> tuple[list[MrpcExample], dict[str, int]]:
    """All pairs of one split, in file order.

    Args:
        files: glue: the split's TSV. microsoft: msr_paraphrase_train.txt and dev_ids.tsv.
        config: The layout.
        role: The split, which chooses the rows of the layout "microsoft".

    Returns:
        The examples and the counts rows (of all splits in the files), pairs and paraphrases.

    Raises:
        mrpc_tsv.MrpcError: Another number of files, a bad row, a pair that stands twice, a dev id
            without its row, or no pair at all.
    """
    examples, rows = mrpc_tsv.read_mrpc(files, config.layout, role=role)
    paraphrases = sum(example.label == PARAPHRASE for example in examples)
    counts = {"rows": rows, "pairs": len(examples), "paraphrases": paraphrases}
    logger.info("Read %s", ", ".join(f"{value} {name}" for name, value in counts.items()))
    return examples, counts


def make_features(
    examples: Sequence[MrpcExample], tokenizer: Tokenizer, config: MrpcConfig, *, training: bool
) -> FeatureSet[None]:
    """One feature a pair: `[CLS] first [SEP] second [SEP]`.

    A pair that is too long loses tokens at the end of whichever sentence is longer at the time
    (of the second between equals).

    Args:
        examples: The pairs.
        tokenizer: Tokenizer of the vocabulary.
        config: The length.
        training: Whether to give the label as target.

    Returns:
        The features. Counts: features and cut_pairs.

    Raises:
        FeatureError: The tokenizer lacks a special token, or cuts or pads.

    Source: google/bert run_classifier.py, `_truncate_seq_pair`.
    """
    special = special_ids(tokenizer)
    features = []
    cut = 0
    firsts = token_ids(tokenizer, [example.first for example in examples])
    seconds = token_ids(tokenizer, [example.second for example in examples])
    for index, (a, b) in enumerate(zip(firsts, seconds, strict=True)):
        kept_a, kept_b = kept_lengths(len(a), len(b), config.max_seq_length - 3)
        cut += kept_a + kept_b < len(a) + len(b)
        ids, start = framed(special, a[:kept_a], b[:kept_b])
        targets = (examples[index].label,) if training else ()
        features.append(Feature(ids, start, targets, index))
    logger.info("Made %d features, %d of them of pairs cut to the length", len(features), cut)
    return FeatureSet(features, [], {"features": len(features), "cut_pairs": cut})


def decode(
    examples: Sequence[MrpcExample],
    feature_set: FeatureSet[None],
    outputs: NDArray[np.float32],
    config: MrpcConfig,
) -> dict[str, dict[str, float]]:
    """Labels and probabilities of all pairs.

    Args:
        examples: The pairs.
        feature_set: Their features.
        outputs: float32 [N, 2]: logits of "no paraphrase" and "paraphrase".
        config: Not read; every task's `decode` has it.

    Returns:
        Pair id to {"label": 0 or 1, "probability": of being a paraphrase}, in the order of
        `examples`. Equal logits give label 0.

    Raises:
        FeatureError: Outputs of another shape, or not finite.
    """
    check_count(len(outputs), feature_set)
    if outputs.ndim != 2 or outputs.shape[1] != NUM_LABELS:
        raise FeatureError(
            f"The outputs have the shape {outputs.shape}; expected [{len(outputs)}, {NUM_LABELS}], "
            "two logits a pair. Give the sentence head 2 labels."
        )
    check_finite([outputs], "the sentence head")
    logits = outputs.astype(np.float64)
    probability = 1 / (1 + np.exp(np.clip(logits[:, 0] - logits[:, 1], -700, 700)))
    predicted = zip(feature_set.features, logits.argmax(axis=1), probability, strict=True)
    return {
        examples[feature.example].id: {"label": int(label), "probability": float(p)}
        for feature, label, p in predicted
    }


def metrics(
    gold: Sequence[MrpcExample], predictions: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Accuracy, and F1 of the class "paraphrase", the two numbers GLUE reports.

    Args:
        gold: All pairs; one without a prediction counts as predicted wrongly.
        predictions: As `decode` gives them; only "label" is read.

    Returns:
        accuracy and f1 in percent; f1 is 0 when no paraphrase is found.
    """
    labels = [int(predictions[e.id]["label"]) if e.id in predictions else None for e in gold]
    missing = labels.count(None)
    if missing:
        logger.warning("%d of %d pairs have no prediction and count as wrong", missing, len(gold))
    return _scores(
        [(e.label, 1 - e.label if y is None else y) for e, y in zip(gold, labels, strict=True)]
    )


def baseline(gold: Sequence[MrpcExample]) -> dict[str, float]:
    """Scores of giving every pair the commonest label of `gold`: what no learning gives.

    Returns:
        accuracy and f1 in percent.
    """
    paraphrases = sum(example.label for example in gold)
    majority = int(2 * paraphrases >= len(gold))
    return _scores([(example.label, majority) for example in gold])


def kept_lengths(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each sentence stay, when tokens are taken one by one from the longer."""
    over = max(0, first + second - room)
    longer = min(over, abs(first - second))
    first, second = (first - longer, second) if first > second else (first, second - longer)
    rest = over - longer
    return first - rest // 2, second - (rest + 1) // 2


def _scores(pairs: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Accuracy and F1 in percent of (gold label, predicted label)."""
    right = sum(gold == predicted for gold, predicted in pairs)
    found = sum(gold == predicted == PARAPHRASE for gold, predicted in pairs)
    marked = sum((gold == PARAPHRASE) + (predicted == PARAPHRASE) for gold, predicted in pairs)
    f1 = 2 * found / marked if marked else 0.0
    return {"accuracy": 100.0 * right / len(pairs), "f1": 100.0 * f1}
