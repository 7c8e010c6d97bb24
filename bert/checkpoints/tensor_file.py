"""Safetensors files, written in pieces, with their size and a checksum.

The bytes are those of the safetensors library (format: its README, "Format"): 8 bytes with the
length of the header, little-endian; the header, JSON padded with spaces to a multiple of 8; the
tensors, widest type first, then by name. The library is given all tensors at once and writes
without a pause; here a thread can write beside the training, and give way to it after each piece.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

# The library's order of the types, last one first in the file.
_TYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
_ORDER = list(_TYPES)
# One write of this size takes a few milliseconds without the interpreter's lock.
_PIECE = 8 << 20


class Receipt(NamedTuple):
    """What a file must be."""

    bytes: int
    crc32: int


class TensorFileError(ValueError):
    """A file of tensors that is not what was written; the message says how, without its name."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> Receipt:
    """Writes tensors by name, from any device, holding one of them on the CPU at a time.

    Args:
        path: The file, which must not exist. It is not fsynced.
        tensors: Any shapes; types bool, (u)int8 to int64, fp16, bf16, fp32, fp64.

    Raises:
        OSError: The disk is full.
    """
    size = crc = 0
    with path.open("xb", buffering=0) as file:
        for piece in _pieces(tensors):
            size, crc = size + len(piece), zlib.crc32(piece, crc)
            rest = piece
            while rest:  # a write may end early, on a full disk for one
                rest = rest[file.write(rest) :]
    return Receipt(size, crc)


def read_tensors(path: Path, receipt: Receipt | None) -> dict[str, Tensor]:
    """Reads tensors to the CPU.

    Args:
        path: The file.
        receipt: As `write_tensors` gave it; None checks nothing but the header.

    Raises:
        TensorFileError: The file is cut short or was changed.
        FileNotFoundError: There is none.
    """
    if receipt is not None:
        found = path.stat().st_size
        if found != receipt.bytes:
            raise TensorFileError(f"has {found} bytes, expected {receipt.bytes}")
        if _checksum(path) != receipt.crc32:
            raise TensorFileError("has another checksum than when it was written")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise TensorFileError(f"is no whole file of tensors ({error})") from None
    return tensors


def _pieces(tensors: Mapping[str, Tensor]) -> Iterator[memoryview]:
    ordered = sorted(tensors.items(), key=lambda item: (-_ORDER.index(item[1].dtype), item[0]))
    yield memoryview(_header(ordered))
    for _, tensor in ordered:
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
        for start in range(0, len(content), _PIECE):
            yield content[start : start + _PIECE]


def _header(ordered: list[tuple[str, Tensor]]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, tensor in ordered:
        start, end = end, end + tensor.numel() * tensor.element_size()
        entries[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _checksum(path: Path) -> int:
    crc = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            crc = zlib.crc32(piece, crc)
    return crc
