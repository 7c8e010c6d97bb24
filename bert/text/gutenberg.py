"""Project Gutenberg's frame around a book: header, credits, licence."""

import re

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


def is_credit(block: str) -> bool:
    """Whether a paragraph names those who produced the file."""
    return _CREDIT.match(block) is not None
