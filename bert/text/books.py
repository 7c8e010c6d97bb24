"""Books as plain text files, in a folder or in tar archives: frame, chapters, paragraphs.

Dropped as markup: headings, title pages, tables of contents and other tables, rules of asterisks,
illustrations, marks of emphasis and of footnotes.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from bert.config import knob
from bert.text.archives import Member, is_archive, read_members
from bert.text.chapters import CHAPTER, Block, split_chapters
from bert.text.decoding import decode_text, remove_invisible
from bert.text.documents import Document, NamedDocument
from bert.text.gutenberg import is_credit, strip_gutenberg
from bert.text.paragraphs import is_running_text, split_paragraphs
from bert.text.pieces import check_size, read_whole
from bert.text.sentences import split_sentences
from bert.text.source import SourceConfig, relative_names

COUNTS = ("files", "gutenberg_headers", "gutenberg_footers", "skipped_empty", "skipped_not_text")
_CREDIT_BLOCKS = 5
_TITLE_WORDS = 8
_ILLUSTRATIONS = re.compile(r"(?<!\s)\s*+(?:\[Illustration(?>[^\[\]]++|\[[^\[\]]*+\])*+\]\s*+)++")
_EMPHASIS = re.compile(r"(?<![^\W_])_+|_++(?![^\W_])")
_RAISED = re.compile(r"\^\{([^{}]*)\}")
# Footnotes, and the proofreaders' marks for indented lines.
_MARKS = re.compile(r"\[(?:\d{1,3}|\*{1,3})\]|\{\d{1,3}\}|/\*(?: [A-Z]{3,6}\b)?|\*+/?")
_GAP = re.compile(r"\S {4,}\S")
_SPOKEN = ("!", "?", '"', "\u201d", "\u2019")


class BooksConfig(SourceConfig):
    """Books as plain text files in any encoding."""

    format: Literal["books"] = knob(
        "Layout of the raw files: one book a .txt file, or tar archives of such files."
    )
    chapters_are_documents: bool = knob(
        "Whether each chapter is a document of its own; otherwise the whole book is one."
    )


class Book(NamedTuple):
    """A file of a folder, or a member of an archive."""

    name: str  # inside the source
    path: Path
    size: int  # bytes
    content: bytes | None  # of a member
    is_text: bool  # members that are no .txt are only counted


def list_items(files: Sequence[Path], config: BooksConfig) -> Iterator[Book]:
    """Yields one item a book; members of an archive carry their bytes.

    Raises:
        ArchiveError: An archive is damaged, or holds what a collection of texts has no use for.
        PieceError: A member of an archive is too large for memory.
    """
    for path, name in zip(files, relative_names(files), strict=True):
        with BufferedReader(path.open("rb", buffering=0), 1 << 16) as stream:
            if is_archive(stream):
                yield from _books(read_members(stream, where=name), path, name)
            else:
                yield Book(name, path, path.stat().st_size, None, True)


def _books(members: Iterable[Member], path: Path, name: str) -> Iterator[Book]:
    for member in members:
        inside = f"{name}/{member.name}"
        if member.name.endswith(".txt"):
            check_size(inside, member.size)
            yield Book(inside, path, member.size, member.stream.read(), True)
        else:
            yield Book(inside, path, 0, b"", False)


def read_item(item: Book, config: BooksConfig) -> tuple[list[NamedDocument], tuple[str, ...]]:
    """Returns the book's documents and the counters to raise.

    Raises:
        DecodingError: The file is no text in any encoding that was tried.
        PieceError: The file is too large for memory.
    """
    if not item.is_text:
        return [], ("skipped_not_text",)
    data = read_whole(item.path, item.name) if item.content is None else item.content
    text, encoding = decode_text(data, where=item.name)
    body, frame = strip_gutenberg(re.sub(r"\r\n?|\f", "\n", text))
    names = ("files", f"encoding_{encoding}", *frame)
    documents = list(filter(None, _chapters(body, is_gutenberg=bool(frame))))
    if not documents:
        return [], (*names, "skipped_empty")
    if not config.chapters_are_documents:
        return [NamedDocument(item.name, list(chain.from_iterable(documents)))], names
    return [NamedDocument(f"{item.name}#{n}", d) for n, d in enumerate(documents, 1)], names


def _chapters(body: str, *, is_gutenberg: bool) -> Iterator[Document]:
    lines = _ILLUSTRATIONS.sub(_gap, body).strip("\n").split("\n")
    blocks = list(split_paragraphs(lines))
    if is_gutenberg:
        credits = {n for n, block in enumerate(blocks[:_CREDIT_BLOCKS]) if is_credit(block[0])}
        blocks = [block for n, block in enumerate(blocks) if n not in credits]
    first, *others = split_chapters(blocks)
    if others and is_gutenberg:
        first = [block for block in first if not _is_title(block)]
    for chapter in (first, *others):
        texts = (_paragraph(block) for block in chapter if not _is_table(block))
        yield [s for text in texts if _is_text(text) for s in split_sentences(text)]


def _gap(illustrations: re.Match[str]) -> str:
    """What illustrations leave: a paragraph's end, unless they stood in a paragraph's middle.

    A chapter heading inside of one ("[Illustration: Chapter I.]") is a heading.
    """
    headings = (line.strip(" \t[]{}") for line in illustrations[0].split("\n"))
    heading = next((line for line in headings if CHAPTER.match(line)), "")
    if heading:
        return f"\n\n{heading}\n\n"
    before = illustrations.string[illustrations.start() - 1 : illustrations.start()]
    after = illustrations.string[illustrations.end() : illustrations.end() + 1]
    return "\n" if after.islower() and (before.isalnum() or before in ",;") else "\n\n"


def _is_title(block: Block) -> bool:
    """Whether a line before the first chapter is of a title page: title, author, dedication."""
    return len(block) == 1 and len(block[0].split(maxsplit=_TITLE_WORDS)) <= _TITLE_WORDS


def _is_table(block: Block) -> bool:
    gaps = sum(_GAP.search(line) is not None for line in block)
    return len(block) > 1 and 3 * gaps >= 2 * len(block)


def _paragraph(lines: Block) -> str:
    """Joins lines with spaces, but not after a hyphen or dash: "self-" and "same" are one word."""
    joined = "".join(
        line
        if line.endswith(("-", "\u2014")) and not line.endswith((" -", " \u2014"))
        else f"{line} "
        for line in lines
    )
    text = _MARKS.sub("", _RAISED.sub(r"\1", _EMPHASIS.sub("", joined)))
    return " ".join(remove_invisible(text).split())


def _is_text(paragraph: str) -> bool:
    """Not a heading: running text, and in capitals only if spoken."""
    letters, small = sum(map(str.isalpha, paragraph)), sum(map(str.islower, paragraph))
    if small < 0.05 * letters and any(map(str.isupper, paragraph)):
        return paragraph.endswith(_SPOKEN)
    return is_running_text(paragraph)
