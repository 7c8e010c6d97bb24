"""TensorFlow's checkpoint files (V2, "tensor bundle"), read without TensorFlow.

A checkpoint `model` is a table `model.index` (see `bert.convert.sorted_table`) and the raw bytes of
its variables in `model.data-00000-of-00001`, .... The value under the empty key is a
BundleHeaderProto, under any other, which is a variable's name, a BundleEntryProto: type, shape, the
place of its bytes, and their masked CRC-32C.

Source: TensorFlow, core/util/tensor_bundle/tensor_bundle.cc, core/protobuf/tensor_bundle.proto.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bert.convert.crc32c import masked_crc32c
from bert.convert.sorted_table import TableError, read_table, varint

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Types of tensorflow/core/framework/types.proto that a checkpoint of BERT holds.
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}


class BundleError(ValueError):
    """Files that are no whole TensorFlow checkpoint."""


class Entry(NamedTuple):
    """Where a variable lies.

    Attributes:
        dtype: Number of its type in types.proto.
        shape: Its dimensions.
        shard: Number of the data file.
        offset: First byte in it.
        size: Bytes.
        crc32c: Masked checksum of the bytes.
        sliced: Whether it is stored in slices of a partitioned variable.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc32c: int
    sliced: bool


class Bundle(NamedTuple):
    """An open checkpoint."""

    prefix: Path  # the path without .index
    shards: int
    entries: Mapping[str, Entry]


def open_bundle(index: Path) -> Bundle:
    """Reads the table of a checkpoint.

    Args:
        index: The file whose name ends in .index.

    Raises:
        BundleError: It is no such table, or it is damaged.
    """
    try:
        values = read_table(index.read_bytes())
        header = _fields(values.pop(b""))
        entries = {name.decode(): _entry(value) for name, value in sorted(values.items())}
    except TableError as error:
        raise BundleError(
            f"{index} {error}; expected the .index file of a TensorFlow checkpoint in format V2. "
            "Copy it again."
        ) from None
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise BundleError(f"{index} is damaged ({error!r}). Copy it again.") from None
    if header.get(2, [0])[0]:
        raise BundleError(f"{index} was written on a big-endian machine; expected little-endian.")
    return Bundle(index.with_suffix(""), header.get(1, [1])[0], entries)


def read_variable(bundle: Bundle, name: str) -> NDArray[Any]:
    """The values of a variable, compared with their checksum.

    Raises:
        BundleError: Its type is not a plain number, or its bytes are missing or damaged.
    """
    entry = bundle.entries[name]
    if entry.dtype not in _DTYPES or entry.sliced:
        what = "stored in slices" if entry.sliced else f"of type {entry.dtype}"
        raise BundleError(
            f"{bundle.prefix}: {name} is {what}; expected whole variables of types "
            f"{sorted(_DTYPES)} (floats and integers)."
        )
    ending = f".data-{entry.shard:05d}-of-{bundle.shards:05d}"
    file = bundle.prefix.with_name(bundle.prefix.name + ending)
    if not file.is_file():
        raise BundleError(f"{file} is missing; it lies beside {bundle.prefix.name}.index.")
    with file.open("rb") as stream:
        stream.seek(entry.offset)
        data = stream.read(entry.size)
    dtype = np.dtype(_DTYPES[entry.dtype])
    wanted = math.prod(entry.shape) * dtype.itemsize
    if len(data) != wanted or masked_crc32c(data) != entry.crc32c:
        raise BundleError(
            f"{file} is damaged or cut short at byte {entry.offset}, where {name} stands: its "
            f"{entry.size} bytes do not have their checksum. Copy it again."
        )
    return np.frombuffer(data, dtype).reshape(entry.shape)


def _entry(data: bytes) -> Entry:
    fields = _fields(data)
    dimensions = _fields(fields.get(2, [b""])[0]).get(2, [])
    shape = tuple(_fields(dimension).get(1, [0])[0] for dimension in dimensions)
    shard, offset, size, crc32c = (fields.get(number, [0])[0] for number in (3, 4, 5, 6))
    return Entry(fields.get(1, [0])[0], shape, shard, offset, size, crc32c, 7 in fields)


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Values of a protocol buffer by field number: integers, or bytes."""
    found: dict[int, list[Any]] = {}
    place = 0
    while place < len(message):
        tag, place = varint(message, place)
        value: int | bytes
        if tag & 7 == _VARINT:
            value, place = varint(message, place)
        elif tag & 7 == _BYTES:
            length, place = varint(message, place)
            value, place = message[place : place + length], place + length
        elif tag & 7 in (_FIXED32, _FIXED64):
            width = 4 if tag & 7 == _FIXED32 else 8
            value, place = int.from_bytes(message[place : place + width], "little"), place + width
        else:
            raise TableError(f"holds a message with wire type {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found
