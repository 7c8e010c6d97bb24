"""A PubMed citation to sentences: title, labels, markup, formulas, what is no text.

- The label of a section is kept in front of its text, as PubMed shows it: "RESULTS: Two of ...".
- Bold, italic and underlined text loses its markup. Sub- and superscripts join what they stand at
  ("H2O", "Ca2+"), except that a number raised behind a number gets a caret ("10^14").
- Of a formula in MathML the symbols stay, in a line: "R2=0.5", "a/b". TeX source is dropped.
- A title in brackets is NLM's translation; the brackets go, and the original title is left out.
- Publishers' copyright lines and "ABSTRACT TRUNCATED AT 250 WORDS" at the end are no text.
"""

import html
import re
from collections.abc import Collection
from xml.etree.ElementTree import Element

from bert.text.decoding import remove_invisible
from bert.text.sentences import split_sentences

_UNLABELLED = frozenset({"", "UNLABELLED", "UNLABELED", "UNASSIGNED"})
_PLACEHOLDER = re.compile(
    r"\[?(?:abstract available from the publisher|no abstract available|not available"
    r"|in process citation)\]?\.?\]?",
    re.IGNORECASE,
)
_TRUNCATED = re.compile(r"[\s(\[]*ABSTRACT TRUNCATED(?: AT \d+ WORDS)?[\s)\].]*$")
# From a sentence's start to the end of the text: "(c) 2001 Wiley-Liss, Inc.".
_COPYRIGHT = re.compile(
    r"(?:^|(?<=[.!?)\]]))\s*(?:(?i:copyright|\u00a9|\(c\))"
    r"(?i:\s|\u00a9|\(c\)|,|by|the authors?|\(s\)){0,8}(?:19|20)\d\d\b(?=[\s,.]*(?:[A-Z]|by\b|$))"
    r"|(?i:all rights reserved)\.?$).{0,300}$",
    re.DOTALL,
)
_NO_TEXT_AT_END = ((_COPYRIGHT, "dropped_copyright_lines"), (_TRUNCATED, "truncated_abstracts"))
_LONGEST_END = 400  # characters
_ESCAPED_TWICE = re.compile(r"&(?:lt|gt|amp|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});")
_EXPONENT = re.compile(r"[+\u2212\u2013-]?\d")
_OWN_TRANSLATION = re.compile(r"\s*\(author's transl\)", re.IGNORECASE)


def citation_sentences(
    citation: Element, *, with_title: bool, languages: Collection[str]
) -> tuple[list[str], int, list[str]]:
    """Returns the sentences of a MedlineCitation, and what there was to count.

    Args:
        citation: The element, of any DTD since 2016.
        with_title: Whether the title comes first.
        languages: Languages (ISO 639-2) of other abstracts to add; the first abstract is English.

    Returns:
        The sentences (none: there is no abstract), the number of characters of the abstract, and
        names of counters to raise by one.
    """
    counters: list[str] = []
    texts = list(citation.iterfind("Article/Abstract"))
    for other in citation.iterfind("OtherAbstract"):
        wanted = other.get("Language", "eng") in languages
        counters.append("other_abstracts" if wanted else "other_abstracts_left_out")
        texts += [other] if wanted else []
    sentences: list[str] = []
    for text in texts:
        sentences += _abstract_sentences(text, counters)
    characters = sum(map(len, sentences))
    if sentences and with_title:
        sentences[:0] = split_sentences(_title(citation.find("Article/ArticleTitle")))
    return sentences, characters, counters


def _abstract_sentences(abstract: Element, counters: list[str]) -> list[str]:
    sections = [_section(section) for section in abstract.iterfind("AbstractText")]
    sections = [text for text in sections if text]
    for pattern, counter in _NO_TEXT_AT_END:
        last = sections[-1] if sections else ""
        if found := pattern.search(last, max(0, len(last) - _LONGEST_END)):
            sections[-1] = last[: found.start()]
            counters.append(counter)
    return [sentence for text in sections for sentence in split_sentences(text)]


def _section(section: Element) -> str:
    text = clean_text(section)
    if not text or _PLACEHOLDER.fullmatch(text):
        return ""
    label = " ".join(section.get("Label", "").split()).rstrip(" :")
    if label.upper() in _UNLABELLED or text.upper().startswith(f"{label.upper()}:"):
        return text
    return f"{label} {text}" if label.endswith((".", "?", "!")) else f"{label}: {text}"


def _title(title: Element | None) -> str:
    text = "" if title is None else _OWN_TRANSLATION.sub("", clean_text(title))
    if _PLACEHOLDER.fullmatch(text):
        return ""
    end = _closing_bracket(text)
    if end and not text[end + 1 :].strip(" ."):
        inner = text[1:end].strip()
        return inner if inner.endswith((".", "?", "!")) else inner + text[end + 1 :].strip()
    return text


def _closing_bracket(text: str) -> int:
    """Index of the bracket that closes the one the text starts with; 0 if there is none."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if depth == 0:
            return place
    return 0


def clean_text(element: Element) -> str:
    """The text of an element in one line, without markup."""
    text = _ESCAPED_TWICE.sub(lambda match: html.unescape(match[0]), _joined(element))
    return " ".join(remove_invisible(text).split())


def _joined(element: Element) -> str:
    kind = _local_name(element)
    text = element.text or ""
    for place, child in enumerate(element):
        name = _local_name(child)
        inner = "" if name.startswith("annotation") else _joined(child)
        if name == "sup" or (kind, place) in {("msup", 1), ("msubsup", 2)}:
            inner = _raised(text, inner)
        elif (kind, place) == ("mfrac", 1):
            inner = f"/{inner}"
        elif name in {"DispFormula", "mspace"}:
            inner = f" {inner} "
        text += inner + (child.tail or "")
    return text


def _raised(before: str, exponent: str) -> str:
    """A power would change its value without a mark: 10<sup>14</sup> is not 1014."""
    is_power = before[-1:].isdecimal() and _EXPONENT.match(exponent) is not None
    return f"^{exponent}" if is_power else exponent


def _local_name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]
