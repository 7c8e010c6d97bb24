"""Wikitext to paragraphs of plain text, in time linear in the length of the page.

The order matters: tags first (they hide everything else), then brackets, then lines, then what is
left inside a paragraph. Dropped as markup: headings, tables, templates other than those of
`bert.text.wikitemplates`, files, categories, notes, formulas, and the list items that are no
sentences (names, dates, links).
"""

import html
import re
from collections.abc import Iterable, Iterator, Set

from bert.text.decoding import remove_invisible
from bert.text.wikibrackets import strip_brackets
from bert.text.wikitags import strip_tags

_NO_LEVEL = 7
_HEADING_WORDS = 4
_LIST_MARKERS = "*#:;"
_TABLE_LINE = re.compile(r"\||!.*(?:!!|\|)")
_CLOSERS = "\"'\u201d\u2019)]"
_SENTENCE_MARKS = (".", "!", "?", "\u2026")
_QUOTES = re.compile(r"'{2,}")
_SCHEME = r"(?:https?:|ftps?:|mailto:|news:|irc:)?//|mailto:"
_EXTERNAL_LINK = re.compile(
    rf"\[(?:{_SCHEME})[^\s\[\]]*+(?:[^\S\n]++(?P<label>[^\[\]\n]*+))?\]", re.IGNORECASE
)
_UNCLOSED_LINK = re.compile(rf"\[(?={_SCHEME})(?:{_SCHEME})[^\s\[\]]*+", re.IGNORECASE)
_MAGIC_WORD = re.compile(r"__[A-Z]{3,40}__")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Not the parentheses of a function: `main()`.
_EMPTY_BRACKETS = re.compile(r"(?: |(?<!\w))(?:\([\s,;:]*\)|\[[\s,;:]*\])")
_EMPTY = re.compile(r"[(\[][\s,;:]*+[)\]]")
_AFTER_OPENING = re.compile(r"\([\s,;:]++")
# Of these, one stands wherever one of the three patterns after them matches.
_RESTS = (" ,", " .", " )", " ;", ",)", ";)", ":)", ",,", ",.", ",;")
_BEFORE_CLOSING = re.compile(r"(?<![\s,;:])[\s,;:]++(?=\))")
_COMMA_BEFORE_MARK = re.compile(r",(?=[,.;])")
_LEADING_MARKS = re.compile(r"^[\s,;:]*+(?:\. )?")
_SPACE_BEFORE_MARK = re.compile(r" (?=[,.;)](?:[\s)]|$))")


def clean_wikitext(
    source: str, *, drop_sections: Set[str], hidden_namespaces: Set[str]
) -> list[str]:
    """Returns the paragraphs of a page, each one line of plain text that holds a letter.

    Args:
        source: The page as stored in a dump, XML entities already decoded.
        drop_sections: Lower-case headings whose sections, subsections included, are left out.
        hidden_namespaces: Lower-case names of the namespaces of files and categories.
    """
    text = strip_brackets(strip_tags(source), hidden_namespaces)
    lines = _without_sections(text.split("\n"), drop_sections)
    paragraphs = (clean_inline(block) for block in _blocks(lines))
    return [p for p in paragraphs if _is_text(p)]


def _is_text(paragraph: str) -> bool:
    """Not without letters; nor a few words that end like no sentence, which are a bold heading."""
    return any(map(str.isalpha, paragraph)) and (
        len(paragraph.split(maxsplit=_HEADING_WORDS)) > _HEADING_WORDS
        or _ends_like_sentence(paragraph)
    )


def _ends_like_sentence(text: str) -> bool:
    return text.rstrip().rstrip(_CLOSERS).endswith(_SENTENCE_MARKS)


def _without_sections(lines: Iterable[str], drop_sections: Set[str]) -> Iterator[str]:
    """Drops headings, which end paragraphs, and whole sections by their heading."""
    dropped_level = _NO_LEVEL
    for line in lines:
        level = _heading_level(line)
        if level and level <= dropped_level:
            title = clean_inline(_without_quotes(line.strip("= \t"))).lower()
            dropped_level = level if title in drop_sections else _NO_LEVEL
        if level:
            yield ""
        elif dropped_level == _NO_LEVEL:
            yield line


def _heading_level(line: str) -> int:
    """Level 1 to 6 of a heading line, 0 for any other line."""
    text = line.strip()
    if not line.startswith("=") or not text.endswith("=") or not text.strip("= "):
        return 0
    before, after = len(text) - len(text.lstrip("=")), len(text) - len(text.rstrip("="))
    return min(before, after, 6)


def _blocks(lines: Iterable[str]) -> Iterator[str]:
    """Joins lines into paragraphs; a list item or an indented line is one of its own."""
    block: list[str] = []
    for line in lines:
        plain = _without_quotes(line)
        if line[:1].strip() and line[0] not in _LIST_MARKERS:
            if _is_text_line(line):
                block.append(plain)
            continue
        if block:
            yield " ".join(block)
            block = []
        item = plain.lstrip(_LIST_MARKERS + " \t")
        # MediaWiki makes a link of a book number: such an item is an entry of a reading list.
        if _ends_like_sentence(item) and "ISBN" not in item:
            yield item
    if block:
        yield " ".join(block)


def _is_text_line(line: str) -> bool:
    return not line.startswith("----") and _TABLE_LINE.match(line) is None


def _without_quotes(line: str) -> str:
    """Removes the quote runs of bold and italic; other apostrophes stay.

    A run of four is an apostrophe and bold. If a line has an odd number of bold and of italic
    runs, one run of three is an apostrophe and italic: the first after a one-letter word, else the
    first after a longer word, else the first (as MediaWiki decides).
    """
    if "''" not in line:
        return line
    runs = [(m.start(), len(m.group())) for m in _QUOTES.finditer(line)]
    bold = sum(length != 2 for _, length in runs)
    italic = sum(length == 2 or length >= 5 for _, length in runs)
    triples = [start for start, length in runs if length in {3, 4}]
    apostrophe = -1
    if bold % 2 and italic % 2 and triples:
        apostrophe = min(triples, key=lambda start: (_word_rank(line, start), start))
    return _QUOTES.sub(lambda m: _quote_text(m, apostrophe), line)


def _word_rank(line: str, start: int) -> int:
    before, two_before = line[start - 1 : start], line[start - 2 : start - 1]
    if before in {"", " "}:
        return 2
    return 0 if two_before == " " else 1


def _quote_text(run: re.Match[str], apostrophe: int) -> str:
    length = len(run.group())
    literal = 1 if length == 4 else max(length - 5, 0)
    return "'" * (literal + (run.start() == apostrophe))


def clean_inline(text: str) -> str:
    """Cleans one block without line structure: links to the web, entities, spaces, brackets."""
    if "//" in text or "mailto:" in text.lower():
        text = _EXTERNAL_LINK.sub(lambda m: m["label"] or "", text)
        text = _UNCLOSED_LINK.sub("", text)
    if "__" in text:
        text = _MAGIC_WORD.sub("", text)
    if "&" in text:
        text = _ENTITY.sub(lambda m: html.unescape(m.group()), text)
    text = " ".join(remove_invisible(text).split())
    if _EMPTY.search(text):
        text = _EMPTY_BRACKETS.sub("", text)
    text = _AFTER_OPENING.sub("(", text)
    if any(rest in text for rest in _RESTS):
        text = _BEFORE_CLOSING.sub("", text)
        text = _COMMA_BEFORE_MARK.sub("", _SPACE_BEFORE_MARK.sub("", text))
    return _LEADING_MARKS.sub("", text).strip()
