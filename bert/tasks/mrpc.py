"""MRPC: are two sentences paraphrases of each other?

GLUE averages accuracy and F1. Accuracy stands for the task here: most published results on the dev
data name it.

Source: Dolan and Brockett 2005; Wang et al. 2018 (GLUE); google-research/bert run_classifier.py.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from tokenizers import Tokenizer

from bert.config import knob
from bert.tasks import mrpc_tsv, sentence
from bert.tasks.features import FeatureSet, Head, Role
from bert.tasks.mrpc_tsv import Layout
from bert.tasks.sentence import SentenceConfig, SentenceExample
from bert.tasks.sentence_metrics import accuracy_and_f1

logger = logging.getLogger(__name__)

HEAD: Head = "sentence"
HEADLINE = "accuracy"
PARAPHRASE = 1
_LABELS = ("not_equivalent", "equivalent")


class MrpcConfig(SentenceConfig):
    """MRPC paraphrase recognition."""

    format: Literal["mrpc"] = knob("Task format: MRPC sentence pairs.")
    layout: Layout = knob(
        "Layout of the files: glue = one TSV a split; microsoft = msr_paraphrase_train.txt and "
        "GLUE's dev_ids.tsv, both for either split, whose rows are chosen by the ids."
    )


class MrpcPrediction(BaseModel):
    """The prediction of one pair: its label, and the probability that it is a paraphrase."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: Literal[0, 1]
    probability: float = Field(ge=0, le=1)


PREDICTION = MrpcPrediction


def labels(config: MrpcConfig) -> tuple[str, ...]:
    """Names of the labels 0 and 1."""
    return _LABELS


def read_examples(
    files: Sequence[Path], config: MrpcConfig, *, role: Role
) -> tuple[list[SentenceExample], dict[str, int]]:
    """All pairs of one split, in file order.

    Args:
        files: glue: the split's TSV. microsoft: msr_paraphrase_train.txt and dev_ids.tsv.
        config: The layout.
        role: The split, which chooses the rows of the layout "microsoft".

    Returns:
        The examples and the counts rows (of all splits in the files), pairs and paraphrases.

    Raises:
        glue_tsv.TableError: Another number of files, a bad row, a pair that stands twice, a dev id
            without its row, or no pair at all.
    """
    examples, rows = mrpc_tsv.read_mrpc(files, config.layout, role=role)
    paraphrases = sum(example.label == PARAPHRASE for example in examples)
    counts = {"rows": rows, "pairs": len(examples), "paraphrases": paraphrases}
    logger.info("Read %s", ", ".join(f"{value} {name}" for name, value in counts.items()))
    return examples, counts


def make_features(
    examples: Sequence[SentenceExample], tokenizer: Tokenizer, config: MrpcConfig, *, training: bool
) -> FeatureSet[None]:
    """One feature a pair, as `sentence.make_features`."""
    return sentence.make_features(examples, tokenizer, config, training=training)


def decode(
    examples: Sequence[SentenceExample],
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
    shares = sentence.probabilities(outputs, len(_LABELS), feature_set)
    return {
        examples[feature.example].id: {"label": int(row.argmax()), "probability": float(row[1])}
        for feature, row in zip(feature_set.features, shares, strict=True)
    }


def official_files(
    examples: Sequence[SentenceExample],
    predictions: Mapping[str, Mapping[str, float]],
    config: MrpcConfig,
) -> dict[str, str]:
    """The predictions as GLUE's site takes them: MRPC.tsv, the pairs numbered from 0."""
    rows = [f"{i}\t{predictions[e.id]['label']}\n" for i, e in enumerate(examples)]
    return {"MRPC.tsv": "index\tprediction\n" + "".join(rows)}


def metrics(
    gold: Sequence[SentenceExample], predictions: Mapping[str, Mapping[str, Any]]
) -> dict[str, float]:
    """Accuracy, and F1 of the class "paraphrase", the two numbers GLUE reports.

    Args:
        gold: All pairs; one without a prediction counts as predicted wrongly.
        predictions: As `decode` gives them; only "label" is read.

    Returns:
        accuracy and f1 in percent; f1 is 0 when no paraphrase is found.
    """
    missing = sum(example.id not in predictions for example in gold)
    if missing:
        logger.warning("%d of %d pairs have no prediction and count as wrong", missing, len(gold))
    found = [predictions[e.id]["label"] if e.id in predictions else 1 - e.label for e in gold]
    return accuracy_and_f1(_labels_of(gold), np.array(found))


def baseline(gold: Sequence[SentenceExample]) -> dict[str, float]:
    """Scores of giving every pair the commonest label of `gold`: what no learning gives.

    Returns:
        accuracy and f1 in percent.
    """
    labels = _labels_of(gold)
    majority = int(2 * labels.sum() >= len(labels))
    return accuracy_and_f1(labels, np.full_like(labels, majority))


def _labels_of(gold: Sequence[SentenceExample]) -> NDArray[Any]:
    return np.array([example.label for example in gold])
