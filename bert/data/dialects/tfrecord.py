"""TFRecord files as Google's, MLPerf's and Cerebras's create_*tfrecords write them.

int64 lists `input_ids`, `input_mask`, `segment_ids` [S], `masked_lm_positions`, `masked_lm_ids`
[P], `next_sentence_labels` [1], and the float list `masked_lm_weights` [P], 1 for targets and 0
for padding. The two systems differ in the names of their files only. Cerebras's model takes an
inverted mask (1 for padding), which its reader makes while loading; files that hold an inverted
mask are understood as well, by the first place, which is never padding. Its files for masked
tokens alone lack segments and labels; both are read as 0.

Sources: MLCommons training, create_pretraining_data.py; Cerebras modelzoo, create_tfrecords.py,
create_tfrecords_mlm_only.py and tf/bert/input/utils.py.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bert.data.dialects.rows import DialectError, Rows, count_tokens
from bert.data.tfrecord import (
    decode_column,
    encode_examples,
    parse_example,
    read_records,
    write_records,
)

FIELDS = (
    "input_ids",
    "input_mask",
    "segment_ids",
    "masked_lm_positions",
    "masked_lm_ids",
    "masked_lm_weights",
    "next_sentence_labels",
)
_OPTIONAL = ("segment_ids", "next_sentence_labels")


def read_chunks(path: Path, at_once: int) -> Iterator[Rows]:
    """The rows of a file, up to `at_once` in each piece.

    Raises:
        DialectError: A feature is missing, or its length changes.
        TFRecordError: The file is damaged.
    """
    records = read_records(path)
    while chunk := list(islice(records, at_once)):
        yield _rows([parse_example(record) for record in chunk])


def write(path: Path, chunks: Iterator[Rows]) -> None:
    """Writes one file."""
    write_records(path, (record for rows in chunks for record in _records(rows)))


def _rows(examples: list) -> Rows:  # type: ignore[type-arg]
    missing = [n for n in FIELDS if n not in _OPTIONAL and any(n not in e for e in examples)]
    if missing:
        raise DialectError(f"an Example lacks {missing}; it has {sorted(examples[0])}")
    columns: dict[str, NDArray[np.generic]] = {}
    for name in FIELDS:
        if all(name in example for example in examples):
            values = decode_column([example[name] for example in examples])
            lengths = {len(value) for value in values}
            if len(lengths) > 1:
                raise DialectError(f"{name} has lists of the lengths {sorted(lengths)}; pad them")
            columns[name] = np.stack(values)
    ids, mask = columns["input_ids"], columns["input_mask"] != 0
    if not mask[:, 0].any():
        mask = ~mask
    zeros = np.zeros(len(examples), np.int64)
    return Rows(
        ids,
        count_tokens(mask),
        columns.get("segment_ids", np.zeros_like(ids)),
        columns.get("next_sentence_labels", zeros).reshape(-1),
        columns["masked_lm_positions"],
        columns["masked_lm_ids"],
        (columns["masked_lm_weights"].astype(np.float64) > 0).sum(1),
    )


def _records(rows: Rows) -> list[bytes]:
    assert rows.target_counts is not None
    assert rows.masked_lm_positions is not None
    assert rows.masked_lm_ids is not None
    places, targets = rows.input_ids.shape[1], rows.masked_lm_ids.shape[1]
    mask = np.arange(places) < rows.lengths[:, None]
    weights = np.arange(targets) < rows.target_counts[:, None]
    values = (rows.input_ids, mask.astype(np.int64), rows.segment_ids, rows.masked_lm_positions,
              rows.masked_lm_ids, weights.astype(np.float32), rows.labels[:, None])  # fmt: skip
    return encode_examples(dict(zip(FIELDS, values, strict=True)))
