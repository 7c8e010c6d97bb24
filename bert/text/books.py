"""Books, one plain text file each: decoding, Project Gutenberg's frame, paragraphs, chapters.

Lines of one paragraph are joined if the file is hard-wrapped, which it is when most lines that
have a line right below do not end like a sentence; otherwise each line is a paragraph. Dropped as
markup: headings, tables of contents, rules of asterisks, illustrations, marks of emphasis and of
footnotes.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

from bert.config import Section, knob
from bert.text.decoding import decode_text, remove_invisible
from bert.text.documents import Document
from bert.text.sentences import split_sentences

COUNTS = ("files", "gutenberg_headers", "gutenberg_footers", "skipped_empty")
_START = re.compile(
    r"^[ \t]*\*\*\* ?START OF TH(?:E|IS) PROJECT GUTENBERG E[^*]{0,600}\*\*\*[^\n]*", re.MULTILINE
)
_SMALL_PRINT_END = re.compile(r"^\*END\*? ?THE SMALL PRINT![^\n]*", re.MULTILINE)
_END = re.compile(
    r"^[ \t]*(?:\*\*\* ?END OF TH(?:E|IS) PROJECT GUTENBERG"
    r"|End of (?:[Tt]h(?:e|is) )?Project Gutenberg)",
    re.MULTILINE,
)
_CREDIT = re.compile(
    r"(?:Produced|E-?text prepared|This e-?text was (?:prepared|produced)) by", re.I
)
_CREDIT_BLOCKS = 5
_ILLUSTRATION = re.compile(r"(?<!\s)\s*+\[Illustration(?>[^\[\]]++|\[[^\[\]]*+\])*+\]\s*")
_EMPHASIS = re.compile(r"(?<![^\W_])_+|_++(?![^\W_])")
_RAISED = re.compile(r"\^\{([^{}]*)\}")
# Footnotes, and the proofreaders' marks for indented lines.
_MARKS = re.compile(r"\[(?:\d{1,3}|\*{1,3})\]|\{\d{1,3}\}|/\*(?: [A-Z]{3,6}\b)?|\*+/?")
_CONTENTS_LINE = re.compile(r"(?<![ .])[ .]{3,}+\d{1,4}$")
_CHAPTER = re.compile(
    r"(?i:chapter|book|part|volume|canto|letter|act|scene|stave)[ \t]+"
    r"(?:[IVXLCDM]+|\d+|(?i:the[ \t]+\w+|one|two|three|four|five|six|seven|eight|nine|ten|first"
    r"|second|third|fourth|fifth))\b"
)
_HEADING_LINES = 3
_HEADING_WORDS = 4
_SENTENCE_MARKS = (".", "!", "?", "\u2026", ":")
_CLOSERS = "\"'\u201d\u2019\u00bb)]_"
_SPOKEN = ("!", "?", '"', "\u201d", "\u2019")


class BooksConfig(Section):
    """Books as plain text files in any encoding."""

    format: Literal["books"] = knob("Layout of the raw files: one book a file, plain text.")
    raw: str = knob("Name of the item in section `fetch` that holds the books.", min_length=1)
    pattern: str = knob('Names of the files to read, as a shell pattern ("*.txt").', min_length=1)
    chapters_are_documents: bool = knob(
        "Whether each chapter is a document of its own; otherwise the whole book is one."
    )


def extract_book(path: Path, config: BooksConfig) -> tuple[list[Document], tuple[str, ...]]:
    """Returns the book's documents and the names of the counters to raise by one.

    Raises:
        DecodingError: The file is no text in any encoding that was tried.
        FileNotFoundError: There is no such file.
    """
    text, encoding = decode_text(path.read_bytes(), where=str(path))
    body, frame = strip_gutenberg(re.sub(r"\r\n?|\f", "\n", text))
    names = ("files", f"encoding_{encoding}", *frame)
    documents: list[Document] = []
    for chapter in _chapters(_blocks(_ILLUSTRATION.sub(_gap, body)), bool(frame)):
        if documents and not config.chapters_are_documents:
            documents[0] += chapter
        elif chapter:
            documents.append(chapter)
    return documents, names if documents else (*names, "skipped_empty")


def strip_gutenberg(text: str) -> tuple[str, tuple[str, ...]]:
    """Cuts Project Gutenberg's header and licence off, where its markers stand.

    Returns:
        The text between the markers, and which of the two were found, as counter names.
    """
    header = _START.search(text) or _SMALL_PRINT_END.search(text, 0, len(text) // 2)
    start = header.end() if header else 0
    footer = _END.search(text, start)
    found = ("gutenberg_headers",) * (header is not None)
    found += ("gutenberg_footers",) * (footer is not None)
    return text[start : footer.start() if footer else len(text)], found


def _gap(illustration: re.Match[str]) -> str:
    """What an illustration leaves: a paragraph's end, unless it stood in a paragraph's middle."""
    before = illustration.string[illustration.start() - 1 : illustration.start()]
    after = illustration.string[illustration.end() : illustration.end() + 1]
    return "\n" if after.islower() and (before.isalnum() or before in ",;") else "\n\n"


def _blocks(text: str) -> Iterator[list[str]]:
    """Splits the lines into blocks, each one paragraph, heading or verse; lines are stripped."""
    lines = text.strip("\n").split("\n")
    wrapped = _is_wrapped(lines)
    by_indent = wrapped and 50 * sum(not line.strip() for line in lines) < len(lines)
    block: list[str] = []
    for line in lines:
        if block and (not line.strip() or not wrapped or (by_indent and line[0].isspace())):
            yield block
            block = []
        if line.strip():
            block.append(line.strip())
    if block:
        yield block


def _is_wrapped(lines: list[str]) -> bool:
    ends = [_ends_like_sentence(a) for a, b in pairwise(lines) if a.strip() and b.strip()]
    return 2 * sum(ends) <= len(ends)


def _ends_like_sentence(line: str) -> bool:
    return line.rstrip().rstrip(_CLOSERS).endswith(_SENTENCE_MARKS)


def _chapters(blocks: Iterable[list[str]], is_gutenberg: bool) -> Iterator[Document]:
    """Yields the sentences of each chapter (some empty: a table of contents is all headings)."""
    chapter: Document = []
    for number, block in enumerate(blocks):
        text_lines = block
        if _CHAPTER.match(block[0]):
            yield chapter
            chapter = []
            text_lines = _below_heading(block)
        elif len(block) <= _HEADING_LINES and _CONTENTS_LINE.search(block[-1]):
            continue
        text = _paragraph(text_lines)
        is_credit = is_gutenberg and number < _CREDIT_BLOCKS and _CREDIT.match(text) is not None
        if _is_text(text) and not is_credit:
            chapter += split_sentences(text)
    yield chapter


def _below_heading(block: list[str]) -> list[str]:
    """What follows a chapter heading in its block: nothing, or a paragraph if it is longer."""
    if len(block) <= _HEADING_LINES or all(map(_CHAPTER.match, block)):
        return []
    return block[1:]


def _paragraph(lines: list[str]) -> str:
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
    """Not a heading: has letters; in capitals only if spoken; a few words only if they end."""
    letters, small = sum(map(str.isalpha, paragraph)), sum(map(str.islower, paragraph))
    if not letters:
        return False
    if small < 0.05 * letters and any(map(str.isupper, paragraph)):
        return paragraph.endswith(_SPOKEN)
    long = len(paragraph.split(maxsplit=_HEADING_WORDS)) > _HEADING_WORDS
    return long or paragraph.rstrip(_CLOSERS).endswith(_SENTENCE_MARKS)
