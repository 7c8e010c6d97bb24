"""Folders that already are in the text format, such as the `results4` layout of MLPerf."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bert.config import knob
from bert.text.decoding import decode_utf8
from bert.text.documents import Document, NamedDocument
from bert.text.pieces import AFTER_BLANK_LINE, Piece, cut_file
from bert.text.source import SourceConfig, relative_names

COUNTS = ("files", "line_breaks_in_sentences")


class Results4Config(SourceConfig):
    """Text that is split into sentences and documents already."""

    format: Literal["results4"] = knob(
        'Layout of the raw files: the text format of this project. The pattern "part-*" leaves out '
        "held-out text and checksums."
    )


def list_items(files: Sequence[Path], config: Results4Config) -> Iterator[Piece]:
    """Yields pieces of whole documents, about 2 MiB each.

    Raises:
        PieceError: A document is too large for memory.
        CompressionError: A file is compressed and damaged.
    """
    for path, name in zip(files, relative_names(files), strict=True):
        yield from cut_file(path, name, ends=AFTER_BLANK_LINE)


def read_item(item: Piece, config: Results4Config) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the documents of a piece, named by file and line, and the counters to raise.

    Sentences pass through as they are but for space around them, and a character that Python or
    Unicode takes for a line break (U+0085, U+2028, a form feed, ...) becomes a space; such
    sentences are counted.

    Raises:
        DecodingError: The piece is not valid UTF-8.
    """
    text = decode_utf8(item.read(), where=item.name, first_line=item.first_line)
    names = ["files"] * (item.start == 0)
    documents: list[NamedDocument] = []
    document: Document = []
    for number, line in enumerate([*text.split("\n"), ""]):
        sentence = line.strip()
        if len(sentence.splitlines()) > 1:
            sentence = " ".join(sentence.split())
            names.append("line_breaks_in_sentences")
        if sentence:
            document.append(sentence)
        elif document:
            first_line = item.first_line + number - len(document)
            documents.append(NamedDocument(f"{item.name}:{first_line}", document))
            document = []
    return documents, tuple(names)
