"""TFRecord files and the `tf.train.Example` messages in them, without TensorFlow.

A record is framed as: length (uint64, little endian), masked CRC-32C of these 8 bytes (uint32),
the bytes, masked CRC-32C of the bytes. Source: TensorFlow, core/lib/io/record_writer.h.

An Example is a protocol buffer: `Example.features = 1`, `Features.feature = 1` (a map: key = 1,
value = 2), `Feature.bytes_list = 1, float_list = 2, int64_list = 3`, and in each list
`value = 1`, packed. Source: TensorFlow, core/example/example.proto and feature.proto; protobuf's
wire format. The checksum is a library's: the optional extra `tfrecord` installs google-crc32c.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")
_MASK_DELTA = 0xA282EAD8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FLOATS, _INTS = 2, 3  # field numbers of a Feature's lists


class TFRecordError(ValueError):
    """A file that is no TFRecord file, is cut short, or holds something else than Examples."""


class Packed(NamedTuple):
    """One feature of one Example, still encoded."""

    kind: int  # field number of its list
    data: bytes


def write_records(path: Path, records: Iterable[bytes]) -> None:
    """Writes the records to a new file."""
    checksum = _checksum()
    with path.open("wb") as file:
        for record in records:
            size = struct.pack("<Q", len(record))
            file.write(size + _TAIL.pack(checksum(size)))
            file.write(record + _TAIL.pack(checksum(record)))


def read_records(path: Path) -> Iterator[bytes]:
    """Yields the records of a file, each compared with its checksum.

    Raises:
        TFRecordError: The file is cut short or damaged; says where.
    """
    checksum = _checksum()
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            place = file.tell() - len(head)
            if len(head) < _HEAD.size or checksum(head[:8]) != _HEAD.unpack(head)[1]:
                raise _damaged(path, place, "the length of a record")
            size = _HEAD.unpack(head)[0]
            body = file.read(size + _TAIL.size)
            if len(body) < size + _TAIL.size:
                raise _damaged(path, place, f"a record of {size} bytes, which is cut short")
            if checksum(body[:size]) != _TAIL.unpack(body[size:])[0]:
                raise _damaged(path, place, f"a record of {size} bytes")
            yield body[:size]


def count_records(path: Path) -> int:
    """Records of a file, by their lengths alone.

    Raises:
        TFRecordError: The file is cut short or damaged.
    """
    checksum, count, end = _checksum(), 0, path.stat().st_size
    with path.open("rb") as file:
        while head := file.read(_HEAD.size):
            place = file.tell() - len(head)
            if len(head) < _HEAD.size or checksum(head[:8]) != _HEAD.unpack(head)[1]:
                raise _damaged(path, place, "the length of a record")
            after = file.seek(_HEAD.unpack(head)[0] + _TAIL.size, 1)
            if after > end:
                raise _damaged(path, place, "a record that is cut short")
            count += 1
    return count


def encode_examples(features: Mapping[str, NDArray[Any]]) -> list[bytes]:
    """N Examples from features [N, K], int64 lists from integers and float lists from floats.

    Features stand in the order of their names, as TensorFlow's deterministic serialiser has them.
    """
    columns = [
        (name.encode(), _encode_column(np.atleast_2d(values.T).T))
        for name, values in sorted(features.items())
    ]
    count = len(columns[0][1])
    return [
        _field(1, b"".join(_map_entry(name, lists[row]) for name, lists in columns))
        for row in range(count)
    ]


def parse_example(record: bytes) -> dict[str, Packed]:
    """The features of one Example by name, their values still packed.

    Raises:
        TFRecordError: The bytes are not an Example of int64 and float lists.
    """
    found: dict[str, Packed] = {}
    try:
        for features in _only(record, 1):
            for entry in _only(features, 1):
                parts = {number: value for number, _, value in _fields(entry)}
                kind, _, values = next(_fields(parts[2]))
                packed = [v if wire != _VARINT else _varint_bytes(v)
                          for _, wire, v in _fields(values)]  # fmt: skip
                found[bytes(parts[1]).decode()] = Packed(kind, b"".join(packed))
    except (KeyError, IndexError, StopIteration, UnicodeDecodeError, TypeError) as error:
        raise TFRecordError(f"A record is not a tf.train.Example ({error!r}).") from None
    return found


def decode_column(packed: list[Packed]) -> list[NDArray[Any]]:
    """The values of one feature in many Examples, int64 or float32, all decoded together."""
    kinds = {item.kind for item in packed}
    if not kinds <= {_FLOATS, _INTS} or len(kinds) > 1:
        raise TFRecordError(f"A feature has lists of the kinds {kinds}; expected floats or ints.")
    sizes = np.cumsum([len(item.data) for item in packed])
    data = b"".join(item.data for item in packed)
    if kinds == {_FLOATS}:
        return np.split(np.frombuffer(data, "<f4"), sizes[:-1] // 4)
    raw = np.frombuffer(data, np.uint8)
    values, ends = decode_varints(raw)
    return np.split(values, np.searchsorted(ends, sizes[:-1], side="right"))


def encode_varints(values: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Base-128 bytes of all values, end to end, and the number of bytes of each."""
    left = values.astype(np.int64).view(np.uint64)
    sizes = np.ones(len(left), np.int64)
    for k in range(1, 10):
        sizes += left >= np.uint64(1) << np.uint64(7 * k)
    starts = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), np.uint8)
    for k in range(int(sizes.max(initial=0))):
        here = sizes > k
        part = (left[here] >> np.uint64(7 * k)) & np.uint64(127)
        out[starts[here] + k] = part | np.where(sizes[here] > k + 1, 128, 0).astype(np.uint64)
    return out, sizes


