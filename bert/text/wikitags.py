"""The tags of wikitext: comments, nowiki, elements without running text, HTML.

Every pattern moves on after a bounded look back, also on tags that are never closed: the time is
linear in the length of the page.
"""

import re

# What stands where a formula was that is no plain text; no character of any text.
FORMULA = "\ufffc"
_FORMULAS = frozenset({"math", "ce", "chem"})
_PLAIN_FORMULA = re.compile(r"[^\W_](?:[^\W_]|[ +=<>()/.,'!-]){0,80}+")
# Their content is another language (code, formulas, lyrics): nothing in it is wikitext.
_VERBATIM = "source|syntaxhighlight|pre|math|ce|chem|score|timeline|templatedata|graph|hiero"
# Their content is wikitext, but no running text of the article.
_ASIDE = (
    "references|gallery|imagemap|table|h[1-6]|categorytree|inputbox|mapframe|maplink|indicator"
    "|templatestyles|includeonly|section"
)
_BLOCK = "p|div|blockquote|center|ul|ol|dl|dt|dd|hr|poem|caption|tr|td|th"
_INLINE = (
    "li|wbr|b|i|u|s|em|strong|small|big|sub|sup|span|font|tt|code|kbd|samp|var|cite|abbr|dfn|del"
    "|ins|strike|q|a|bdi|bdo|data|time|mark|ruby|rb|rt|rp|rtc|nowiki|noinclude|onlyinclude|img|ref"
)


def _element(names: str) -> str:
    """Pattern of a whole element; one that the same name opens again before its end is unclosed."""
    return (
        rf"<(?P<name>{names})\b[^<>]*(?<!/)>"
        r"(?>[^<]++|<(?!/?(?P=name)\b))*+</(?P=name)\s*>"
    )


def _single(names: str) -> str:
    return rf"</?(?:{names})\b[^<>]*>"


_HIDDEN = re.compile(
    r"<!--(?:.*?-->|.*)"  # as in MediaWiki, a comment without an end takes the rest of the page
    r"|<nowiki>(?P<literal>(?>[^<]++|<(?!/?nowiki>))*+)</nowiki>|" + _element(_VERBATIM),
    re.DOTALL | re.IGNORECASE,
)
_NOTES = re.compile(_element("ref") + r"|<ref\b[^<>]*/>", re.IGNORECASE)
# Where a note was the only thing between two sentences, a space takes its place.
_NOTE_BETWEEN_SENTENCES = re.compile(r"\x01(?<=[.!?\"'\u201d\u2019)]\x01)\x01*+(?=[^\W\d_])")
_NOTE = "\x01"
_ASIDES = re.compile(_element(_ASIDE), re.IGNORECASE)
_EXPONENT = re.compile(r"<sup>(?<=\d<sup>)\s*+([-+\u2212\u2013]?\d++)\s*+</sup>", re.IGNORECASE)
_ITEMS = re.compile(r"<li\b[^<>]*>", re.IGNORECASE)
_BREAKS = re.compile(r"</?br\b[^<>]*>", re.IGNORECASE)
_BLOCKS = re.compile(_single(_BLOCK), re.IGNORECASE)
_TAGS = re.compile(
    _single(f"{_VERBATIM}|{_ASIDE}|{_INLINE}")
    # A note's tag that lacks its end: what stands after its attributes is text.
    + r"|</?ref\b(?> ++\w++ *+= *+(?:\"[^\"<>\n]*+\"|[^\s<>]++))*+",
    re.IGNORECASE,
)
_MARKUP_CHARACTER = re.compile(r"[\[\]{}|<>'=*#:;_!\n]")


def strip_tags(source: str) -> str:
    """Removes comments and tags; of elements that hold no running text, the content as well.

    What stands between nowiki tags is kept as entities, which no later step takes for markup.
    A power of ten keeps its meaning: `10<sup>6</sup>` becomes `10^6`. A formula that is plain text
    (`x`, `a + b`) is kept; in place of any other stands FORMULA.
    """
    text = _HIDDEN.sub(_literal, source.replace(FORMULA, ""))
    text = _NOTES.sub(_NOTE, text.replace(_NOTE, ""))
    text = _NOTE_BETWEEN_SENTENCES.sub(" ", text).replace(_NOTE, "")
    text = _ASIDES.sub("", text)
    text = _EXPONENT.sub(r"^\1", text)
    text = _BREAKS.sub(" ", text)
    text = _ITEMS.sub("\n* ", _BLOCKS.sub("\n\n", text))
    return _TAGS.sub("", text)


def _literal(match: re.Match[str]) -> str:
    """What is left of a comment, a nowiki element or an element in another language."""
    text = match["literal"] or ""
    if match["name"] and match["name"].lower() in _FORMULAS:
        content = match.group()
        text = content[content.index(">") + 1 : content.rindex("<")].strip()
        if not _PLAIN_FORMULA.fullmatch(text):
            return FORMULA
    return _MARKUP_CHARACTER.sub(lambda c: f"&#{ord(c.group())};", text)
