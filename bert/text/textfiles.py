"""Folders of plain text: one document a file, a line, or a stretch between blank lines.

Whole files may be in any encoding that `bert.text.decoding` knows. Files that hold many documents
are cut into pieces and must be UTF-8, because a piece does not tell the encoding of its file. Any
of the files may be compressed (.gz, .bz2, .zst). Lines end with LF, CR LF or CR.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from bert.config import knob
from bert.text.decoding import decode_text, decode_utf8, remove_invisible
from bert.text.documents import Document, NamedDocument
from bert.text.paragraphs import text_sentences
from bert.text.pieces import AFTER_ANY_BLANK_LINE, AFTER_ANY_LINE, Piece, cut_file, read_whole
from bert.text.source import SourceConfig, relative_names

COUNTS = ("files", "skipped_empty")


class TextConfig(SourceConfig):
    """Plain text files."""

    format: Literal["text"] = knob("Layout of the raw files: plain text.")
    documents: Literal["file", "blank_line", "line"] = knob(
        "What one document is: a whole file, the lines between blank lines, or a line."
    )
    sentences: Literal["split", "line"] = knob(
        "Where sentences come from: paragraphs are split, or each line is a sentence already."
    )


def list_items(files: Sequence[Path], config: TextConfig) -> Iterator[Piece]:
    """Yields whole files, or pieces of whole documents.

    Raises:
        PieceError: A document is too large for memory.
        CompressionError: A file is compressed and damaged.
    """
    ends = AFTER_ANY_LINE if config.documents == "line" else AFTER_ANY_BLANK_LINE
    for path, name in zip(files, relative_names(files), strict=True):
        if config.documents == "file":
            yield Piece(name, path, 0, path.stat().st_size, 1, None)
        else:
            yield from cut_file(path, name, ends=ends)


def read_item(item: Piece, config: TextConfig) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the documents of a file or piece, and the counters to raise.

    Documents other than whole files are named by file and line ("a/b.txt:17").

    Raises:
        DecodingError: The file is no text, or not UTF-8 where that is expected.
        PieceError: A whole file is too large for memory.
    """
    if config.documents == "file":
        return _whole_file(item, config)
    names = ["files"] * (item.start == 0)
    text = decode_utf8(item.read(), where=item.name, first_line=item.first_line)
    lines = _lines(text)
    documents = []
    for first, document_lines in _stretches(lines, single=config.documents == "line"):
        sentences = _sentences(document_lines, config)
        if sentences:
            name = f"{item.name}:{item.first_line + first}"
            documents.append(NamedDocument(name, sentences))
        else:
            names.append("skipped_empty")
    return documents, tuple(names)


def _whole_file(item: Piece, config: TextConfig) -> tuple[list[NamedDocument], tuple[str, ...]]:
    text, encoding = decode_text(read_whole(item.path, item.name), where=item.name)
    sentences = _sentences(_lines(text), config)
    names = ("files", f"encoding_{encoding}")
    if not sentences:
        return [], (*names, "skipped_empty")
    return [NamedDocument(item.name, sentences)], names


def _lines(text: str) -> list[str]:
    """Lines as `bert.text.pieces` counts them: at LF, CR LF and CR only."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _stretches(lines: list[str], *, single: bool) -> Iterator[tuple[int, list[str]]]:
    """Yields each document's first line (from 0) and lines; the piece's last line is complete."""
    if single:
        last = len(lines) - (lines[-1] == "")
        yield from ((number, [line]) for number, line in enumerate(lines[:last]))
        return
    stretch: list[str] = []
    for number, line in enumerate([*lines, ""]):
        if line.strip():
            stretch.append(line)
        elif stretch:
            yield number - len(stretch), stretch
            stretch = []


def _sentences(lines: list[str], config: TextConfig) -> Document:
    if config.sentences == "split":
        return text_sentences("\n".join(lines))
    return list(filter(None, (" ".join(remove_invisible(line).split()) for line in lines)))
