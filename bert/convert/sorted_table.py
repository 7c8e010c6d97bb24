"""LevelDB's table file: sorted keys and values in blocks, each with a checksum.

Blocks of key-value pairs, a block that lists the blocks, and a footer of 48 bytes. In a block a key
is stored as the length of what it shares with the key before it and the rest; the offsets of the
keys that share nothing stand at its end. A block is followed by a byte for its compression (0 none,
1 Snappy) and a masked CRC-32C of the block and this byte.

Source: LevelDB, doc/table_format.md; TensorFlow, core/lib/io/format.cc.
"""

import struct
from collections.abc import Iterator

from bert.convert.crc32c import masked_crc32c
from bert.convert.snappy import SnappyError, decompress

_MAGIC = bytes.fromhex("57fb808b247547db")
_FOOTER = 48
_TRAILER = struct.Struct("<BI")
_NONE, _SNAPPY = 0, 1


class TableError(ValueError):
    """Bytes that are no whole table; the message says how, without the file's name."""


def read_table(data: bytes) -> dict[bytes, bytes]:
    """Values by key, in the order of the keys.

    Raises:
        TableError: The bytes are no table, or are damaged.
    """
    if len(data) < _FOOTER or data[-len(_MAGIC) :] != _MAGIC:
        raise TableError("does not end as a LevelDB table does")
    try:
        return dict(_pairs(data))
    except (IndexError, struct.error, SnappyError) as error:
        raise TableError(f"is damaged ({error})") from None


def varint(data: bytes, place: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, and the place behind it.

    Raises:
        IndexError: It is cut short.
    """
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place += 1
        if byte < 0x80:
            return value, place
        shift += 7


def _pairs(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = data[-_FOOTER:]
    _, place = varint(footer, 0)  # the block of metadata is not needed
    _, place = varint(footer, place)
    for _, handle in _block(data, footer[place:]):
        yield from _block(data, handle)


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset, place = varint(handle, 0)
    size, _ = varint(handle, place)
    compression, crc = _TRAILER.unpack_from(data, offset + size)
    if masked_crc32c(data[offset : offset + size + 1]) != crc:
        raise TableError(f"is damaged at byte {offset}: a block does not have its checksum")
    if compression not in (_NONE, _SNAPPY):
        raise TableError(f"has a block with compression {compression}; expected none or Snappy")
    block = data[offset : offset + size]
    if compression == _SNAPPY:
        block = decompress(block)
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    key, place = b"", 0
    while place < end:
        shared, place = varint(block, place)
        rest, place = varint(block, place)
        length, place = varint(block, place)
        key = key[:shared] + block[place : place + rest]
        place += rest
        yield key, block[place : place + length]
        place += length
