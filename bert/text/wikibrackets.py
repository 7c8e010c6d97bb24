"""The brackets of wikitext: templates, tables and links, in one pass with a stack.

Real pages hold unbalanced brackets. A closing bracket ends the nearest open one of its kind and
with it all that is still open inside, but a link never ends a template or a table. A closing
bracket without an opening one is dropped. A template or table that is never closed is dropped up
to the end of its line; of a link that is never closed, only the brackets are.
"""

import re
from collections.abc import Set

from bert.text.wikitemplates import template_text

# Each pattern starts with a fixed character or a small set of them, which `re` searches fast.
_OPEN_TABLE = re.compile(r"\n[ \t:*#;]*+\{\|")
# `|}}` ends a template, `|}` a table, `|}}}` a table and then a template.
_CLOSE_TABLE = re.compile(r"\n[ \t]*+\|\}(?=\}\}|(?!\}))")
_TABLE_START, _TABLE_END = "\x02", "\x03"
_LINK = re.compile(r"\[\[([^\[\]{}\n\x02\x03]{0,400}+)\]\]")
# Of `]]]` the first belongs to a link to the web inside.
_TOKEN = re.compile(r"(\{\{|\}\}|\[\[|\]\](?!\](?!\]))|\x02|\x03)")
_OPENERS = {"{{": "template", "[[": "link", _TABLE_START: "table"}
_CLOSERS = {"}}": "template", "]]": "link", _TABLE_END: "table"}
_RESERVED = str.maketrans("", "", "\x00\x02\x03")
# Text inside deeper nesting is given up, so that every character is copied a bounded number of
# times; real pages nest three or four deep.
_MAX_DEPTH = 40
_UNCLOSED = "\x00"
_UNCLOSED_LINE = re.compile(r"\x00[^\n]*")
_EXTERNAL = re.compile(r"(?:https?|ftp)://\S*\s*", re.IGNORECASE)
# Links to the same article in other languages stand among the text but are shown in the margin.
_LANGUAGE = re.compile(r"(?:[a-z]{2,3}(?:-[a-z]+)*|simple|be-x-old|map-bms)")
_NOT_LANGUAGES = frozenset({"doi", "rfc"})


def strip_brackets(source: str, hidden_namespaces: Set[str]) -> str:
    """Removes templates and tables and reduces links to the text they show.

    Args:
        source: Wikitext without tags.
        hidden_namespaces: Lower-case names of namespaces whose links show no text: files and
            categories.
    """
    text = "\n" + source.translate(_RESERVED) if _has_reserved(source) else "\n" + source
    if "{|" in text or "|}" in text:
        text = _OPEN_TABLE.sub("\n" + _TABLE_START, text)
        text = _CLOSE_TABLE.sub("\n" + _TABLE_END, text)
    # Links without brackets inside are most of all brackets, and need no stack.
    text = _LINK.sub(lambda match: _link_text(match[1], hidden_namespaces), text)
    texts = _TOKEN.split(text)
    pieces = texts[:1]
    stack: list[tuple[str, int]] = []
    depth = dict.fromkeys(_OPENERS.values(), 0)
    for token, following in zip(texts[1::2], texts[2::2], strict=True):
        opened = _OPENERS.get(token)
        if opened:
            stack.append((opened, len(pieces)))
            depth[opened] += 1
            pieces.append("" if opened == "link" else _UNCLOSED)
        elif _may_close(_CLOSERS[token], stack, depth):
            kind = _CLOSERS[token]
            start = _pop(kind, stack, depth)
            shown = _shown(kind, pieces, start, len(stack), hidden_namespaces)
            del pieces[start:]
            pieces.append(shown)
        pieces.append(following)
    return _UNCLOSED_LINE.sub("", "".join(pieces))[1:]


def _has_reserved(source: str) -> bool:
    return any(character in source for character in (_UNCLOSED, _TABLE_START, _TABLE_END))


def _may_close(kind: str, stack: list[tuple[str, int]], depth: dict[str, int]) -> bool:
    return stack[-1][0] == "link" if kind == "link" and stack else depth[kind] > 0


def _pop(kind: str, stack: list[tuple[str, int]], depth: dict[str, int]) -> int:
    """Closes the nearest `kind` and all above it; returns where it began among the pieces."""
    while True:
        opened, start = stack.pop()
        depth[opened] -= 1
        if opened == kind:
            return start


def _shown(kind: str, pieces: list[str], start: int, depth: int, hidden: Set[str]) -> str:
    if kind == "table" or depth >= _MAX_DEPTH:
        return ""
    content = "".join(pieces[start:])
    if kind == "link":
        return _link_text(content, hidden)
    return template_text(content[len(_UNCLOSED) :])


def _link_text(content: str, hidden: Set[str]) -> str:
    """What a link shows: the label if it has one, else the target."""
    target, bar, label = content.partition("|")
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip()
    if colon and (prefix.lower() in hidden or _is_language(prefix)):
        return ""
    if bar:
        return label
    return _EXTERNAL.sub("", content.strip().removeprefix(":"), count=1)


def _is_language(prefix: str) -> bool:
    return _LANGUAGE.fullmatch(prefix) is not None and prefix not in _NOT_LANGUAGES
