"""Text files cut into pieces of whole lines, so that several workers share one file.

A plain file is cut by byte ranges, which each worker reads for itself; a compressed one cannot be
entered in the middle, so its pieces carry their bytes. Where the cuts fall never shows in the
documents: a cut stands only where a document may end anyway.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

from bert.text.compression import compression_of, open_decompressed

# Line feed only: a carriage return may stand inside a line, as blank space or before the feed.
AFTER_LINE = re.compile(rb"\n")
AFTER_BLANK_LINE = re.compile(rb"\n[ \t\r]*+\n")
# Line feed, carriage return, or both. One byte more must follow, which tells the two apart.
AFTER_ANY_LINE = re.compile(rb"(?>\r\n|\n|\r(?=[^\n]))")
AFTER_ANY_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)[ \t]*+(?>\r\n|\n|\r(?=[^\n]))")

PIECE_BYTES = 2 << 20
_READ_BYTES = 1 << 20
_LARGEST = 512 << 20  # bytes of a piece or a whole file
_LONGEST_CUT = 1 << 10  # blank lines with more spaces are no place for a cut


class PieceError(ValueError):
    """A file that cannot be cut into pieces that fit into memory."""


class Piece(NamedTuple):
    """Some whole lines of a file: bytes `start` to `start + size` of the decompressed text."""

    name: str  # of the file inside its source
    path: Path
    start: int
    size: int  # bytes
    first_line: int  # number of the piece's first line, from 1
    content: bytes | None  # the bytes, if the file is compressed

    def read(self) -> bytes:
        """The bytes of the piece."""
        if self.content is not None:
            return self.content
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            return stream.read(self.size)


def cut_file(
    path: Path, name: str, *, ends: re.Pattern[bytes], piece_bytes: int = PIECE_BYTES
) -> Iterator[Piece]:
    """Yields the pieces of a file, which may be compressed; of an empty one, one empty piece.

    Args:
        path: The file.
        name: Its name inside the source.
        ends: Where a piece may end: after a match of one of this module's patterns.
        piece_bytes: Bytes that a piece has at least, all but the last one.

    Raises:
        PieceError: No match in 512 MiB of text.
        CompressionError: The file is compressed and damaged.
    """
    keep = compression_of(path) is not None
    any_kind = ends in {AFTER_ANY_LINE, AFTER_ANY_BLANK_LINE}
    start, line = 0, 1
    with open_decompressed(path) as stream:
        for content in _cut(stream, ends, piece_bytes, path):
            yield Piece(name, path, start, len(content), line, content if keep else None)
            start += len(content)
            line += _line_ends(content, any_kind=any_kind)
    if not start:
        yield Piece(name, path, 0, 0, 1, b"")


def read_whole(path: Path, name: str) -> bytes:
    """The bytes of a file that is one document, decompressed.

    Raises:
        PieceError: The file is too large for memory.
        CompressionError: The file is compressed and damaged.
    """
    with open_decompressed(path) as stream:
        data = stream.read(_LARGEST + 1)
    check_size(name, len(data))
    return data


def check_size(name: str, size: int) -> None:
    """Refuses a file that is too large to be one document.

    Raises:
        PieceError: `size` is more than 512 MiB.
    """
    if size > _LARGEST:
        raise PieceError(
            f"{name} has more than {_LARGEST >> 20} MiB; expected files that are one document each "
            "and fit into memory. Cut the file, or read it as format text with another `documents`."
        )


def _line_ends(content: bytes, *, any_kind: bool) -> int:
    feeds = content.count(b"\n")
    return feeds + content.count(b"\r") - content.count(b"\r\n") if any_kind else feeds


def _cut(
    stream: IO[bytes], ends: re.Pattern[bytes], piece_bytes: int, path: Path
) -> Iterator[bytes]:
    buffer = bytearray()
    searched = piece_bytes
    while block := stream.read(_READ_BYTES):
        buffer += block
        while len(buffer) > searched:
            end = ends.search(buffer, max(0, searched - _LONGEST_CUT))
            if end is None:
                searched = len(buffer)
                break
            yield bytes(buffer[: end.end()])
            del buffer[: end.end()]
            searched = piece_bytes
        if len(buffer) > _LARGEST:
            raise PieceError(
                f"{path} has no end of a document in {_LARGEST >> 20} MiB; expected lines or "
                "documents that fit into memory. Check the knobs that say how documents are "
                "separated, or cut the file."
            )
    if buffer:
        yield bytes(buffer)
