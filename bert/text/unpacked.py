"""Streams that are packed with xz, gzip or bzip2, unpacked as they are read, with a guard.

Unlike `bert.text.compression`, which opens files, this reads any stream, such as an archive inside
an archive. What is packed may come from anywhere: an expansion that text never reaches is refused,
and so is an xz stream that asks for more memory than xz itself ever does.
"""

import bz2
import io
import lzma
import zlib
from pathlib import Path
from typing import Any, Protocol

READ_BYTES = 1 << 16
LOOK_AHEAD = 512  # bytes that a look ahead shows at least, if there are as many: a tar header
_KINDS = {b"\xfd7zXZ\x00": "xz", b"\x1f\x8b\x08": "gzip", b"BZh": "bzip2"}
_XZ_MEMORY = 160 << 20  # bytes; xz -9 asks for 65 MiB
# Text packs 3 to 10 times smaller, repetitive text 100 times; a bomb 1,000 times and more.
_HIGHEST_RATIO = 300
_RATIO_FROM = 64 << 20


class ArchiveError(ValueError):
    """An archive that is damaged, cut off, or holds what a collection of text has no use for."""


class Stream(Protocol):
    """Bytes that are read forward and can be looked at ahead; an `io.BufferedReader`."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, fewer only at the end."""

    def peek(self, size: int = 0, /) -> bytes:
        """What stands next, at least a tar header if there is one; the position stays."""


def open_stream(source: Path | bytes) -> io.BufferedReader:
    """Opens a file, or bytes that were read, in the way that this module reads them."""
    raw = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb", buffering=0)
    return io.BufferedReader(raw, READ_BYTES)


def packing(start: bytes) -> str:
    """What a stream that starts so is packed with: "xz", "gzip", "bzip2", or "" for none."""
    return next((kind for magic, kind in _KINDS.items() if start.startswith(magic)), "")


def unpack(stream: Stream, *, where: str) -> Stream:
    """The stream itself, or if it is packed what it expands to.

    Args:
        stream: Read forward only, from its position.
        where: What it is called, for messages.

    Raises:
        ArchiveError: On reading, if the stream is damaged, cut off, or a bomb.
    """
    kind = packing(stream.peek(LOOK_AHEAD))
    return io.BufferedReader(_Unpacked(stream, kind, where), READ_BYTES) if kind else stream


def check_expansion(packed: int, unpacked: int, *, where: str) -> None:
    """Refuses what expands as no text and no weights do; both sizes are in bytes.

    Raises:
        ArchiveError: It is a bomb.
    """
    if unpacked > max(_RATIO_FROM, _HIGHEST_RATIO * packed):
        raise ArchiveError(
            f"{where} expands from {packed} to {unpacked} bytes or more; text packs at most "
            f"{_HIGHEST_RATIO} times smaller. The archive is made to harm."
        )


class _Unpacked(io.RawIOBase):
    """What a packed stream expands to; several packed streams end to end are read as one."""

    def __init__(self, source: Stream, kind: str, where: str) -> None:
        self._source, self._kind, self._where = source, kind, where
        self._decoder: Any = None
        self._input = b""
        self._bytes_in = self._bytes_out = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._next(len(buffer))
            # A look ahead is one read: it must hold a whole tar header if there is one.
            while len(data) < min(len(buffer), LOOK_AHEAD) and (
                more := self._next(LOOK_AHEAD - len(data))
            ):
                data += more
        except (lzma.LZMAError, zlib.error, OSError, EOFError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ArchiveError(
                f"{self._where} holds damaged or cut off {self._kind} data ({error}). "
                "Fetch it again."
            ) from None
        self._bytes_out += len(data)
        check_expansion(self._bytes_in, self._bytes_out, where=self._where)
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        data = b""
        while not data:
            if not self._input and (self._decoder is None or self._decoder.needs_input):
                self._input = self._source.read(READ_BYTES)
                self._bytes_in += len(self._input)
                if not self._input and self._decoder is None:
                    return b""
                if not self._input:
                    raise EOFError("it ends in the middle of a stream")
            if self._decoder is None:
                self._input = self._input.lstrip(b"\0")  # xz allows zeros between streams
                if not self._input:
                    continue
                self._decoder = _decoder(self._kind)
            data = self._decoder.decompress(self._input, size)
            self._input = b""
            if self._decoder.eof:
                self._input, self._decoder = self._decoder.unused_data, None
        return data


class _Gzip:
    """zlib behind the interface of the decoders of `lzma` and `bz2`."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, size: int) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, size)

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data


def _decoder(kind: str) -> Any:
    if kind == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    return bz2.BZ2Decompressor() if kind == "bzip2" else _Gzip()
