"""Chapters of a book: which of its paragraphs are headings.

If the book has a table of contents of which at least half the lines come again, those are the
headings, whatever they are called; this also finds the tales of a collection. Otherwise a heading
is what begins like one ("CHAPTER IV", "Book the Second", "Letter 12").
"""

import re
from collections.abc import Iterator, Sequence, Set
from itertools import chain
from typing import NamedTuple

from bert.text.paragraphs import ends_like_sentence

Block = list[str]

CHAPTER = re.compile(
    r"(?i:chapter|book|part|volume|canto|letter|act|scene|stave)[ \t]+"
    r"(?:[IVXLCDM]+|\d+|(?i:the[ \t]+\w+|one|two|three|four|five|six|seven|eight|nine|ten|first"
    r"|second|third|fourth|fifth))\b"
)
_PAGE_NUMBER = re.compile(r"(?<![ .])[ .]{2,}+(?:\d{1,4}|[ivxlc]{1,7})$")
_CONTENTS_LINE = re.compile(r"(?<![ .])[ .]{3,}+\d{1,4}$")
_CONTENTS_WORDS = frozenset({"contents", "tableofcontents", "thecontents"})
_HEADING_LINES = 3
_MOST_CONTENTS = 2000  # lines


class _Contents(NamedTuple):
    headings: frozenset[str]  # lines of the table, as keys
    numbers: frozenset[str]  # how they begin ("CHAPTER IV"), as keys: some titles differ
    stop: int  # number of the first block after the table


def split_chapters(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Yields the paragraphs of each chapter without headings, the first what stands before them.

    Some chapters are empty: a table of contents without text between is all headings.

    Args:
        blocks: Paragraphs and headings of the whole book, each a list of stripped lines.
    """
    contents = _find_contents(blocks)
    chapter: list[Block] = []
    after_heading = False
    for number, block in enumerate(blocks):
        if contents is None:
            size = _heading_lines(block)
        elif number < contents.stop:
            size = len(block) if _is_of_contents(block, contents.headings) else 0
        else:
            size = _heading_by_contents(block, contents)
        if size:
            yield chapter
            chapter = []
            if size < len(block) and _is_subtitle(block[size:]):
                size = len(block)
        is_subtitle = after_heading and not size and _is_subtitle(block)
        is_entry = len(block) <= _HEADING_LINES and _CONTENTS_LINE.search(block[-1]) is not None
        if size < len(block) and not is_subtitle and not is_entry:
            chapter.append(block[size:])
        after_heading = size == len(block)
    yield chapter


def _heading_lines(block: Block) -> int:
    """Lines of a block that are a heading by how they begin."""
    if CHAPTER.match(block[0]) is None:
        return 0
    if len(block) <= _HEADING_LINES or all(map(CHAPTER.match, block)):
        return len(block)
    # The first line of a paragraph is full: the word that follows would not have fitted.
    width = max(map(len, block))
    return int(len(block[0]) + 1 + len(block[1].split()[0]) <= width)


def _is_subtitle(block: Block) -> bool:
    """Whether a block below a heading goes on with it: short, and without an end."""
    end = block[-1].rstrip()
    return (
        len(block) <= _HEADING_LINES
        and not ends_like_sentence(end)
        and not end.endswith((",", ";", "-", "\u2014"))
    )


def _find_contents(blocks: Sequence[Block]) -> _Contents | None:
    """Finds the table of contents: what follows its heading, up to where a line comes again."""
    start = next((n for n, block in enumerate(blocks) if _key(block[:1]) in _CONTENTS_WORDS), None)
    if start is None:
        return None
    seen: set[str] = set()
    lines: list[str] = []
    for number, block in enumerate(blocks[start:], start=start):
        entries = block[1:] if number == start else block
        if seen & set(_openings(entries)):
            break
        seen.update((_key([line]) for line in entries), [_key(entries)])
        lines += entries
        if len(lines) > _MOST_CONTENTS:
            return None
    else:
        return None
    openings = set(chain.from_iterable(map(_openings, blocks[number:])))
    headings = frozenset((seen & openings) - {""})
    if 2 * sum(_key([line]) in headings for line in lines) < len(lines):
        return None
    return _Contents(headings, frozenset(map(_number, lines)) - {""}, number)


def _is_of_contents(block: Block, headings: Set[str]) -> bool:
    if _key(block) in headings or _key(block[:1]) in _CONTENTS_WORDS:
        return True
    return 2 * sum(_key([line]) in headings for line in block) > len(block)


def _heading_by_contents(block: Block, contents: _Contents) -> int:
    """Lines of a block that are an entry of the table of contents: the longest such beginning."""
    keys = list(_openings(block))
    size = max((size for size, key in enumerate(keys, 1) if key in contents.headings), default=0)
    return size or (_heading_lines(block) if _number(block[0]) in contents.numbers else 0)


def _number(line: str) -> str:
    begins = CHAPTER.match(line)
    return _key([begins[0]]) if begins else ""


def _openings(block: Block) -> Iterator[str]:
    """Keys of the first line of a block, the first two, the first three."""
    if block and not block[0].lstrip("_\"'\u201c\u2018([")[:1].islower():
        yield from (_key(block[: size + 1]) for size in range(min(len(block), _HEADING_LINES)))


def _key(lines: Sequence[str]) -> str:
    """What two spellings of a heading have in common: letters and digits, without page number."""
    joined = " ".join(_PAGE_NUMBER.sub("", line) for line in lines)
    return "".join(filter(str.isalnum, joined.casefold()))
