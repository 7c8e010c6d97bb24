"""Opens a file of any dialect: which one it is, what it states, and its instances.

A dialect is recognised by the fields of its files. This project's own shards count as the dialect
`native`. A file is read in pieces of rows; only the ragged instances of one file are kept.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from bert.data.dialects import fixed, gpauloski, tfrecord, varlength
from bert.data.dialects.rows import DialectError, Rows, from_rows
from bert.data.shards import (
    FORMAT,
    Instances,
    ShardError,
    ShardInfo,
    concatenate,
    input_ids_dtype,
    read_info,
    read_instances,
)
from bert.data.tfrecord import TFRecordError, count_records

_ROWS_AT_ONCE = 2048
_READERS = {
    "nvidia": fixed.read_rows,
    "mlperf_fixed": fixed.read_rows,
    "mlperf_varlength": varlength.read_rows,
    "gpauloski": gpauloski.read_rows,
}
_HDF5 = b"\x89HDF\r\n\x1a\n"


class Header(NamedTuple):
    """What a file says of itself, without reading its rows."""

    dialect: str
    instances: int
    max_seq_length: int | None  # None: rows have no common length
    max_predictions: int | None  # None: unmasked, or no common number


def read_header(path: Path) -> Header:
    """Recognises the dialect of a file and reads its shapes.

    Raises:
        DialectError: The file is cut short or of no known dialect.
        FileNotFoundError: There is no such file.
    """
    with _named(path):
        with path.open("rb") as file:
            is_hdf5 = file.read(8) == _HDF5
        if not is_hdf5:
            return _tfrecord_header(path)
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("format") == FORMAT:
                info, count, _ = read_info(path)
                return Header("native", count, info.max_seq_length, None)
            return _hdf5_header(file)


def read_file(path: Path, dialect: str, info: ShardInfo) -> Instances:
    """All instances of one file.

    Raises:
        DialectError: The file is damaged or does not fit the vocabulary; names the file.
    """
    if dialect == "native":
        return read_instances(path)[0]
    with _named(path):
        pieces = [from_rows(rows, info) for rows in _chunks(path, dialect)]
        return concatenate(pieces, input_ids_dtype(info.vocab_size))


def read_sample(path: Path, dialect: str, info: ShardInfo) -> Instances:
    """The first instances of a file, some thousand at most."""
    if dialect == "native":
        return read_instances(path, verify=False)[0]
    with _named(path):
        return from_rows(next(_chunks(path, dialect)), info)


def natural_key(path: Path) -> tuple[Any, ...]:
    """Sorts part_2 before part_10: the digits of a file's path count as numbers."""
    pieces = re.split(r"(\d+)", path.as_posix())
    return tuple((int(piece), piece) if piece.isdigit() else (0, piece) for piece in pieces)


def _hdf5_header(file: h5py.File) -> Header:
    fields = set(file)
    if set(gpauloski.FIELDS) <= fields:
        dialect = "gpauloski"
    elif set(fixed.FIELDS) <= fields:
        dialect = "nvidia" if file["input_ids"].compression else "mlperf_fixed"
    elif set(varlength.FIELDS) <= fields and h5py.check_vlen_dtype(file["input_ids"].dtype):
        dialect = "mlperf_varlength"
    else:
        raise DialectError(
            f"its fields are {sorted(fields)}; expected those of NVIDIA's or MLPerf's fixed files "
            f"({', '.join(fixed.FIELDS)}), of MLPerf's variable-length ones (the same without "
            "input_mask), of gpauloski's (input_ids, special_token_positions, "
            "next_sentence_labels), or this project's own"
        )
    counts = {name: len(file[name]) for name in sorted(fields)}
    if len(set(counts.values())) > 1:
        raise DialectError(f"its fields have different numbers of rows: {counts}")
    ids = file["input_ids"]
    targets = file.get("masked_lm_positions")
    return Header(
        dialect,
        len(ids),
        int(ids.shape[1]) if ids.ndim == 2 else None,
        int(targets.shape[1]) if targets is not None and targets.ndim == 2 else None,
    )


def _tfrecord_header(path: Path) -> Header:
    rows = next(tfrecord.read_chunks(path, 1), None)
    if rows is None or rows.masked_lm_ids is None:
        return Header("tfrecord", 0, None, None)
    places, targets = rows.input_ids.shape[1], rows.masked_lm_ids.shape[1]
    return Header("tfrecord", count_records(path), places, targets)


def _chunks(path: Path, dialect: str) -> Iterator[Rows]:
    if dialect == "tfrecord":
        yield from tfrecord.read_chunks(path, _ROWS_AT_ONCE)
        return
    with h5py.File(path, "r", locking=False) as file:
        count = len(file["input_ids"])
        for start in range(0, max(count, 1), _ROWS_AT_ONCE):
            yield _READERS[dialect](file, start, min(start + _ROWS_AT_ONCE, count))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Adds the file to what goes wrong in it."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, TFRecordError) as error:
        raise DialectError(
            f"{path} cannot be read ({error}); it is cut short or is another kind of file. Copy "
            "or make it again."
        ) from None
    except ShardError as error:
        text = str(error)
        raise (error if str(path) in text else DialectError(f"{path}: {text}")) from None
