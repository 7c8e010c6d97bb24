import time

import pytest

from bert.text.wikibrackets import strip_brackets

HIDDEN = frozenset({"file", "image", "category", "datei"})
CASES = {
    # templates
    "a{{b}}c": "ac",
    "a{{b|c={{d|{{e}}}}|f}}g": "ag",
    "a{{b\n|c=[[d|e]]\n}}f": "af",
    "a {{convert|5|km|mi}} b": "a 5 km b",
    "{{nowrap|a {{lang|fr|b}} [[c|d]]}}": "a b d",
    # tables
    "a\n{| class='x'\n|-\n! b !! c\n| d || e\n|}f": "a\nf",
    "{|\n|a\n{|\n|b\n|}\n|c\n|}d": "d",
    ":{|\n|a {{b|}}\n|}\nc": "\nc",
    "{{b|\n{|\n|c\n|}}}d": "d",
    "{{b|c\n|}}d": "d",
    # links
    "[[a]]": "a",
    "[[a]]s and [[a|b]]s": "as and bs",
    "[[a b|c [[d|e]] f]]": "c e f",
    "[[a|b|c]]": "b|c",
    "[[wikt:a|b]] [[:Category:c|d]] [[:fr:e|f]] [[:Category:g]]": "b d f Category:g",
    "[[http://a.b c d]]": "c d",
    "[[a|[b]]]": "[b]",
    # files, categories, other languages
    "a[[File:b.jpg|thumb|c [[d]] e]]f": "af",
    "a[[IMAGE:b.jpg]][[Datei:b]][[Category:c|d]]e": "ae",
    "a[[fr:b]][[zh-min-nan:c]][[simple:d]]e": "ae",
    "[[File:a|b [[c]]]]d": "d",
    "[[File:a|b [http://c d]]]e": "e",
    "[http://a b [[c]]]": "[http://a b c]",
    "[[doi:10.1|a]] [[Star Wars: b]]": "a Star Wars: b",
    # unbalanced
    "a}} b]] c": "a b c",
    "a\n|}\nb": "a\n\nb",
    "a [[b c": "a b c",
    "a {{b|c\nd": "a \nd",
    "a {{b|c\n{{d}}e": "a \ne",
    "{| a\nb": "\nb",
    "{|\n{{b\n|}c": "c",
    "{{a|[[b}}c]]d": "cd",
    "{{a|{|\n b}}c": "c",
    "[[a {{b ]] c}} d": "a  d",
    "a \x00 b": "a  b",
    "{a} [b] | {": "{a} [b] | {",
}


@pytest.mark.parametrize("source", CASES)
def test_brackets_are_removed(source):
    assert strip_brackets(source, HIDDEN) == CASES[source]


def test_deep_nesting_of_templates_and_tables_leaves_nothing():
    assert strip_brackets("a" + "{{b|" * 5000 + "}}" * 5000 + "c", HIDDEN) == "ac"
    assert strip_brackets("a\n" + "{|\n" * 5000 + "|}\n" * 5000 + "c", HIDDEN).split() == ["a", "c"]


def test_the_time_is_linear_in_the_depth_of_links():
    def seconds(depth):
        start = time.process_time()
        strip_brackets("[[a|b" * depth + "]]" * depth, HIDDEN)
        return time.process_time() - start

    # Quadratic time would be 256 times as long.
    assert seconds(160_000) < 64 * max(seconds(10_000), 0.02)


def test_links_nested_deeper_than_on_any_page_are_dropped():
    assert strip_brackets("[[a|b" * 40 + "]]" * 40 + "c", HIDDEN) == "b" * 40 + "c"
    assert strip_brackets("[[a|b" * 1000 + "]]" * 1000 + "c", HIDDEN) == "b" * 40 + "c"
