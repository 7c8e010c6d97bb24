"""What every task hands to the fine-tuning loop: unpadded token sequences and their targets."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

# What a network gives: two scores a token; scores of a sequence's labels; one number a sequence;
# scores of each token's labels.
Head = Literal["span", "sentence", "value", "token"]
Role = Literal["train", "dev"]
PlaceT = TypeVar("PlaceT")

_FRAMES = (("[CLS]", "[SEP]"), ("<s>", "</s>"))
# Target of a token that no loss looks at; what torch's cross entropy ignores.
IGNORED = -100
# Texts encoded by one call: bounds the memory held by the tokenizer's own objects.
CHUNK = 1000


class FeatureError(ValueError):
    """A tokenizer or model outputs that cannot belong to the features."""


class Feature(NamedTuple):
    """One sequence `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`, without padding.

    Attributes:
        input_ids: int64 [L], special tokens included.
        segment_b_start: Index of segment B's first token; 0 = one segment.
        targets: Sentence head: (label,). Value head: (value,). Span head: (start, end), inclusive
            token indices in `input_ids`, both 0 (the `[CLS]` position) when the sequence does not
            hold the whole answer. Token head: a label for each token, IGNORED where none is
            learned. Empty when the features are not for training.
        example: Index of the example this was made from.
    """

    input_ids: NDArray[np.int64]
    segment_b_start: int
    targets: tuple[float, ...]
    example: int


@dataclass(frozen=True)
class FeatureSet(Generic[PlaceT]):
    """The features of a list of examples.

    Attributes:
        features: In the order of the examples.
        places: What the task's `decode` needs to know of each feature besides; one a feature, or
            empty when it needs nothing.
        counts: What was made, cut and skipped, for the manifest.
    """

    features: list[Feature]
    places: list[PlaceT]
    counts: dict[str, int]


class SpecialIds(NamedTuple):
    """Ids of the two special tokens that frame a sequence."""

    cls: int
    sep: int


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Ids of `[CLS]` and `[SEP]`, or of byte-level BPE's `<s>` and `</s>`.

    Raises:
        FeatureError: The vocabulary lacks one of them, or the tokenizer cuts or pads by itself.
    """
    if tokenizer.truncation is not None or tokenizer.padding is not None:
        raise FeatureError(
            "The tokenizer cuts or pads sequences by itself, so text would be lost unseen; "
            "expected neither. Call its no_truncation() and no_padding()."
        )
    for pair in _FRAMES:
        first, separator = map(tokenizer.token_to_id, pair)
        if first is not None and separator is not None:
            return SpecialIds(first, separator)
    missing = [token for token in _FRAMES[0] if tokenizer.token_to_id(token) is None]
    raise FeatureError(
        f"The vocabulary of {tokenizer.get_vocab_size()} tokens has no {' and no '.join(missing)}; "
        "expected BERT's special tokens in upper case. Use the vocabulary of the pretraining."
    )


def token_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> Iterator[list[int]]:
    """Yields the token ids of each text, without special tokens."""
    for first in range(0, len(texts), CHUNK):
        chunk = list(texts[first : first + CHUNK])
        for encoding in tokenizer.encode_batch(chunk, add_special_tokens=False):
            yield encoding.ids


def framed(
    special: SpecialIds, first: Sequence[int], second: Sequence[int]
) -> tuple[NDArray[np.int64], int]:
    """Returns `[CLS] first [SEP] second [SEP]` as int64 [L] and the index where `second` starts."""
    ids = [special.cls, *first, special.sep, *second, special.sep]
    return np.array(ids, dtype=np.int64), len(first) + 2


def check_count(outputs: int, feature_set: FeatureSet[PlaceT]) -> None:
    """Checks that there is one output a feature.

    Raises:
        FeatureError: There are more or fewer.
    """
    if outputs != len(feature_set.features):
        raise FeatureError(
            f"{outputs} outputs for {len(feature_set.features)} features; expected as many. "
            "Decode with the features that the model has seen."
        )


def check_finite(logits: Iterable[NDArray[np.float32]], where: str) -> None:
    """Checks that a model's outputs are numbers.

    Raises:
        FeatureError: One is NaN or infinite.
    """
    if not all(np.isfinite(values).all() for values in logits):
        raise FeatureError(
            f"The logits of {where} are not all finite; expected numbers. The model has diverged: "
            "lower the learning rate of the fine-tuning."
        )
