"""What went into and came out of the parts of an encode job."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bert.data.blocks import Block
from bert.data.ragged import I64
from bert.data.shards import IS_RANDOM, Instances

_BINS = 16
_TEXT = (
    *("documents", "empty_documents", "sentences", "empty_sentences"),
    *("instances", "tokens", "unknown_tokens"),
)


@dataclass(frozen=True)
class PartCounts:
    """Counts of one part.

    Attributes:
        numbers: documents, sentences, empty_documents and empty_sentences (those without a token,
            which are left out), unknown_tokens (of the text, once); instances, tokens, random_next
            (label IS_RANDOM); and those that the objective states, over all passes.
        lengths: Instances of each length, [max_seq_length + 1] int64.
    """

    numbers: Counter[str]
    lengths: I64

    def add_text(self, block: Block, unk_id: int) -> None:
        """Counts a block of text."""
        tokens = block.tokens
        self.numbers["documents"] += len(tokens.documents) - 1
        self.numbers["sentences"] += len(tokens.sentences) - 1
        self.numbers["empty_documents"] += block.empty_documents
        self.numbers["empty_sentences"] += block.empty_sentences
        self.numbers["unknown_tokens"] += int(np.count_nonzero(tokens.ids == unk_id))

    def add_instances(self, instances: Instances) -> None:
        """Counts instances that are written."""
        self.numbers["instances"] += len(instances.segment_b_start)
        self.numbers["tokens"] += len(instances.input_ids)
        labels = instances.next_sentence_labels
        self.numbers["random_next"] += int(np.count_nonzero(labels == IS_RANDOM))
        self.lengths[:] += np.bincount(instances.lengths, minlength=len(self.lengths))

    def to_json(self) -> dict[str, Any]:
        """Plain data, for the receipt of a part."""
        return {"numbers": dict(self.numbers), "lengths": self.lengths.tolist()}


def no_counts(max_seq_length: int) -> PartCounts:
    """Counts of nothing."""
    return PartCounts(Counter(), np.zeros(max_seq_length + 1, np.int64))


def from_json(values: dict[str, Any]) -> PartCounts:
    """Counts as `PartCounts.to_json` gave them."""
    return PartCounts(Counter(values["numbers"]), np.array(values["lengths"], np.int64))


def count_parts(parts: Iterable[PartCounts]) -> tuple[dict[str, int], dict[str, Any]]:
    """Sums of all parts, and the statistics of their instances for the report.

    Returns:
        counts: documents, empty_documents, sentences, empty_sentences, instances, tokens,
            unknown_tokens, then the objective's own, such as truncated_tokens.
        statistics: `length_histogram` (longest length of a bin -> instances, 16 bins),
            `random_next_share` and `mean_length` (0 without instances).
    """
    parts = list(parts)
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update(part.numbers)
    histogram = np.sum([part.lengths for part in parts], axis=0)
    upper = np.unique(np.linspace(0, len(histogram) - 1, _BINS + 1).astype(int))[1:]
    bins = np.diff(np.cumsum(histogram)[np.concatenate([[0], upper])])
    random_next = sums.pop("random_next", 0)
    counts = {name: sums.pop(name, 0) for name in _TEXT} | dict(sorted(sums.items()))
    some = max(counts["instances"], 1)
    statistics = {
        "length_histogram": {str(top): int(n) for top, n in zip(upper, bins, strict=True)},
        "random_next_share": random_next / some,
        "mean_length": counts["tokens"] / some,
    }
    return counts, statistics
