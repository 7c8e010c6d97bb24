"""Documents with equal keys, found in bounded memory for any number of documents.

A key file holds one key of 8 or 16 bytes a document, in the order of the documents. If it is too
large to be sorted in memory, its records are dealt to buckets on disk by the first bits of the key;
equal keys meet in one bucket, and a bucket is sorted in memory. Only a single key that a great many
documents share can make a bucket larger than planned.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BUCKET_BYTES = 32 << 20
_BLOCK_RECORDS = 1 << 17

Documents = NDArray[np.int64]


class Sorted(NamedTuple):
    """Some documents, those with equal keys side by side.

    Attributes:
        documents: int64 [N], ascending among equal keys.
        repeats: bool [N], whether a document has the key of the one before it.
    """

    documents: Documents
    repeats: NDArray[np.bool_]


def equal_keys(path: Path, *, key_bytes: int, bucket_bytes: int = BUCKET_BYTES) -> Iterator[Sorted]:
    """Yields all documents once, in buckets; documents of equal keys are in the same bucket.

    Args:
        path: The key file. Buckets are written beside it and deleted.
        key_bytes: 8 or 16.
        bucket_bytes: Planned size of a bucket in memory.
    """
    words = key_bytes // 8
    record_bytes = key_bytes + 8
    records = path.stat().st_size // key_bytes
    buckets = 1 << max(0, -(-records * record_bytes // bucket_bytes) - 1).bit_length()
    if buckets == 1:
        keys = np.fromfile(path, np.uint64).reshape(-1, words)
        yield _sort(keys, np.arange(len(keys), dtype=np.int64))
        return
    files = [path.with_name(f"{path.name}.{bucket:05d}") for bucket in range(buckets)]
    _deal(path, words, files)
    for file in files:
        table = np.fromfile(file, np.uint64).reshape(-1, words + 1)
        file.unlink()
        yield _sort(table[:, :words], table[:, words].astype(np.int64))


def _deal(path: Path, words: int, files: list[Path]) -> None:
    """Appends each record (key, document) to the file of its bucket, one file open at a time."""
    shift = np.uint64(64 - (len(files) - 1).bit_length())
    for file in files:
        file.touch()
    first = 0
    # Blocks grow with the number of buckets, so that an append never is a few bytes.
    block = _BLOCK_RECORDS * max(1, len(files) // 64)
    with path.open("rb") as stream:
        while data := stream.read(block * words * 8):
            keys = np.frombuffer(data, np.uint64).reshape(-1, words)
            numbers = np.arange(first, first + len(keys), dtype=np.uint64)
            table = np.column_stack([keys, numbers])
            bucket = keys[:, 0] >> shift
            order = np.argsort(bucket, kind="stable")
            ends = np.searchsorted(bucket[order], np.arange(1, len(files) + 1, dtype=np.uint64))
            for file, part in zip(files, np.split(table[order], ends[:-1]), strict=True):
                if len(part):
                    with file.open("ab") as out:
                        out.write(part.tobytes())
            first += len(keys)


def _sort(keys: NDArray[np.uint64], documents: Documents) -> Sorted:
    order = np.lexsort([documents, *keys.T])
    keys = keys[order]
    repeats = np.zeros(len(keys), np.bool_)
    repeats[1:] = (keys[1:] == keys[:-1]).all(axis=1)
    return Sorted(documents[order], repeats)
