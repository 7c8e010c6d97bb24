"""gpauloski's HDF5 for dynamic masking: unmasked, with the places of the special tokens.

| dataset | dtype | shape (all gzip) |
|---|---|---|
| `input_ids` | int32 | [N, S], padded with 0 |
| `special_token_positions` | int32 | [N, 3]: [CLS], [SEP], [SEP]; [N, 2] without B |
| `next_sentence_labels` | int8 | [N], 0 without B |

Source: gpauloski/BERT-PyTorch, utils/encode_data.py and src/dataset.py.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from bert.data.dialects.rows import DialectError, Rows
from bert.data.hdf5_file import create_hdf5

FIELDS = ("input_ids", "special_token_positions", "next_sentence_labels")
_CACHE_BYTES = 1 << 26


def read_rows(file: h5py.File, start: int, stop: int) -> Rows:
    """Rows `start` to `stop` of an open file.

    Raises:
        DialectError: The special tokens are not where a row has them.
    """
    ids = file["input_ids"][start:stop]
    special = file["special_token_positions"][start:stop].astype(np.int64)
    places = ids.shape[1]
    if special.shape[1] not in (2, 3):
        raise DialectError(
            f"special_token_positions has {special.shape[1]} columns; expected 3 ([CLS], [SEP], "
            "[SEP]) or 2 (without a second segment)."
        )
    rising = (np.diff(special, axis=1) > 0).all() and (special[:, -1] < places).all()
    if not rising or special[:, 0].any():
        raise DialectError(
            f"special_token_positions is not 0 and then ascending places below {places}."
        )
    lengths = special[:, -1] + 1
    start_b = special[:, 1] + 1 if special.shape[1] == 3 else lengths
    segment_ids = (np.arange(places) >= start_b[:, None]).astype(np.int8)
    labels = file["next_sentence_labels"][start:stop]
    return Rows(ids, lengths, segment_ids, labels, None, None, None)


def write(path: Path, chunks: Iterator[Rows], total: int, places: int) -> None:
    """Writes one file of `total` rows.

    Raises:
        DialectError: Some instances have a second segment and some have none.
    """
    with create_hdf5(path, rdcc_nbytes=_CACHE_BYTES) as file:
        options = {"compression": "gzip", "track_times": False}
        file.create_dataset("input_ids", (total, places), "i4", **options)
        file.create_dataset("next_sentence_labels", (total,), "i1", **options)
        start, columns = 0, 0
        for rows in chunks:
            place = slice(start, start + len(rows.lengths))
            special = _special_places(rows)
            if not columns:
                columns = special.shape[1]
                file.create_dataset("special_token_positions", (total, columns), "i4", **options)
            if special.shape[1] != columns:
                raise _mixed()
            file["input_ids"][place] = rows.input_ids
            file["special_token_positions"][place] = special
            file["next_sentence_labels"][place] = rows.labels
            start = place.stop


def _special_places(rows: Rows) -> np.ndarray:
    second = rows.segment_ids.sum(1)
    last = rows.lengths - 1
    first = np.zeros_like(last)
    if not second.any():
        return np.stack([first, last], axis=1)
    if not second.all():
        raise _mixed()
    return np.stack([first, rows.lengths - second - 1, last], axis=1)


def _mixed() -> DialectError:
    return DialectError(
        "Some instances have a second segment and some have none; this format has room for one "
        "kind in a file. Choose another format."
    )
