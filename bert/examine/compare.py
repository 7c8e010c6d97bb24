"""Two sets of shards compared: the same instances, in whatever order, or what differs.

A set's fingerprint is a sum of hashes, so it does not depend on the order of the instances and
needs no memory: sets of equal fingerprints hold the same instances, but for a chance of 2**-64.
"""

from typing import NamedTuple

import numpy as np

from bert.data.corpus import Corpus
from bert.data.masking import original_ids
from bert.examine.findings import fingerprints

_INSTANCES_AT_ONCE = 4096


class Fingerprint(NamedTuple):
    """A whole set of shards in four numbers."""

    instances: int
    tokens: int
    text: int  # of the unmasked tokens, whatever their order
    labels: int  # of tokens with their labels and borders


def fingerprint(corpus: Corpus) -> Fingerprint:
    """Reads all instances of a corpus once."""
    text = labels = np.uint64(0)
    tokens = 0
    for start in range(0, corpus.num_instances, _INSTANCES_AT_ONCE):
        index = np.arange(start, min(start + _INSTANCES_AT_ONCE, corpus.num_instances))
        instances = corpus.take(index)
        hashes = fingerprints(
            original_ids(instances).astype(np.int64), instances.offsets.astype(np.int32)
        )
        with np.errstate(over="ignore"):
            text += hashes.sum(dtype=np.uint64)
            marks = instances.segment_b_start.astype(np.uint64) * np.uint64(2)
            marks += instances.next_sentence_labels + np.uint64(1)
            labels += (hashes * (marks * np.uint64(2) + np.uint64(1))).sum(dtype=np.uint64)
        tokens += len(instances.input_ids)
    return Fingerprint(corpus.num_instances, tokens, int(text), int(labels))


def differences(one: Corpus, other: Corpus) -> list[str]:
    """One line for each thing in which two sets differ; empty if they hold the same instances."""
    lines = [
        f"{name}: {a!r} and {b!r}"
        for name, a, b in zip(one.info._fields, one.info, other.info, strict=True)
        if a != b and name != "continuation_ids"
    ]
    first, second = fingerprint(one), fingerprint(other)
    lines += [
        f"{name}: {a} and {b}"
        for name, a, b in zip(("instances", "tokens"), first, second, strict=False)
        if a != b
    ]
    if not lines and first.text != second.text:
        lines.append("the instances' tokens differ")
    elif not lines and first.labels != second.labels:
        lines.append("the tokens are the same, but labels or segment borders differ")
    return lines
