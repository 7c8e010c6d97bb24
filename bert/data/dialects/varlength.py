"""MLPerf's variable-length HDF5: the rows without padding, no input mask.

| dataset | dtype | shape |
|---|---|---|
| `input_ids` | variable-length int16 | [N] |
| `segment_ids` | variable-length int8 | [N] |
| `masked_lm_positions` | variable-length int16 | [N] |
| `masked_lm_ids` | variable-length int16 | [N] |
| `next_sentence_labels` | int8 | [N] |

Source: MLCommons training_results_v2.1, NVIDIA's BERT, chop_hdf5_files_to_varlength.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from bert.data.dialects.rows import DialectError, Rows, pad_ragged
from bert.data.hdf5_file import create_hdf5

_DTYPES = {
    "input_ids": "i2",
    "segment_ids": "i1",
    "masked_lm_positions": "i2",
    "masked_lm_ids": "i2",
}
FIELDS = (*_DTYPES, "next_sentence_labels")
MOST_TOKENS = 1 << 15  # of a vocabulary, so that each id fits an int16


def read_rows(file: h5py.File, start: int, stop: int) -> Rows:
    """Rows `start` to `stop` of an open file, padded to the longest of them.

    Raises:
        DialectError: The fields of a row disagree about its length.
    """
    part: dict[str, Any] = {name: list(file[name][start:stop]) for name in _DTYPES}
    counts = {name: _lengths(values) for name, values in part.items()}
    for one, other in (("input_ids", "segment_ids"), ("masked_lm_positions", "masked_lm_ids")):
        if not np.array_equal(counts[one], counts[other]):
            raise DialectError(f"{one} and {other} have rows of different lengths.")
    return Rows(
        pad_ragged(part["input_ids"]),
        counts["input_ids"],
        pad_ragged(part["segment_ids"]),
        file["next_sentence_labels"][start:stop],
        pad_ragged(part["masked_lm_positions"]),
        pad_ragged(part["masked_lm_ids"]),
        counts["masked_lm_positions"],
    )


def write(path: Path, chunks: Iterator[Rows], total: int) -> None:
    """Writes one file of `total` rows; the vocabulary must fit an int16 (see `MOST_TOKENS`)."""
    with create_hdf5(path) as file:
        for name, dtype in _DTYPES.items():
            file.create_dataset(name, (total,), h5py.vlen_dtype(np.dtype(dtype)), track_times=False)
        file.create_dataset("next_sentence_labels", (total,), "i1", track_times=False)
        start = 0
        for rows in chunks:
            place = slice(start, start + len(rows.lengths))
            values = (
                rows.input_ids,
                rows.segment_ids,
                rows.masked_lm_positions,
                rows.masked_lm_ids,
            )
            counts = (rows.lengths, rows.lengths, rows.target_counts, rows.target_counts)
            for (name, dtype), value, count in zip(_DTYPES.items(), values, counts, strict=True):
                file[name][place] = _ragged(value, count, dtype)
            file["next_sentence_labels"][place] = rows.labels
            start = place.stop


def _lengths(values: list[NDArray[Any]]) -> NDArray[np.int64]:
    return np.array([len(value) for value in values], np.int64)


def _ragged(padded: Any, counts: Any, dtype: str) -> NDArray[Any]:
    """Rows as h5py wants them: an array of arrays, or one array if their lengths are equal."""
    narrow = padded.astype(dtype)
    if len(np.unique(counts)) == 1:
        equal: NDArray[Any] = narrow[:, : counts[0]]
        return equal
    rows = np.empty(len(padded), object)
    for number, count in enumerate(counts.tolist()):
        rows[number] = narrow[number, :count]
    return rows
