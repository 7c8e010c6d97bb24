"""Compressed files as streams of bytes: gzip, bzip2 and Zstandard, known by their first bytes.

A file that is named like one kind and starts like another is refused, and so is one that ends in
the middle of a stream: half a file must not look like a whole one.
"""

import bz2
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import zstandard

_KINDS = {".gz": b"\x1f\x8b", ".bz2": b"BZh", ".zst": b"\x28\xb5\x2f\xfd"}
# Small, because zstandard hands out at once all that a piece decompresses to.
_FEED_BYTES = 1 << 13
_LONGEST_ZSTD_WINDOW = 1 << 31  # what `zstd --long=31` writes


class CompressionError(ValueError):
    """A compressed file that is damaged, cut off, or not of the kind that its name says."""


def compression_of(path: Path) -> str | None:
    """The ending (".gz", ".bz2", ".zst") of the kind that `path` is compressed with, or None.

    Raises:
        CompressionError: The name says one kind, the first bytes do not.
    """
    with path.open("rb") as stream:
        start = stream.read(4)
    found = next((kind for kind, magic in _KINDS.items() if start.startswith(magic)), None)
    if path.suffix in _KINDS and path.suffix != found:
        raise CompressionError(
            f"{path} is named {path.suffix} but starts with {start!r}; expected "
            f"{_KINDS[path.suffix]!r}. Fetch it again, or rename it if it is not compressed."
        )
    return found


@contextmanager
def open_decompressed(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that may be compressed; several streams end to end are read as one.

    Raises:
        CompressionError: On opening or within the `with` block, when the file turns out damaged.
    """
    kind = compression_of(path)
    try:
        with _open(path, kind) as stream:
            yield stream
    except EOFError:
        raise CompressionError(
            f"{path} ends in the middle of its compressed data; expected a whole file. "
            "Fetch it again."
        ) from None
    except (OSError, zlib.error, zstandard.ZstdError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise CompressionError(
            f"{path} holds damaged {kind} data ({error}); expected a whole file. Fetch it again."
        ) from None


def _open(path: Path, kind: str | None) -> IO[bytes]:
    if kind == ".gz":
        return gzip.open(path, "rb")  # type: ignore[return-value]
    if kind == ".bz2":
        return bz2.open(path, "rb")
    if kind == ".zst":
        return io.BufferedReader(_ZstandardFile(path), 1 << 20)
    return path.open("rb")


class _ZstandardFile(io.RawIOBase):
    """Frames end to end; zstandard's own reader takes a cut-off frame for a whole one."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._output:
            self._input = self._input or self._file.read(_FEED_BYTES)
            if not self._input:
                if self._frame is not None:
                    raise EOFError
                return 0
            self._decompress()
        size = min(len(buffer), len(self._output))
        buffer[:size], self._output = self._output[:size], self._output[size:]
        return size

    def _decompress(self) -> None:
        if self._frame is None:
            reader = zstandard.ZstdDecompressor(max_window_size=_LONGEST_ZSTD_WINDOW)
            self._frame = reader.decompressobj()
        self._output = memoryview(self._frame.decompress(self._input))
        self._input = b""
        if self._frame.eof:
            self._input, self._frame = self._frame.unused_data, None
