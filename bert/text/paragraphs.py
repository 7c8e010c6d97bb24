"""Lines of plain text to paragraphs, and text to sentences.

Lines of one paragraph are joined if the text is hard-wrapped, which it is when most lines that
have a line right below do not end like a sentence; otherwise each line is a paragraph. A blank
line always ends a paragraph. Where hard-wrapped text has hardly any blank line, an indented line
opens a paragraph.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from bert.text.decoding import remove_invisible
from bert.text.sentences import split_sentences

_SENTENCE_MARKS = (".", "!", "?", "\u2026", ":", "\u3002", "\uff01", "\uff1f")
_CLOSERS = "\"'\u201d\u2019\u00bb)]_\u300d\u300f"
_HEADING_WORDS = 4


def text_sentences(text: str) -> list[str]:
    """Sentences of a whole text, paragraph by paragraph; empty for blank text.

    Characters that show nothing are dropped (see `remove_invisible`). All others stay, in their
    order: only white space changes.
    """
    paragraphs = split_paragraphs(remove_invisible(text).splitlines())
    return [sentence for lines in paragraphs for sentence in split_sentences(" ".join(lines))]


def split_paragraphs(lines: Sequence[str]) -> Iterator[list[str]]:
    """Yields the lines of each paragraph, heading or verse, stripped."""
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


def _is_wrapped(lines: Sequence[str]) -> bool:
    ends = [ends_like_sentence(a) for a, b in pairwise(lines) if a.strip() and b.strip()]
    return 2 * sum(ends) <= len(ends)


def ends_like_sentence(text: str) -> bool:
    """Whether text ends with a sentence mark or a colon, closing quotes and brackets aside."""
    return text.rstrip().rstrip(_CLOSERS).endswith(_SENTENCE_MARKS)


def is_running_text(paragraph: str) -> bool:
    """Not a heading: has letters, and a few words only if they end like a sentence."""
    long = len(paragraph.split(maxsplit=_HEADING_WORDS)) > _HEADING_WORDS
    return any(map(str.isalpha, paragraph)) and (long or ends_like_sentence(paragraph))
