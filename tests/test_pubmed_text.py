from xml.etree import ElementTree

import pytest

from bert.text.pubmed_text import citation_sentences, clean_text

MATHML = 'xmlns:mml="http://www.w3.org/1998/Math/MathML"'


def citation(abstract="<AbstractText>It is so.</AbstractText>", title="A title.", more=""):
    abstract = f"<Abstract>{abstract}</Abstract>" if abstract else ""
    return ElementTree.XML(
        f"<MedlineCitation {MATHML}><PMID>1</PMID><Article><ArticleTitle>{title}</ArticleTitle>"
        f"{abstract}</Article>{more}</MedlineCitation>"
    )


def sentences(*args, languages=(), with_title=False, **kwargs):
    found, _, counters = citation_sentences(
        citation(*args, **kwargs), with_title=with_title, languages=languages
    )
    return found, counters


# Markup


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<i>In vitro</i> and <b>in <u>vivo</u></b>", "In vitro and in vivo"),
        ("H<sub>2</sub>SO<sub>4</sub> and Cd<sup>2+</sup>", "H2SO4 and Cd2+"),
        ("1.8 \u00d7 10<sup>14</sup> of CD8<sup>+</sup>", "1.8 \u00d7 10^14 of CD8+"),
        ("10<sup>\u22126</sup>, 10<sup>-3</sup>, 10 Km<sup>2</sup>", "10^\u22126, 10^-3, 10 Km2"),
        ("<sup>14</sup>C and 2<sup>nd</sup>", "14C and 2nd"),
        ("p &lt; 0.05 &amp; q &amp;gt; 2", "p < 0.05 & q > 2"),
        ("A\n   line\u200b break", "A line break"),
        (
            "<mml:math><mml:msup><mml:mi>R</mml:mi><mml:mn>2</mml:mn></mml:msup></mml:math>=1",
            "R2=1",
        ),
        ("<mml:math><mml:msup><mml:mn>10</mml:mn><mml:mn>3</mml:mn></mml:msup></mml:math>", "10^3"),
        ("<mml:math><mml:mfrac><mml:mi>a</mml:mi><mml:mi>b</mml:mi></mml:mfrac></mml:math>", "a/b"),
        (
            "<mml:math><mml:semantics><mml:mi>x</mml:mi><mml:annotation>\\frac{x}"
            "</mml:annotation></mml:semantics></mml:math> is",
            "x is",
        ),
        ("so<DispFormula><mml:math><mml:mi>x</mml:mi></mml:math></DispFormula>is", "so x is"),
    ],
)
def test_markup_becomes_plain_text(markup, text):
    assert clean_text(ElementTree.XML(f"<t {MATHML}>{markup}</t>")) == text


# Abstracts


def test_labels_stand_in_front_of_their_text():
    found, _ = sentences(
        '<AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND">It was. It is.</AbstractText>'
        '<AbstractText Label="Results: ">Two are.</AbstractText>'
        '<AbstractText Label="WHY?">So.</AbstractText>'
        '<AbstractText Label="AIM">AIM: it is this.</AbstractText>'
        '<AbstractText Label="UNLABELLED">No label.</AbstractText>'
        '<AbstractText Label="EMPTY"> </AbstractText>'
    )
    assert found == [
        "BACKGROUND: It was.",
        "It is.",
        "Results: Two are.",
        "WHY?",
        "So.",
        "AIM: it is this.",
        "No label.",
    ]


@pytest.mark.parametrize(
    "abstract", ["", "<AbstractText/>", "<AbstractText>No abstract available.</AbstractText>"]
)
def test_without_an_abstract_there_is_no_document_even_with_a_title(abstract):
    assert sentences(abstract, with_title=True) == ([], [])


def test_the_truncation_mark_is_no_text_and_counted():
    found, counters = sentences(
        "<AbstractText>It is.(ABSTRACT TRUNCATED AT 250 WORDS)</AbstractText>"
    )
    assert (found, counters) == (["It is."], ["truncated_abstracts"])


@pytest.mark.parametrize(
    "line",
    [
        "Copyright 1999 Academic Press.",
        "(c) 2001 Wiley-Liss, Inc.",
        "\u00a9 The Author(s) 2015.",
        "Copyright \u00a9 2025, by Elsevier Inc. All rights reserved.",
    ],
)
def test_a_copyright_line_at_the_end_is_no_text_and_counted(line):
    found, counters = sentences(f"<AbstractText>It is. {line}</AbstractText>")
    assert (found, counters) == (["It is."], ["dropped_copyright_lines"])


@pytest.mark.parametrize(
    "text",
    ["Copyright law was changed in 1976.", "(c) 2001 of them were men.", "We copyright 2001."],
)
def test_what_only_looks_like_a_copyright_line_stays(text):
    found, counters = sentences(f"<AbstractText>It is. {text}</AbstractText>")
    assert (" ".join(found), counters) == (f"It is. {text}", [])


def test_copyright_information_of_its_own_is_left_out():
    abstract = "<AbstractText>It is.</AbstractText>"
    abstract += "<CopyrightInformation>\u00a9 2026</CopyrightInformation>"
    assert sentences(abstract) == (["It is."], [])


def test_other_abstracts_are_chosen_by_language():
    more = (
        '<OtherAbstract Type="plain-language-summary" Language="eng">'
        "<AbstractText>In plain words.</AbstractText></OtherAbstract>"
        '<OtherAbstract Type="PIP"><AbstractText>Language is eng.</AbstractText></OtherAbstract>'
        '<OtherAbstract Type="Publisher" Language="ger">'
        "<AbstractText>Auf Deutsch.</AbstractText></OtherAbstract>"
        '<OtherAbstract Type="Publisher" Language="pol">'
        "<AbstractText>Abstract available from the publisher.</AbstractText></OtherAbstract>"
    )
    found, counters = sentences(more=more, languages=["eng", "pol"])
    assert found == ["It is so.", "In plain words.", "Language is eng."]
    assert sorted(counters) == ["other_abstracts"] * 3 + ["other_abstracts_left_out"]
    assert sentences("", more=more, languages=["ger"])[0] == ["Auf Deutsch."]


def test_the_length_is_that_of_the_abstract_alone():
    _, characters, _ = citation_sentences(citation(), with_title=True, languages=[])
    assert characters == len("It is so.")


# Titles


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Of mice. And <i>men</i>.", ["Of mice.", "And men."]),
        ("[Vaccines are drugs].", ["Vaccines are drugs."]),
        ("[Is it so?].", ["Is it so?"]),
        ("[A [nested] title (author's transl)]", ["A [nested] title"]),
        ("[IGFBP7]\u00b7[TIMP2] reference ranges.", ["[IGFBP7]\u00b7[TIMP2] reference ranges."]),
        ("[Unclosed title.", ["[Unclosed title."]),
        ("[Not Available].", []),
        ("", []),
    ],
)
def test_the_title_comes_first_without_the_brackets_of_a_translation(title, text):
    assert sentences(title=title, with_title=True)[0] == [*text, "It is so."]
    assert sentences(title=title)[0] == ["It is so."]
