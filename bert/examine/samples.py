"""Instances as text, with what is predicted shown in place: `{original>shown}`."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from bert.data.batches import MicroBatch
from bert.data.vocab import Vocabulary
from bert.examine.findings import original_stream

_LABELS = ("0 (B follows A)", "1 (B does not)")


def sample_texts(batch: MicroBatch, vocabulary: Vocabulary) -> Iterator[str]:
    """Yields each instance of a stream as a line of facts and a line of text.

    Pieces of a word stand together; a predicted token stands as `{original>shown}`, so that
    `{paris>[MASK]}`, `{paris>the}` and `{paris>paris}` are the three kinds.
    """
    originals = original_stream(batch)
    is_target = np.zeros(len(originals), np.bool_)
    is_target[batch.masked_lm_positions] = True
    bounds = batch.cu_seqlens.tolist()
    for number, (low, high) in enumerate(pairwise(bounds)):
        text = "".join(
            _piece(vocabulary, int(originals[place]), int(batch.input_ids[place]),
                   target=bool(is_target[place]))
            for place in range(low, high)
        ).strip()  # fmt: skip
        facts = [f"{high - low} tokens", f"{int(is_target[low:high].sum())} predicted"]
        if batch.segment_ids[low:high].any():
            facts.append(f"label {_LABELS[int(batch.next_sentence_labels[number])]}")
        yield f"{', '.join(facts)}\n{text}"


def _piece(vocabulary: Vocabulary, original: int, shown: int, *, target: bool) -> str:
    text = vocabulary.tokens[original]
    joined = bool(vocabulary.is_continuation[original])
    if vocabulary.kind == "bytelevel":
        text = text.removeprefix("\u0120")
    elif joined:
        text = text.removeprefix("##")
    if target:
        text = f"{{{text}>{vocabulary.tokens[shown]}}}"
    return text if joined else f" {text}"
