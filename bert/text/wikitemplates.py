"""The text that inline templates of English Wikipedia show.

Most templates make boxes, notes and references: they show no running text. A few stand for words
of a sentence ("{{convert|5|km|mi}} long"); without them the sentence has a hole. The tables below
name those whose text can be read off their arguments. Templates that show a date or an age as of
today are left out on purpose: the text must not depend on the clock.
"""

import re
from collections.abc import Callable

_ARGUMENT_NAME = re.compile(r"\s*([\w -]{1,40}?)\s*=\s*")
_SHOWS_FIRST = (
    "nowrap nobr small smaller big large larger em strong sc smallcaps abbr sic chem2 math mvar "
    "var val code mono ill nihongo vanchor linktext sub sup ipa flag railgauge"
)
_FIRST = frozenset(
    {
        "small caps",
        "as written",
        "not a typo",
        "interlanguage link",
        "visible anchor",
        "track gauge",
    }
).union(_SHOWS_FIRST.split())
_SECOND = frozenset({"lang", "color", "font color"})
_LAST = frozenset({"transl", "transliteration", "rtl-lang", "script"})
_QUOTES = frozenset({"quote", "blockquote", "quotation", "cquote"})
_LITERAL = {
    "'": "'",
    "'s": "'s",
    "nbsp": " ",
    "space": " ",
    "spaces": " ",
    "=": "=",
    "eqm": "\u21cc",
    "ndash": "\u2013",
    "en dash": "\u2013",
    "\u2013": "\u2013",
    "spaced ndash": " \u2013 ",
    "spnd": " \u2013 ",
    "snd": " \u2013 ",
    "snds": " \u2013 ",
    "mdash": "\u2014",
    "em dash": "\u2014",
    "\u2014": "\u2014",
    "spaced mdash": " \u2014 ",
}
_PREFIX = {
    "us$": "US$",
    "usd": "US$",
    "a$": "A$",
    "aud": "A$",
    "cad": "C$",
    "gbp": "\u00a3",
    "\u00a3": "\u00a3",
    "eur": "\u20ac",
    "euro": "\u20ac",
    "\u20ac": "\u20ac",
    "inr": "\u20b9",
    "indian rupee": "\u20b9",
    "circa": "c. ",
    "c.": "c. ",
    "ca.": "c. ",
    "uss": "USS ",
    "hms": "HMS ",
    "ss": "SS ",
    "rms": "RMS ",
}
_RANGES = {
    "-": "\u2013",
    "\u2013": "\u2013",
    "to": " to ",
    "and": " and ",
    "or": " or ",
    "by": " by ",
    "x": " x ",
    "\u00d7": " \u00d7 ",
}
_NUMBER = re.compile(r"[-+\u2212]?[\d.,/+]+(?:e[-+]?\d+)?")


def template_text(content: str) -> str:
    """Text shown by one template; empty for all that show no running text.

    Args:
        content: What stands between the double braces; inner links and templates are text already.
    """
    name, *arguments = content.split("|")
    name = name.strip().replace("_", " ").lower()
    name, colon, value = name.partition(":")
    if colon:  # a parser function; all but formatnum read the page, the site or the clock
        return value.strip() if name == "formatnum" else ""
    if name in _LITERAL:
        return _LITERAL[name]
    make = _maker(name)
    return make(*_arguments(arguments)) if make else ""


def _maker(name: str) -> Callable[[list[str], dict[str, str]], str] | None:
    if name in _FIRST:
        return lambda values, _: _at(values, 0)
    if name in _SECOND:
        return lambda values, _: _at(values, 1)
    if name in _LAST:
        return lambda values, _: _at(values, len(values) - 1)
    if name in _PREFIX:
        return lambda values, _: _PREFIX[name] + _at(values, 0) if values else ""
    if name in _QUOTES:
        return lambda values, named: f"\n\n{named.get('text') or _at(values, 0)}\n\n"
    return _SPECIAL.get(name)


def _arguments(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Splits arguments into positional ones (also `1=...`) and named ones, stripped."""
    named: dict[str, str] = {}
    values: dict[int, str] = {}
    for argument in arguments:
        name = _ARGUMENT_NAME.match(argument)
        if name is None:
            values[len(values) + 1] = argument.strip()
        elif name[1].isdecimal():
            values[int(name[1])] = argument[name.end() :].strip()
        else:
            named[name[1]] = argument[name.end() :].strip()
    return [values[key] for key in sorted(values)], named


def _at(values: list[str], index: int) -> str:
    return values[index] if 0 <= index < len(values) else ""


def _convert(values: list[str], _: dict[str, str]) -> str:
    """`{{convert|5|-|10|km|mi}}`: the quantity as given, without its conversion."""
    if len(values) >= 4 and values[1] in _RANGES:
        return f"{values[0]}{_RANGES[values[1]]}{values[2]} {values[3]}"
    if len(values) >= 4 and _NUMBER.fullmatch(values[2]) and not _NUMBER.fullmatch(values[3]):
        return " ".join(values[:4])
    return " ".join(values[:2])


def _fraction(values: list[str], _: dict[str, str]) -> str:
    if len(values) == 3:
        return f"{values[0]} {values[1]}/{values[2]}"
    return "/".join(["1", *values][-2:]) if values else ""


def _as_of(values: list[str], named: dict[str, str]) -> str:
    since = "since" in named
    if not any(values):
        return named.get("alt", "")
    words = "Since" if since else "As of"
    words = words.lower() if named.get("lc") else words
    return named.get("alt") or f"{words} {_at(values, 0)}".strip()


def _chemical(values: list[str], _: dict[str, str]) -> str:
    return "".join(values)


def _angle_brackets(values: list[str], _: dict[str, str]) -> str:
    return f"\u27e8{values[0]}\u27e9" if any(values) else ""


_SPECIAL: dict[str, Callable[[list[str], dict[str, str]], str]] = {
    "convert": _convert,
    "cvt": _convert,
    "frac": _fraction,
    "fraction": _fraction,
    "sfrac": _fraction,
    "as of": _as_of,
    "chem": _chemical,
    "angbr": _angle_brackets,
    "angle bracket": _angle_brackets,
}
