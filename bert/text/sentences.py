"""Rule-based sentence splitting for English and its neighbours; no model, no dependency.

`split_sentences` chooses among the spaces of a paragraph: joining its result with single spaces
gives the paragraph back, whitespace normalised. The exception is Chinese and Japanese, which have
no spaces: a sentence ends after their wide marks (U+3002, U+FF01, U+FF1F), unless a quote or
bracket closes there and no space follows. Elsewhere a space can end a sentence when a mark
(`.`, `!`, `?`, an ellipsis) stands before it, possibly with closing quotes or brackets between.
There the first rule that applies decides; "next" is the first letter or digit after the space,
behind opening quotes and brackets:

1. Next is a lower-case letter, or a punctuation mark that opens nothing, or nothing was said yet
   since the last end: no end ("Yahoo! is", '"Who?" he asked', "? (film)").
2. The mark holds `!` or `?`, or a bracket or quote closes after it: end.
3. An ellipsis (`...`, `. . .`): end, unless the next word is "I" or a contraction of it.
4. A number alone at the start of a sentence ("1. Mix"): no end.
5. An abbreviation that leads on (Mr., Prof., e.g., vs.): no end.
6. Before a digit, an abbreviation that counts (No., pp., vol., Fig., Jan.) or any word inside an
   open parenthesis ("(Hdt. 1.32)"): no end. Otherwise counting abbreviations go by 7.
7. An abbreviation that may close a sentence (Inc., Jr., U.S., a.m., Ph.D.) or an initial
   (J.): end only if the next word is one that opens sentences (The, However, ...) and is not
   itself an initial.
8. Anything else: end.

Every character is looked at a bounded number of times, so the time is linear in the length.
"""

import re

_WIDE_MARKS = "\u3002\uff01\uff1f"
_WIDE_CLOSERS = "\"'\u201d\u2019\u300d\u300f\uff09)\\]"
# A run of marks is entered at its first one only and never given back: linear on any run. The
# look back stands behind the first mark, because `re` searches fast for what a pattern starts with.
_MARK = re.compile(
    r"[.!?\u2026](?<![.!?\u2026]{2})[.!?\u2026]*+[\"'\u201d\u2019\u00bb)\]}]*+(?= )"
    rf"|[{_WIDE_MARKS}](?<![{_WIDE_MARKS}]{{2}})[{_WIDE_MARKS}]*+"
    rf"(?:[{_WIDE_CLOSERS}]*+(?= )|(?![ {_WIDE_CLOSERS}\u3001\uff0c.!?\u2026]|$))"
)
_PARENTHESIS_REACH = 60
_OPENERS = "\"'\u201c\u2018\u00ab([{\u00bf\u00a1"
_NEXT_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_WORD_CHARACTER = re.compile(r"[^\W_]")
_PRONOUN_I = re.compile(r"I(?:['\u2019]\w+)?(?!\w)")
_INITIALS = re.compile(r"(?:[^\W\d_]{1,2}\.)+[^\W\d_]{1,2}")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Matched without regard to case; written here without the period at the end.
_LEADS_ON = _words(
    "mr mrs ms mx dr prof rev revd fr gen col lt maj capt cpt cmdr adm sgt cpl pvt hon gov sen rep "
    "pres messrs mme mlle supt insp amb atty vs cf viz e.g i.e eg ie brig"
)
_COUNTS = _words(
    "no nos nr p pp vol vols fig figs ch chap sec sect eq eqs art op ver para pt pts c ca approx "
    "circa r b d fl ed eds jan feb mar apr jun jul aug sep sept oct nov dec v"
)

_MAY_CLOSE = _words(
    "inc ltd co corp bros plc llc jr sr esq al ave blvd rd hwy dept est univ assn st mt ft "
    "ph.d b.sc m.sc pty mfg bull proc trans suppl intl natl dist var subsp spp sp cv resp"
)
# "He said no. Bob left." ends; "Fig." and "vol." before a name do not.
_UNCERTAIN = (_COUNTS | _MAY_CLOSE) - _words("no art")
_OPENS_SENTENCE = _words(
    "The A An In On At By For From With To Of As If It He She They We You I This That These Those "
    "There Here His Her Its Their Our My However But And Or So Yet Although Though While When "
    "Where After Before Since Because During Under Over Between Among Until Upon Despite Some Many "
    "Most Several Both Each Other Another All No Not One Two Three Also Then Thus Therefore Later "
    "Today What Who Why How Which According"
)


def split_sentences(paragraph: str) -> list[str]:
    """Returns the sentences of one paragraph, whitespace normalised; empty for blank text.

    Line breaks in the paragraph count as spaces. See the module's rules.
    """
    text = " ".join(paragraph.split())
    sentences = []
    start = 0
    word = _WORD_CHARACTER.search(text)
    for mark in _MARK.finditer(text):
        if word is not None and word.start() < mark.start() and _ends_sentence(text, start, mark):
            sentences.append(text[start : mark.end()])
            start = mark.end() + (text[mark.end()] == " ")
            word = _WORD_CHARACTER.search(text, start)
    if start < len(text):
        sentences.append(text[start:])
    return sentences


def _ends_sentence(text: str, start: int, mark: re.Match[str]) -> bool:
    """Whether the sentence that starts at `start` ends with `mark`."""
    if mark.group()[0] in _WIDE_MARKS:
        return True
    after = _skip_openers(text, mark.end() + 1)
    if after == len(text) or not _may_open(text[after]):
        return False
    matched = mark.group()
    if matched == ".":
        return _period_ends_sentence(text, start, mark.start(), after)
    if matched.strip(".\u2026") == "":
        return _PRONOUN_I.match(text, after) is None
    return True


def _skip_openers(text: str, position: int) -> int:
    while position < len(text) and text[position] in _OPENERS:
        position += 1
    return position


def _may_open(character: str) -> bool:
    """Letters that are not lower case (also of scripts without case), digits, currency signs."""
    return (character.isalnum() and not character.islower()) or character in "$\u00a3\u20ac#"


def _period_ends_sentence(text: str, start: int, period: int, after: int) -> bool:
    """Rules 3 (spaced ellipsis) to 8 for a single period at index `period`."""
    space = text.rfind(" ", start, period)
    word = text[space + 1 if space >= 0 else start : period].lstrip(_OPENERS)
    if not word:
        return _PRONOUN_I.match(text, after) is None
    if word.isdecimal() and space < 0:
        return False
    # "Vice-Adm." and "and/or Mr." are judged by what stands after the last hyphen or slash.
    key = re.split(r"[-/\u2013\u2014(]", word)[-1].lower()
    if key in _LEADS_ON or word.lower() in _LEADS_ON:
        return False
    if text[after].isdecimal() and (key in _COUNTS or _in_parenthesis(text, start, period)):
        return False
    is_initial = len(key) == 1 and key.isalpha() and (word[-1].isupper() or key in _COUNTS)
    if is_initial or key in _UNCERTAIN or _is_acronym(key):
        return _opens_sentence(text, after)
    return True


def _in_parenthesis(text: str, start: int, period: int) -> bool:
    """Looks back a bounded way, which keeps the time linear."""
    start = max(start, period - _PARENTHESIS_REACH)
    return text.rfind("(", start, period) > text.rfind(")", start, period)


def _is_acronym(word: str) -> bool:
    return "." in word and _INITIALS.fullmatch(word) is not None


def _opens_sentence(text: str, position: int) -> bool:
    word = _NEXT_WORD.match(text, position)
    if word is None or word.group() not in _OPENS_SENTENCE:
        return False
    return text[word.end() : word.end() + 1] != "."
