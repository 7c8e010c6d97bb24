"""CRC-32C, by google-crc32c where it is installed (extra `tfrecord`), else by numpy.

The checksum is linear over bits, so a long input is cut into pieces whose checksums are computed
side by side and then joined: the checksum of A and B in a row is that of A, moved on by as many
zero bytes as B has, xor that of B. Leading zeros change nothing, and the starting value is the same
as flipping the first bits. A byte costs some 5 ns.

Source: Castagnoli et al., 1993; RFC 3720, appendix B.4 (test values).
"""

from functools import cache
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = np.uint32(0x82F63B78)  # bits reversed
_PIECE = 1024  # bytes that are worked through one after the other
_CHUNK = 16384 * _PIECE  # bytes that are worked through side by side
_ALL_ONES = 0xFFFFFFFF

Words = NDArray[np.uint32]


def crc32c(data: bytes) -> int:
    """Checksum of all bytes."""
    try:
        return int(import_module("google_crc32c").value(data))
    except ModuleNotFoundError:
        return crc32c_numpy(data)


def masked_crc32c(data: bytes) -> int:
    """The form in which TensorFlow and LevelDB store it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ALL_ONES


def crc32c_numpy(data: bytes) -> int:
    """The same without the library."""
    state = _ALL_ONES
    for start in range(0, len(data), _CHUNK):
        state = _advance(state, data[start : start + _CHUNK])
    return state ^ _ALL_ONES


def _advance(state: int, chunk: bytes) -> int:
    if len(chunk) < 4:
        for byte in chunk:
            state = int(_byte_table()[(state ^ byte) & 0xFF]) ^ (state >> 8)
        return state
    pieces = 1 << max(0, (-(-len(chunk) // _PIECE) - 1).bit_length())
    padded = np.zeros(pieces * _PIECE, np.uint8)
    padded[-len(chunk) :] = np.frombuffer(chunk, np.uint8)
    first = len(padded) - len(chunk)
    padded[first : first + 4] ^= np.frombuffer(state.to_bytes(4, "little"), np.uint8)
    words = np.ascontiguousarray(padded.view("<u2").reshape(pieces, -1).T)
    table = _two_byte_table()
    states = np.zeros(pieces, np.uint32)
    for row in words:
        states ^= row
        states = table[states & np.uint32(0xFFFF)] ^ (states >> np.uint32(16))
    length = _PIECE
    while len(states) > 1:
        states = _apply(_moved_on(length), states[0::2]) ^ states[1::2]
        length *= 2
    return int(states[0])


@cache
def _byte_table() -> Words:
    """State after one byte, from the state's low byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ _POLYNOMIAL, table >> 1).astype(np.uint32)
    return table


@cache
def _two_byte_table() -> Words:
    """State after two bytes, from the state's low 16 bits."""
    state = np.arange(65536, dtype=np.uint32)
    for _ in range(2):
        state = _byte_table()[state & 0xFF] ^ (state >> 8)
    return state


@cache
def _moved_on(length: int) -> Words:
    """What each bit of a state becomes after so many zero bytes, a power of two: uint32 [32]."""
    if length == 1:
        bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
        first: Words = _byte_table()[bits & 0xFF] ^ (bits >> np.uint32(8))
        return first
    half = _moved_on(length // 2)
    return _apply(half, half)


def _apply(columns: Words, states: Words) -> Words:
    """A linear map, given by what it makes of each bit, of every state."""
    out = np.zeros_like(states)
    for bit, column in enumerate(columns):
        out ^= column * ((states >> np.uint32(bit)) & np.uint32(1))
    return out
