"""Books as plain-text files in the forms that collections of old books really have.

Encodings, byte-order mark, line ends, wrapping, start and end markers, chapter underlines and
underscores for italics differ from file to file, in a fixed cycle.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bert.world.books import Book

_STRAIGHT = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2019": "'"})


@dataclass(frozen=True)
class Form:
    """How one file is set.

    Attributes:
        encoding: Python codec: "utf-8", "utf-8-sig" (with byte-order mark), "latin-1", "cp1252".
        line_end: LF or CRLF.
        width: Characters of a wrapped line; 0 puts each paragraph on one line.
        markers: With a header, START and END markers, and a licence after the end.
        curly: Curly quotes, which Latin-1 does not have; else straight ones.
    """

    encoding: str
    line_end: str
    width: int
    markers: bool
    curly: bool


FORMS = (
    Form("utf-8-sig", "\r\n", 72, markers=True, curly=True),
    Form("cp1252", "\r\n", 65, markers=True, curly=True),
    Form("utf-8", "\n", 0, markers=False, curly=True),
    Form("latin-1", "\n", 70, markers=True, curly=False),
    Form("utf-8", "\n", 76, markers=True, curly=False),
    Form("latin-1", "\r\n", 0, markers=False, curly=False),
)


def set_book(book: Book, form: Form, number: int) -> bytes:
    """The bytes of one file."""
    blocks = ["", *_title_page(book)]
    for chapter in book.chapters:
        blocks += ["", chapter.heading, *chapter.paragraphs]
    blocks += ["", "THE END"]
    if form.markers:
        blocks = [*_header(book, number), *blocks, "", *_footer(book)]
    text = "\n\n".join(_wrap(block, form.width) for block in blocks) + "\n"
    if not form.curly:
        text = text.translate(_STRAIGHT)
    return text.replace("\n", form.line_end).encode(form.encoding)


def write_library(folder: Path, books: Iterable[Book]) -> list[Path]:
    """Writes `book-NN.txt` files into `folder`, forms in turn, and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, book in enumerate(books, start=1):
        path = folder / f"book-{number:02d}.txt"
        path.write_bytes(set_book(book, FORMS[(number - 1) % len(FORMS)], number))
        paths.append(path)
    return paths


def _wrap(block: str, width: int) -> str:
    if not width or "\n" in block or block.startswith("***"):
        return block
    return textwrap.fill(block, width, break_long_words=False, break_on_hyphens=False)


def _title_page(book: Book) -> list[str]:
    return [book.title.upper(), f"by {book.author}"]


def _header(book: Book, number: int) -> list[str]:
    return [
        f"The Project Gutenberg eBook of {book.title}, by {book.author}",
        "This file belongs to an invented world. It may be used by anyone for anything.",
        f"Title: {book.title}\n\nAuthor: {book.author}\n\n"
        f"Release Date: January 1, 2020 [eBook #{number}]\n\nLanguage: English",
        f"*** START OF THE PROJECT GUTENBERG EBOOK {book.title.upper()} ***",
    ]


def _footer(book: Book) -> list[str]:
    return [
        f"*** END OF THE PROJECT GUTENBERG EBOOK {book.title.upper()} ***",
        "Section 1. Of the terms of use. There are none: the book and its world are invented.",
    ]
