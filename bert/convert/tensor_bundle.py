"""TensorFlow's checkpoint files (V2, "tensor bundle"), read without TensorFlow.

A checkpoint `model` is a table `model.index` and the raw bytes `model.data-00000-of-00001`, ....

The table is a LevelDB table: blocks of sorted key-value pairs, a block that lists the blocks, and
a footer of 48 bytes. In a block a key is stored as the length of what it shares with the key before
it and the rest; the offsets of the keys that share nothing stand at its end. A block is followed by
a byte for its compression and a masked CRC-32C. The value under the empty key is a
BundleHeaderProto, under any other, which is a variable's name, a BundleEntryProto: type, shape, the
place of its bytes, and their masked CRC-32C.

Source: TensorFlow, core/util/tensor_bundle/tensor_bundle.cc, core/protobuf/tensor_bundle.proto,
core/lib/io/format.cc; LevelDB, doc/table_format.md. The checksum is a library's: the optional extra
`tfrecord` installs google-crc32c.
"""

import struct
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_TRAILER = struct.Struct("<BI")  # compression, masked CRC-32C of the block and of this byte
_MASK_DELTA = 0xA282EAD8
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
    data = index.read_bytes()
    if len(data) < _FOOTER or data[-len(_MAGIC) :] != _MAGIC:
        raise BundleError(
            f"{index} does not end as the table of a TensorFlow checkpoint does; expected the "
            ".index file of a checkpoint in format V2. Copy it again."
        )
    try:
        values = dict(_table(data))
        header = _fields(values.pop(b""))
        entries = {name.decode(): _entry(value) for name, value in sorted(values.items())}
    except (IndexError, KeyError, UnicodeDecodeError, struct.error) as error:
        raise BundleError(f"{index} is damaged ({error!r}). Copy it again.") from None
    except BundleError as error:
        raise BundleError(f"{index} {error}. Copy it again.") from None
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
    values = np.frombuffer(data, _DTYPES[entry.dtype])
    if _masked_crc(data) != entry.crc32c or values.size != np.prod(entry.shape, dtype=np.int64):
        raise BundleError(
            f"{file} is damaged or cut short at byte {entry.offset}, where {name} stands: its "
            f"{entry.size} bytes do not have their checksum. Copy it again."
        )
    return values.reshape(entry.shape)


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of all blocks."""
    footer = data[-_FOOTER:]
    _, place = _varint(footer, 0)  # the block of metadata is not needed
    _, place = _varint(footer, place)
    for _, handle in _block(data, footer[place:]):
        yield from _block(data, handle)


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset, place = _varint(handle, 0)
    size, _ = _varint(handle, place)
    compression, crc = _TRAILER.unpack_from(data, offset + size)
    if _masked_crc(data[offset : offset + size + 1]) != crc:
        raise BundleError(f"is damaged at byte {offset}: a block does not have its checksum")
    if compression:
        raise BundleError("is compressed, which TensorFlow does not do")
    block = data[offset : offset + size]
    restarts = int.from_bytes(block[-4:], "little")
    end = size - 4 * (restarts + 1)
    key, place = b"", 0
    while place < end:
        shared, place = _varint(block, place)
        rest, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + rest]
        place += rest
        yield key, block[place : place + length]
        place += length


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
        tag, place = _varint(message, place)
        value: int | bytes
        if tag & 7 == _VARINT:
            value, place = _varint(message, place)
        elif tag & 7 == _BYTES:
            length, place = _varint(message, place)
            value, place = message[place : place + length], place + length
        elif tag & 7 in (_FIXED32, _FIXED64):
            width = 4 if tag & 7 == _FIXED32 else 8
            value, place = int.from_bytes(message[place : place + width], "little"), place + width
        else:
            raise BundleError(f"holds a message with wire type {tag & 7}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, and the place behind it."""
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7


def _masked_crc(data: bytes) -> int:
    try:
        crc: int = import_module("google_crc32c").value(data)
    except ModuleNotFoundError:
        raise BundleError(
            "TensorFlow's checkpoints need the package google-crc32c, which is not installed. "
            'Install the extra: pip install "bert-pretraining[tfrecord]".'
        ) from None
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