def decode_varints(data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Values of base-128 bytes, and for each the place behind its last byte.

    Raises:
        TFRecordError: The last value is cut short, or one is longer than 10 bytes.
    """
    ends = np.flatnonzero(data < 128) + 1
    if (len(data) and (not len(ends) or ends[-1] != len(data))) or _longest(ends) > 10:
        raise TFRecordError("A list of integers is cut short or is not a list of integers.")
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)]
    values = np.zeros(len(ends), np.uint64)
    for k in range(_longest(ends)):
        here = ends - starts > k
        values[here] |= (data[starts[here] + k].astype(np.uint64) & np.uint64(127)) << np.uint64(
            7 * k
        )
    return values.view(np.int64), ends


def _longest(ends: NDArray[np.int64]) -> int:
    return int(np.diff(ends, prepend=0).max(initial=0))


def _encode_column(values: NDArray[Any]) -> list[bytes]:
    """The `Feature` message of each row."""
    if values.dtype.kind == "f":
        rows = [row.tobytes() for row in values.astype("<f4")]
        return [_field(_FLOATS, _field(1, row)) for row in rows]
    data, sizes = encode_varints(values.astype(np.int64).reshape(-1))
    ends = np.cumsum(sizes.reshape(values.shape).sum(1))
    raw = data.tobytes()
    rows = [raw[low:high] for low, high in zip([0, *ends[:-1]], ends, strict=True)]
    return [_field(_INTS, _field(1, row)) for row in rows]


def _map_entry(name: bytes, feature: bytes) -> bytes:
    return _field(1, _field(1, name) + _field(2, feature))


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _varint_bytes(len(data)) + data


def _varint_bytes(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _only(message: Any, number: int) -> Iterator[Any]:
    for found, _, value in _fields(message):
        if found == number:
            yield value


def _fields(message: Any) -> Iterator[tuple[int, int, Any]]:
    """Field number, wire type and value (int or bytes) of each field of a message."""
    place = 0
    while place < len(message):
        tag, place = _read_varint(message, place)
        wire = tag & 7
        if wire == _VARINT:
            value, place = _read_varint(message, place)
            yield tag >> 3, wire, value
            continue
        size = {_FIXED32: 4, _FIXED64: 8}.get(wire)
        if wire == _BYTES:
            size, place = _read_varint(message, place)
        if size is None or place + size > len(message):
            raise IndexError(f"wire type {wire} at byte {place}")
        yield tag >> 3, wire, message[place : place + size]
        place += size


def _read_varint(data: Any, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


def _checksum() -> Callable[[bytes], int]:
    try:
        crc32c = import_module("google_crc32c").value
    except ModuleNotFoundError:
        raise TFRecordError(
            "TFRecord files need the package google-crc32c, which is not installed. Install the "
            'extra: pip install "bert-pretraining[tfrecord]".'
        ) from None

    def masked(data: bytes) -> int:
        crc: int = crc32c(data)
        return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF

    return masked


def _damaged(path: Path, place: int, what: str) -> TFRecordError:
    return TFRecordError(
        f"{path} is damaged at byte {place}: {what} does not have its checksum, or is missing. "
        "Copy or make the file again."
    )
