import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.text.wikitext import clean_wikitext


def clean(source, drop_sections=("notes", "see also")):
    return clean_wikitext(
        source,
        drop_sections=frozenset(drop_sections),
        hidden_namespaces=frozenset({"file", "category"}),
    )


INLINE = {
    # bold and italic
    "'''A''' is ''b'' and '''''c'''''.": "A is b and c.",
    "L'''a''' and d''''e''''.": "La and d'e'.",
    "''Titanic'''s end was near.": "Titanic's end was near.",
    "The dog's 'bone' isn't ''here''.": "The dog's 'bone' isn't here.",
    "l'''amour'' de '''a''' b.": "l'amour de a b.",
    "Six ''''''a'''''' marks.": "Six 'a' marks.",
    # links to the web
    "See [http://a.b/c?d=e the page] now.": "See the page now.",
    "See [//a.b the page] and [mailto:a@b me].": "See the page and me.",
    "See this page [http://a.b].": "See this page.",
    "See http://a.b/c for all more.": "See http://a.b/c for all more.",
    "Cut [http://a.b/c off here.": "Cut off here.",
    "He said [sic] that a[0] is b.": "He said [sic] that a[0] is b.",
    # entities and spaces
    "A&nbsp;b&ndash;c &amp; d &lt;e&gt; &#65;&#x42; .": "A b\u2013c & d <e> AB.",
    "AT&T and &nosuchentity; stay &copy 2020.": "AT&T and &nosuchentity; stay &copy 2020.",
    "A &amp;nbsp; is shown so.": "A &nbsp; is shown so.",
    "A\u00a0b\u2003c\td  e.": "A b c d e.",
    "A\u200bb c\u00adde f\ufeff.": "Ab cde f.",
    "Line&#10;break and&#x2028;more.": "Line break and more.",
    # magic words
    "__NOTOC__A b c d e.__FORCETOC__": "A b c d e.",
    "A __init__ stays as it is.": "A __init__ stays as it is.",
    # what templates leave behind
    "Rome ({{lang-la|Roma}}) is a city.": "Rome is a city.",
    "Rome ({{lang-la|Roma}}; born 753 BC) is old.": "Rome (born 753 BC) is old.",
    "Rome (a city, {{x}}) is old.": "Rome (a city) is old.",
    "Call main() and f( ) now.": "Call main() and f() now.",
    "The values {{x}}, {{y}}, and z {{w}}.": "The values, and z.",
    "{{x}}, the first one.": "the first one.",
    "{{x}}. The first one.": "The first one.",
    ".NET is a framework ... of sorts.": ".NET is a framework ... of sorts.",
    "A {{ndash}} b {{convert|5|km}} c.": "A \u2013 b 5 km c.",
    # markup that is meant literally
    "Write <nowiki>[[a|b]] or ''c'' or {{d}}</nowiki> so.": "Write [[a|b]] or ''c'' or {{d}} so.",
    "If a < b then a|b = {c}.": "If a < b then a|b = {c}.",
}


@pytest.mark.parametrize("source", INLINE)
def test_a_line_is_cleaned(source):
    assert clean(source) == [INLINE[source]]


