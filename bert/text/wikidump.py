"""Wikipedia's XML dumps: from files to stretches of whole pages, which nobody has parsed yet.

Pages are told apart by the bytes `<page>`, which cannot stand in the text of a page, where `<` is
escaped. So a plain file is entered anywhere, and a multistream file at any of its streams: several
processes share one file. A dump in a single stream is decompressed here, where nothing is parsed.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple
from xml.etree import ElementTree

from bert.text.compression import compression_of, open_decompressed
from bert.text.wikistreams import LARGEST_XML, DumpError, find_streams, read_streams, stream_ranges

_PAGE = b"<page>"
END = b"</mediawiki>"
_HEAD_BYTES = 1 << 20
_ITEM_BYTES = 1 << 20
_READ_BYTES = 1 << 16
_COMPRESSION = 4  # bytes of XML for one of bzip2, roughly
_FILE, _CATEGORY = "6", "14"
_CANONICAL = frozenset({"file", "image", "media", "category"})
_PAGE_ID = re.compile(rb"<page>(?>(?!<id>|<page>).)*<id>\s*(\d+)", re.DOTALL)


class Head(NamedTuple):
    """What stands before the first page of a dump."""

    size: int  # bytes
    site: str
    hidden_namespaces: frozenset[str]
    first_page: int | None  # id of the first page


class Item(NamedTuple):
    """Whole pages of one file: their XML, or where in the file it stands."""

    path: Path
    start: int
    end: int
    packed: bool  # the bytes are whole bzip2 streams
    content: bytes | None  # the XML itself, if the file cannot be entered in the middle
    is_first: bool
    is_last: bool
    hidden_namespaces: frozenset[str]
    page_ids: tuple[int, ...] | None

    @property
    def size(self) -> int:
        """Bytes of XML, roughly."""
        return (self.end - self.start) * (_COMPRESSION if self.packed else 1)


def read_head(path: Path) -> Head:
    """Reads the start of a dump.

    Raises:
        DumpError: The file is no MediaWiki XML, or has no page in its first MiB.
        CompressionError: The file is compressed and damaged.
        FileNotFoundError: There is no such file.
    """
    with open_decompressed(path) as stream:
        data = stream.read(_HEAD_BYTES)
    size = data.find(_PAGE)
    if size < 0 and len(data) == _HEAD_BYTES:
        raise DumpError(
            f"{path} has no <page> in its first MiB; expected a dump of pages. "
            "Set the raw item or `pattern` to the pages-articles files."
        )
    size = size if size >= 0 else max(data.rfind(END), 0)
    site, hidden = _parse_head(data[:size] or data, path)
    first = _PAGE_ID.match(data, size)
    return Head(size, site, hidden, int(first[1]) if first else None)


def _parse_head(data: bytes, path: Path) -> tuple[str, frozenset[str]]:
    parser: Any = ElementTree.XMLPullParser(("start", "end"))
    try:
        parser.feed(data)
        elements: list[ElementTree.Element] = [element for _, element in parser.read_events()]
    except ElementTree.ParseError as error:
        raise malformed(path, 0, error) from None
    if not elements:
        raise malformed(path, 0, "no element found")
    name = elements[0].tag.rpartition("}")[2]
    if name != "mediawiki":
        raise DumpError(
            f"{path} starts with <{name}>; expected <mediawiki>, the root of a dump. "
            "Set the raw item or `pattern` to the pages-articles files."
        )
    root = elements[0]
    hidden = {
        (namespace.text or "").lower()
        for namespace in root.iterfind(".//{*}namespace")
        if namespace.get("key") in {_FILE, _CATEGORY}
    }
    return root.findtext(".//{*}dbname") or "", _CANONICAL | hidden


def malformed(path: Path, start: int, error: ElementTree.ParseError | str) -> DumpError:
    """The error for text that is no XML; `start` is where the parser began to count."""
    return DumpError(
        f"{path} is not well-formed XML ({error}, counted from byte {start}); expected a whole "
        "MediaWiki dump. Fetch it again."
    )


def list_pages(path: Path, head: Head, index: Path | None) -> Iterator[Item]:
    """Yields the pages of a dump in stretches of about 1 MiB of XML.

    Raises:
        DumpError: The file holds no whole pages, or its index does not fit.
        CompressionError: The file is compressed and damaged.
    """
    kind = compression_of(path)
    if index and kind != ".bz2":
        raise DumpError(
            f"{index.name} belongs to a bzip2 file, but {path} is none. Leave the index out by "
            "`pattern`."
        )
    if kind is None:
        pieces = _plain(path, head)
    elif kind == ".bz2" and (index or _is_multistream(path)):
        pieces = _multistream(path, head, index)
    else:
        pieces = _streamed(path, head)
    item = next(pieces)._replace(is_first=True)
    for following in pieces:
        yield item
        item = following
    yield item._replace(is_last=True)


def _item(path: Path, head: Head, start: int, end: int) -> Item:
    return Item(path, start, end, False, None, False, False, head.hidden_namespaces, None)


def _plain(path: Path, head: Head) -> Iterator[Item]:
    start, size = head.size, path.stat().st_size
    with path.open("rb") as stream:
        while start < size:
            end = _next_page(stream, start + _ITEM_BYTES) or size
            _check_size(path, start, end)
            yield _item(path, head, start, end)
            start = end


def _next_page(stream: IO[bytes], position: int) -> int | None:
    """Offset of the first page that starts at `position` or after it."""
    stream.seek(position)
    tail = b""
    while block := stream.read(_READ_BYTES):
        data = tail + block
        found = data.find(_PAGE)
        if found >= 0:
            return position - len(tail) + found
        position += len(block)
        tail = data[-len(_PAGE) + 1 :]
    return None


def _streamed(path: Path, head: Head) -> Iterator[Item]:
    start, searched = head.size, 1
    buffer = bytearray()
    with open_decompressed(path) as stream:
        stream.read(head.size)
        while block := stream.read(_ITEM_BYTES):
            buffer += block
            cut = buffer.rfind(_PAGE, searched)
            if cut > 0:
                content = bytes(buffer[:cut])
                yield _item(path, head, start, start + cut)._replace(content=content)
                del buffer[:cut]
                start += cut
            searched = max(len(buffer) - len(_PAGE), 1)
            _check_size(path, start, start + len(buffer))
    end = start + len(buffer)
    yield _item(path, head, start, end)._replace(content=bytes(buffer))


def _check_size(path: Path, start: int, end: int) -> None:
    if end - start > LARGEST_XML:
        raise DumpError(
            f"{path} has no <page> in the {LARGEST_XML >> 20} MiB after byte {start}; expected a "
            "dump of current revisions (pages-articles), a few MiB a page at most."
        )


def _is_multistream(path: Path) -> bool:
    """Whether the first stream is the head alone, as in dumps whose streams hold whole pages."""
    starts = list(islice(find_streams(path, end=_HEAD_BYTES), 2))
    return len(starts) == 2 and _PAGE not in read_streams(path, *starts)


def _multistream(path: Path, head: Head, index: Path | None) -> Iterator[Item]:
    for streams in stream_ranges(path, index):
        if streams.start:
            item = _item(path, head, streams.start, streams.end)
            yield item._replace(packed=True, page_ids=streams.page_ids)
        elif _PAGE in read_streams(path, streams.start, streams.end):
            raise DumpError(
                f"{index} does not fit {path}: its first offset stands after the first pages. "
                "Fetch both again, or leave the index out by `pattern`."
            )
