"""The bzip2 streams of a multistream dump: where they start, what the index says, what they hold.

A multistream dump is many bzip2 files end to end: the first holds the head of the dump, each
further one some hundred whole pages, the last the closing tag. Its index lists for each page
`offset:page id:title`, where the offset is that of the page's stream. The starts of streams can
also be found without it: they stand at whole bytes and begin with ten fixed bytes, which
compressed data hold by chance less than once in 10^20 bytes.
"""

import bz2
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from bert.text.compression import open_decompressed

_START = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")  # a first block, or an end without one
_START_BYTES = 10
_READ_BYTES = 1 << 20
_RANGE_BYTES = 1 << 18
_LARGEST_RANGE = 32 << 20
LARGEST_XML = 256 << 20
_INDEX_NAME = re.compile(r"-index(\d*)\.txt")
_INDEX_LINE = re.compile(rb"(\d{1,18}):(\d{1,18}):.")


class DumpError(ValueError):
    """A file that is not a whole Wikipedia XML dump, or an index that is not that of its dump."""


class Streams(NamedTuple):
    """Whole bzip2 streams of a file: bytes `start` to `end`."""

    start: int
    end: int
    page_ids: tuple[int, ...] | None  # what the index states, if there is one


def is_index(name: str) -> bool:
    """Whether a file is named like an index of a multistream dump."""
    return _INDEX_NAME.search(name) is not None


def dump_of_index(path: Path) -> str:
    """Path of the dump that an index belongs to, without an ending .bz2."""
    name = _INDEX_NAME.sub(r"\1.xml", path.name).removesuffix(".bz2")
    return str(path.with_name(name))


def find_streams(path: Path, *, end: int | None = None) -> Iterator[int]:
    """Yields the offsets of the bzip2 streams in a file, from its bytes alone.

    Args:
        path: The file.
        end: Bytes of the file to look at, roughly; None = all.
    """
    with path.open("rb") as stream:
        position, tail = 0, b""
        while (end is None or position < end) and (block := stream.read(_READ_BYTES)):
            data = tail + block
            for match in _START.finditer(data):
                yield position - len(tail) + match.start()
            position += len(block)
            # A match is longer than what is kept, so none is found twice.
            tail = data[-(_START_BYTES - 1) :]


def read_index(path: Path) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yields the offset of each stream that holds pages, and their ids.

    Raises:
        DumpError: A line is no line of an index, or the offsets do not rise.
        CompressionError: The index is compressed and damaged.
    """
    last = 0
    with open_decompressed(path) as stream:
        entries = (_index_entry(path, n, line) for n, line in enumerate(stream, start=1))
        for offset, group in groupby(entries, key=lambda entry: entry[0]):
            if offset <= last:
                raise DumpError(
                    f"{path} has the offset {offset} after {last}; expected rising offsets. "
                    "Fetch the index again."
                )
            last = offset
            yield offset, tuple(page_id for _, page_id in group)


def _index_entry(path: Path, number: int, line: bytes) -> tuple[int, int]:
    match = _INDEX_LINE.match(line)
    if match is None:
        raise DumpError(
            f"{path}, line {number}: {line[:80]!r} is no line of an index; expected "
            "offset:page id:title. Fetch the index again, or leave it out by `pattern`."
        )
    return int(match[1]), int(match[2])


def stream_ranges(path: Path, index: Path | None) -> Iterator[Streams]:
    """Yields the streams of a multistream dump, some together; the first is the head alone.

    Raises:
        DumpError: The index does not fit the file, or a stream is too large to be held.
    """
    size = path.stat().st_size
    entries = read_index(index) if index else ((start, None) for start in find_streams(path))
    start: int | None = 0 if index else None
    ids: tuple[int, ...] | None = () if index else None
    head = True
    for offset, page_ids in entries:
        if index and offset >= size:
            raise _no_fit(path, index, f"it names the offset {offset} of {size}")
        if start is None:
            start = offset
        elif head or offset - start >= _RANGE_BYTES:
            yield _checked(path, Streams(start, offset, ids))
            start, ids, head = offset, () if index else None, False
        if ids is not None and page_ids is not None:
            ids += page_ids
    if start is not None:
        yield _checked(path, Streams(start, size, ids))


def _no_fit(path: Path, index: Path, problem: str) -> DumpError:
    return DumpError(
        f"{index.name} does not fit {path}: {problem}. Fetch both again, or leave the index out "
        "by `pattern`: the streams are found without it."
    )


def _checked(path: Path, streams: Streams) -> Streams:
    if streams.end - streams.start > _LARGEST_RANGE:
        raise DumpError(
            f"{path} has no start of a bzip2 stream in the {streams.end - streams.start} bytes "
            f"after {streams.start}; expected streams of some hundred pages. Leave out its index, "
            "or compress the dump again as one stream."
        )
    return streams


def read_streams(path: Path, start: int, end: int) -> bytes:
    """Decompresses the whole streams that stand in a range of a file.

    Raises:
        DumpError: The range does not hold whole streams, or they are damaged or too large.
    """
    with path.open("rb") as stream:
        stream.seek(start)
        data = stream.read(end - start)
    where = f"bytes {start} to {end} of {path}"
    pieces: list[bytes] = []
    left = LARGEST_XML
    while data:
        decoder = bz2.BZ2Decompressor()
        try:
            pieces.append(decoder.decompress(data, left))
        except OSError as error:
            raise DumpError(
                f"{where} are no undamaged bzip2 streams ({error}). Fetch the dump again, and its "
                "index if `pattern` names one."
            ) from None
        left -= len(pieces[-1])
        if not decoder.eof and left:
            raise DumpError(
                f"{where} end in the middle of a bzip2 stream. Fetch the dump again, and its "
                "index if `pattern` names one."
            )
        if not decoder.eof:
            raise DumpError(f"{where} hold over {LARGEST_XML >> 20} MiB of text. {_TOO_LARGE}")
        data = decoder.unused_data
    return b"".join(pieces)


_TOO_LARGE = "Expected a dump of current revisions (pages-articles), a few MiB a page at most."
