"""What tasks over one sentence or a pair share: examples, features, and what outputs mean.

Source: Devlin et al. 2019, section 4.1; google-research/bert, run_classifier.py.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, create_model
from tokenizers import Tokenizer

from bert.config import Section, knob
from bert.tasks.features import (
    Feature,
    FeatureError,
    FeatureSet,
    SpecialIds,
    check_count,
    check_finite,
    framed,
    special_ids,
    token_ids,
)

Probability = Annotated[float, Field(ge=0, le=1)]


class SentenceExample(NamedTuple):
    """One sentence or a pair of them.

    Attributes:
        id: Unique in its split; the key of its prediction.
        first: The sentence, or the first of a pair.
        second: The second of a pair; None = there is one sentence only.
        label: Number of the label, or the value that is to be predicted.
        part: Which of a split's files it stands in, where a task scores them apart; else "".
    """

    id: str
    first: str
    second: str | None
    label: float
    part: str = ""


class SentenceConfig(Section):
    """What all sentence tasks are told."""

    max_seq_length: int = knob(
        "Longest sequence in tokens: the sentences and 2 or 3 special tokens (Devlin et al.: 128).",
        ge=5,
    )


class ValuePrediction(BaseModel):
    """The prediction of a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    value: float


def label_prediction(labels: tuple[str, ...]) -> type[BaseModel]:
    """The type {"label": one of the labels, "probabilities": label to share} of a prediction."""
    name: Any = Literal[labels]
    shares: Any = Annotated[dict[name, Probability], Field(min_length=len(labels))]
    config = ConfigDict(extra="forbid", frozen=True)
    return create_model("LabelPrediction", __config__=config, label=name, probabilities=shares)


def make_features(
    examples: Sequence[SentenceExample],
    tokenizer: Tokenizer,
    config: SentenceConfig,
    *,
    training: bool,
) -> FeatureSet[None]:
    """One feature an example: `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`.

    A sentence that is too long loses tokens at its end; a pair loses them at the end of whichever
    sentence is longer at the time (of the second between equals).

    Args:
        examples: The sentences or pairs.
        tokenizer: Tokenizer of the vocabulary.
        config: The length.
        training: Whether to give the label as target.

    Returns:
        The features. Counts: features and cut_examples.

    Raises:
        FeatureError: The tokenizer lacks a special token, or cuts or pads.

    Source: google-research/bert run_classifier.py, `_truncate_seq_pair`.
    """
    special = special_ids(tokenizer)
    # A sentence that is not there has no tokens.
    firsts = token_ids(tokenizer, [example.first for example in examples])
    seconds = token_ids(tokenizer, [example.second or "" for example in examples])
    features = []
    cut = 0
    for index, (example, a, b) in enumerate(zip(examples, firsts, seconds, strict=True)):
        pair = example.second is not None
        kept_a, kept_b = kept_lengths(len(a), len(b), config.max_seq_length - (3 if pair else 2))
        cut += kept_a + kept_b < len(a) + len(b)
        ids, start = _framed(special, a[:kept_a], b[:kept_b] if pair else None)
        targets = (example.label,) if training else ()
        features.append(Feature(ids, start, targets, index))
    return FeatureSet(features, [], {"features": len(features), "cut_examples": cut})


def kept_lengths(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each sentence stay, when tokens are taken one by one from the longer."""
    over = max(0, first + second - room)
    longer = min(over, abs(first - second))
    first, second = (first - longer, second) if first > second else (first, second - longer)
    rest = over - longer
    return first - rest // 2, second - (rest + 1) // 2


def probabilities(
    outputs: NDArray[np.float32], labels: int, feature_set: FeatureSet[None]
) -> NDArray[np.float64]:
    """Softmax of the sentence head's logits.

    Args:
        outputs: float32 [N, labels].
        labels: Number of labels.
        feature_set: The features that they belong to.

    Returns:
        float64 [N, labels].

    Raises:
        FeatureError: Outputs of another shape, or not finite.
    """
    _check_outputs(outputs, labels, feature_set)
    logits = outputs.astype(np.float64)
    shares: NDArray[np.float64] = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def values(outputs: NDArray[np.float32], feature_set: FeatureSet[None]) -> list[float]:
    """The value head's numbers, [N, 1], as plain ones.

    Raises:
        FeatureError: Outputs of another shape, or not finite.
    """
    _check_outputs(outputs, 1, feature_set)
    return [float(value) for value in outputs[:, 0]]


def _framed(
    special: SpecialIds, first: list[int], second: list[int] | None
) -> tuple[NDArray[np.int64], int]:
    if second is not None:
        return framed(special, first, second)
    return np.array([special.cls, *first, special.sep], dtype=np.int64), 0


def _check_outputs(outputs: NDArray[np.float32], width: int, feature_set: FeatureSet[None]) -> None:
    check_count(len(outputs), feature_set)
    if outputs.ndim != 2 or outputs.shape[1] != width:
        raise FeatureError(
            f"The outputs have the shape {outputs.shape}; expected [{len(outputs)}, {width}]: "
            f"{width} numbers an example. Give the head as many outputs as the task has labels."
        )
    check_finite([outputs], "the sentence head")
