"""Fixed-length HDF5: NVIDIA's (gzip) and Intel's and MLPerf's (uncompressed).

| dataset | dtype | shape |
|---|---|---|
| `input_ids` | int32 | [N, S] |
| `input_mask` | int8 | [N, S], 1 for tokens |
| `segment_ids` | int8 | [N, S] |
| `masked_lm_positions` | int32 | [N, P], padded with 0 |
| `masked_lm_ids` | int32 | [N, P], padded with 0 |
| `next_sentence_labels` | int8 | [N] |

P is 20 at length 128 and 80 at 512 in NVIDIA's files, 76 at both in Intel's and MLPerf's. MLPerf's
later files have int16 in place of int32, which is read, too.

Sources: NVIDIA DeepLearningExamples, PyTorch BERT, create_pretraining_data.py; MLCommons training,
create_pretraining_data.py, and Intel's chop_hdf5_files.py, which names the shards.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from bert.data.dialects.rows import Rows, count_targets, count_tokens
from bert.data.hdf5_file import create_hdf5

FIELDS = (
    "input_ids",
    "input_mask",
    "segment_ids",
    "masked_lm_positions",
    "masked_lm_ids",
    "next_sentence_labels",
)
_DTYPES = dict(zip(FIELDS, ("i4", "i1", "i1", "i4", "i4", "i1"), strict=True))
_CACHE_BYTES = 1 << 26  # a band of compressed chunks: rows are written a few thousand at a time


def read_rows(file: h5py.File, start: int, stop: int) -> Rows:
    """Rows `start` to `stop` of an open file."""
    part: dict[str, Any] = {name: file[name][start:stop] for name in FIELDS}
    return Rows(
        part["input_ids"],
        count_tokens(part["input_mask"]),
        part["segment_ids"],
        part["next_sentence_labels"].reshape(-1),
        part["masked_lm_positions"],
        part["masked_lm_ids"],
        count_targets(part["masked_lm_positions"]),
    )


def write(
    path: Path, chunks: Iterator[Rows], total: int, places: int, max_predictions: int, *, gzip: bool
) -> None:
    """Writes one file of `total` rows."""
    shapes = dict.fromkeys(FIELDS[:3], (total, places))
    shapes |= dict.fromkeys(FIELDS[3:5], (total, max_predictions))
    compression = "gzip" if gzip else None
    with create_hdf5(path, rdcc_nbytes=_CACHE_BYTES) as file:
        for name in FIELDS:
            file.create_dataset(
                name, shapes.get(name, (total,)), _DTYPES[name],
                compression=compression, track_times=False,
            )  # fmt: skip
        start = 0
        for rows in chunks:
            place = slice(start, start + len(rows.lengths))
            mask = (np.arange(places) < rows.lengths[:, None]).astype(np.int8)
            values = (rows.input_ids, mask, rows.segment_ids, rows.masked_lm_positions,
                      rows.masked_lm_ids, rows.labels)  # fmt: skip
            for name, value in zip(FIELDS, values, strict=True):
                file[name][place] = value
            start = place.stop
