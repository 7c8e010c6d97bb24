"""Output folders of WikiExtractor: `<doc ...>` blocks, or JSON lines (its option --json).

Which of the two a file holds shows in its first byte; files may be compressed with bzip2 (option
-c). A block is

    <doc id="12" url="https://en.wikipedia.org/wiki?curid=12" title="Anarchism">
    Anarchism

    Anarchism is a political philosophy ...
    </doc>

with a paragraph, heading or list item a line. The title line is left out, and so are headings
without a period, rests of tables, and entities, line break tags, empty brackets and bare links
inside paragraphs. Headings that WikiExtractor gave a period ("History.") stay: nothing tells them
from text.
"""

import html
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bert.config import knob
from bert.text.compression import open_decompressed
from bert.text.decoding import decode_utf8
from bert.text.documents import Document, NamedDocument
from bert.text.paragraphs import is_running_text
from bert.text.pieces import AFTER_LINE, Piece, cut_file
from bert.text.sentences import split_sentences
from bert.text.source import SourceConfig, relative_names
from bert.text.wikitext import clean_inline

COUNTS = ("files", "pages", "skipped_empty")
_AFTER_BLOCK = re.compile(rb"\n</doc>[ \t\r]*+\n(?:[ \t\r]*+\n)*+")
_OPENING = re.compile(
    r'<doc id="(?P<id>[^"\n]+)"(?: [a-z]+="[^"\n]*")*? title="(?P<title>[^\n]*)"[^"\n]*>$'
)
_TABLE_LINE = re.compile(r"\s*(?:\{\||\|[-}|]|\||!)")
_TAGS = re.compile(r"</?(?:br|ref|table|score|onlyinclude|nowiki)\b[^<>]*>", re.IGNORECASE)
_JSON = b"{"


class WikiExtractorError(ValueError):
    """A file that is no output of WikiExtractor, or part of one."""


class WikiExtractorConfig(SourceConfig):
    """Articles as WikiExtractor writes them."""

    format: Literal["wikiextractor"] = knob(
        "Layout of the raw files: WikiExtractor's output folders (AA/wiki_00, ...), text or JSON."
    )


def list_items(files: Sequence[Path], config: WikiExtractorConfig) -> Iterator[Piece]:
    """Yields pieces of whole articles, about 2 MiB each.

    Raises:
        PieceError: An article is too large for memory.
        CompressionError: A file is compressed and damaged.
    """
    for path, name in zip(files, relative_names(files), strict=True):
        with open_decompressed(path) as stream:
            is_json = stream.read(1) == _JSON
        yield from cut_file(path, name, ends=AFTER_LINE if is_json else _AFTER_BLOCK)


def read_item(
    item: Piece, config: WikiExtractorConfig
) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the articles of a piece, named by page id, and the counters to raise.

    Raises:
        DecodingError: The piece is not UTF-8.
        WikiExtractorError: Text outside of a block, a block without end, a line that is no JSON
            object of WikiExtractor; names the line.
    """
    text = decode_utf8(item.read(), where=item.name, first_line=item.first_line)
    names = ["files"] * (item.start == 0)
    documents = []
    read = _json_pages if text.startswith("{") else _block_pages
    for number, title, lines in read(text, item):
        names.append("pages")
        document = _document(title, lines)
        if document:
            documents.append(NamedDocument(number, document))
        else:
            names.append("skipped_empty")
    return documents, tuple(names)


def _block_pages(text: str, item: Piece) -> Iterator[tuple[str, str, list[str]]]:
    """Yields page id, title and lines of each `<doc>` block."""
    page: re.Match[str] | None = None
    lines: list[str] = []
    first_line = item.first_line
    for number, raw in enumerate(text.split("\n"), start=item.first_line):
        line = raw.rstrip("\r")
        opening = _OPENING.match(line)
        if (opening is None) == (page is None) and line.strip():
            found = "a <doc> inside of another" if opening else f"{line[:80]!r} outside of a block"
            if page is None or opening:
                raise _error(item, number, found)
        if opening:
            page, first_line, lines = opening, number, []
        elif line.rstrip() == "</doc>" and page is not None:
            yield page["id"], html.unescape(page["title"]), lines
            page = None
        else:
            lines.append(line)
    if page is not None:
        raise _error(item, first_line, f"no </doc> for page {page['id']}")


def _json_pages(text: str, item: Piece) -> Iterator[tuple[str, str, list[str]]]:
    for number, line in enumerate(text.split("\n"), start=item.first_line):
        if not line.strip():
            continue
        try:
            page = json.loads(line)
            values = page["id"], page["title"], page["text"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _error(item, number, f"a line that is no page ({error!r})") from None
        if not all(isinstance(value, str) for value in values) or not page["id"].strip():
            raise _error(item, number, f"values that are no text: {line[:80]!r}")
        yield page["id"].strip(), page["title"], page["text"].split("\n")


def _error(item: Piece, line: int, found: str) -> WikiExtractorError:
    return WikiExtractorError(
        f"{item.name}, line {line}: found {found}; expected WikiExtractor's output, <doc> blocks "
        "or JSON lines with id, title and text. Leave other files out with `pattern`, or extract "
        "again."
    )


def _document(title: str, lines: Sequence[str]) -> Document:
    paragraphs = [_paragraph(line) for line in lines]
    first = next((n for n, paragraph in enumerate(paragraphs) if paragraph), len(paragraphs))
    if first < len(paragraphs) and paragraphs[first] == _paragraph(title):
        del paragraphs[first]
    return [s for p in paragraphs if is_running_text(p) for s in split_sentences(p)]


def _paragraph(line: str) -> str:
    if _TABLE_LINE.match(line):
        return ""
    return clean_inline(_TAGS.sub(" ", html.unescape(line)))
