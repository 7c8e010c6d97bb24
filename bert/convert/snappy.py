"""Snappy's block format, read without its library.

A length (varint), then elements until so many bytes are made. The low two bits of an element's
first byte tell what it is: 0, a literal (upper six bits: its length less one, or 60 to 63 for a
length in 1 to 4 bytes behind); else a copy of bytes made before, as a length and a distance back,
which may be shorter than the length. Source: google/snappy, format_description.txt.
"""

_LITERAL, _COPY_1, _COPY_2 = 0, 1, 2


class SnappyError(ValueError):
    """Bytes that are no whole Snappy block."""


def decompress(data: bytes) -> bytes:
    """The bytes that a block stands for.

    Raises:
        SnappyError: The block is cut short, reads before its start, or is of another length.
    """
    size, place = _length(data)
    out = bytearray()
    while place < len(data):
        tag = data[place]
        place += 1
        if tag & 3 == _LITERAL:
            length, place = _literal_length(data, tag >> 2, place)
            out += data[place : place + length]
            place += length
            if place > len(data):
                raise SnappyError("a literal is cut short")
            continue
        if tag & 3 == _COPY_1:
            length, width, high = (tag >> 2 & 7) + 4, 1, tag >> 5 << 8
        else:
            length, width, high = (tag >> 2) + 1, 2 if tag & 3 == _COPY_2 else 4, 0
        distance = high | _integer(data, place, width)
        place += width
        _copy(out, distance, length)
    if len(out) != size:
        raise SnappyError(f"{len(out)} bytes come out, expected {size}")
    return bytes(out)


def _copy(out: bytearray, distance: int, length: int) -> None:
    if not 0 < distance <= len(out):
        raise SnappyError(f"a copy starts {distance} bytes back, after {len(out)} bytes")
    start = len(out) - distance
    pattern = out[start : start + length]
    # A copy that is longer than its distance repeats what it has just made.
    out += (pattern * (length // len(pattern) + 1))[:length]


def _literal_length(data: bytes, code: int, place: int) -> tuple[int, int]:
    if code < 60:
        return code + 1, place
    width = code - 59
    return _integer(data, place, width) + 1, place + width


def _integer(data: bytes, place: int, width: int) -> int:
    if place + width > len(data):
        raise SnappyError("an element is cut short")
    return int.from_bytes(data[place : place + width], "little")


def _length(data: bytes) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, place + 1
    raise SnappyError("its length is cut short")