PAGES = {
    "paragraphs": ("One\ntwo.\n\nThree.\n\n\nFour.", ["One two.", "Three.", "Four."]),
    "headings": ("One.\n== A ==\nTwo.\n=== B. ===  \nThree.", ["One.", "Two.", "Three."]),
    "an equation is no heading": ("= 5 is it, a b c", ["= 5 is it, a b c"]),
    "rules": ("One.\n----\nTwo.", ["One. Two."]),
    "list items that are sentences": (
        '* One is a sentence.\n*# Two is one, too!\n: Three (said "so.")\n; Four: five.',
        ["One is a sentence.", "Two is one, too!", 'Three (said "so.")', "Four: five."],
    ),
    "list items that are none": ("One.\n* Rome\n** Paris, 1900\n#* [[x|y]]\n:1=2\nTwo.", None),
    "entries of a reading list": ("One.\n* A. Smith. ''Rome''. ISBN 0-340-62520-1.\nTwo.", None),
    "indented lines": ("One.\n  +--+ a\nTwo.\n It is so.", ["One.", "Two.", "It is so."]),
    "tables": ("One.\n{|\n! a\n|-\n| b. c.\n|}\nTwo.", None),
    "rows of a table never opened": ("One.\n| b\n! c !! d.\nTwo.", ["One. Two."]),
    "a line with an exclamation mark": ("!Kung is a language.", ["!Kung is a language."]),
    "bold headings": ("One.\n\n'''Early life'''\n\nTwo.", None),
    "blocks without letters": ("One.\n\n( ) , 5 = 6 . 7 8 9\n\nTwo.", None),
    "dropped sections": (
        "One.\n== ''Notes'' ==\nA.\n=== B ===\nC.\n== D ==\nTwo.\n=== See also ===\nE.",
        None,
    ),
    "a file inside a line": ("[[File:a.jpg|thumb|A b.]]One.\n\nTwo.", None),
    "categories": ("One.\n\nTwo.\n[[Category:A]]\n[[fr:B]]", None),
    "an infobox": ("{{Infobox\n| a = b\n| c = {{d}}\n}}\nOne.\n\nTwo.", None),
    "a quotation": ("One.\n{{quote|Two.}}", None),
    "block tags": ("<div>One.</div><p>Two.</p>", None),
    "an unclosed template": ("One.\n\n{{a|b. c\nTwo.", ["One.", "Two."]),
    "an unclosed link": ("One.\n\n[[Two.", None),
    "nothing": ("{{a}}\n[[Category:b]]", []),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_becomes_paragraphs(name):
    source, expected = PAGES[name]
    assert clean(source) == (["One.", "Two."] if expected is None else expected)


def test_only_the_named_sections_are_dropped():
    page = "One.\n== Notes ==\nTwo.\n== Rome ==\nThree."
    assert clean(page, ()) == ["One.", "Two.", "Three."]
    assert clean(page, ("rome",)) == ["One.", "Two."]


UNITS = ["{{", "}}", "[[", "]]", "[[a|", "{{a|", "{|\n", "\n|}", "<ref>", "</ref>", "<ref", "<!--"]
UNITS += ["<nowiki>", "<math>", "''", "'''", "==a\n", "= ", "[http://a ", "&#", "__A", "( ", ","]
UNITS += ["[[a", "]]]", "\n{|", "{{|}}", "<ref a=b ", " ;", "<math>x", "1<sup>", "mailto:", "\x02"]
UNITS += ["\n*", "<b ", "<sup>1", ". ", "{{convert|", "-->", "[[File:a|", "{{nowrap|"]


@pytest.mark.parametrize("unit", UNITS)
def test_the_time_is_linear_whatever_is_repeated(unit):
    def seconds(length):
        start = time.process_time()
        clean(unit * (length // len(unit)))
        return time.process_time() - start

    # Quadratic time would be 64 times as long.
    assert seconds(160_000) < 24 * max(seconds(20_000), 0.02)


def test_unbalanced_markup_never_fails_and_leaves_single_lines():
    rng = random.Random(3)
    pieces = [*UNITS, "|", "word ", "\n", "\n\n", "|}", "</math>", "-->", "</nowiki>", "]", "}"]
    for _ in range(400):
        for paragraph in clean("".join(rng.choices(pieces, k=80))):
            assert paragraph == " ".join(paragraph.split())
            assert "\x00" not in paragraph
            assert "\x01" not in paragraph


# Markup in every combination, with words between, so that no two halves meet to form new markup.
PIECES = st.sampled_from([*UNITS, "|", "\n", "\n\n", "|}", "</math>", "</nowiki>", "]", "}", "'"])
WORDS = st.sampled_from(["word", " ", "Rome is", ". So "])
MARKUP_LEFT = re.compile(r"\{\{|\}\}|\[\[|\]\]|<ref\b|</ref|<!--|\x00|\x01|\x02|\x03")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(PIECES, WORDS), max_size=60))
def test_no_markup_is_left_whatever_its_order(parts):
    source = "".join("".join(part) for part in parts)
    if "<nowiki>" not in source:
        assert not [p for p in clean(source) if MARKUP_LEFT.search(p)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text(alphabet="[]{}|<>/='-!\n*#:;&_ref.a \x00\x02\x03\u2028\u202e\u0301\u4e2d", max_size=300)
)
def test_any_text_becomes_single_lines(source):
    for paragraph in clean(source):
        assert paragraph == " ".join(paragraph.split())
        assert len(paragraph.splitlines()) == 1


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.text(alphabet="abc de,\u00e9\u4e2d", min_size=1, max_size=30), max_size=8))
def test_plain_text_stays_as_it_is(lines):
    paragraphs = [" ".join(f"The {line.replace(',', '')} is so.".split()) for line in lines]
    assert clean("\n\n".join(paragraphs)) == paragraphs
