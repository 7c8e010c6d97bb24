import pytest

from bert.config import ConfigError, check
from bert.text.wikipages import Page
from bert.text.wikipedia import WikipediaConfig, article, skip_reason

CONFIG = {
    "format": "wikipedia",
    "raw": "wikipedia",
    "pattern": "*.xml*",
    "licence": "CC-BY-SA-4.0",
    "min_characters": 20,
    "drop_sections": ["notes"],
}
ARTICLE = "'''Rome''' is a [[city]]. It is old.\n\n== Notes ==\nNone. At all."


def page(title="Rome", text=ARTICLE, namespace=0, redirect=False, model="wikitext"):
    return Page("12", title, namespace, redirect, model, text)


def config(**changes):
    return check(WikipediaConfig, CONFIG | changes, where="a test")


def sentences(changed_page, **changes):
    return article(changed_page, frozenset({"file", "category"}), config(**changes))[0]


def test_an_article_becomes_one_document_of_its_sentences():
    assert skip_reason(page()) == ""
    assert sentences(page()) == ["Rome is a city.", "It is old."]


SKIPPED = {
    "skipped_namespace": [page(namespace=1), page(namespace=10), page(namespace=1, redirect=True)],
    "skipped_redirect": [page(redirect=True)],
    "skipped_not_wikitext": [page(model="json")],
    "skipped_disambiguation": [
        page(title="Rome (disambiguation)"),
        *(
            page(text=ARTICLE + end)
            for end in (
                "{{disambiguation}}",
                "{{Disambiguation|geo}}",
                "{{ disambig }}",
                "{{Human name disambiguation}}",
                "{{hndis|Rome}}",
                "{{dab}}",
                "__DISAMBIG__",
            )
        ),
    ],
}


@pytest.mark.parametrize("reason", SKIPPED)
def test_what_is_no_article_is_counted_by_its_reason(reason):
    for skipped in SKIPPED[reason]:
        assert skip_reason(skipped) == reason


@pytest.mark.parametrize(
    "text",
    ["{{disambiguation needed}}", "{{about|a|b|Rome (disambiguation)}}", "{{redirect|disambig}}"],
)
def test_pages_that_only_mention_disambiguation_are_articles(text):
    assert skip_reason(page(text=text + ARTICLE)) == ""


def test_a_page_of_just_enough_characters_is_kept():
    length = len("Rome is a city. It is old.")
    assert sentences(page(), min_characters=length)
    assert not sentences(page(), min_characters=length + 1)


@pytest.mark.parametrize("text", ["Rome is old.", "", "{{a}}" * 50])
def test_a_page_with_little_text_gives_no_sentence(text):
    assert sentences(page(text=text)) == []


def test_sentences_around_formulas_that_are_no_text_are_dropped_and_counted():
    text = "Let <math>x</math> be. It is <math>\\alpha_{1}</math> then. We see."
    kept, dropped = article(page(text=text), frozenset(), config())
    assert (kept, dropped) == (["Let x be.", "We see."], 1)


def test_the_clock_leaves_no_trace():
    text = (
        "In {{CURRENTYEAR}} or {{#time:Y}} it was {{age|1980|1|1}} old, as of {{as of|{{TODAY}}}}."
    )
    assert sentences(page(text=text)) == ["In or it was old, as of."]


def test_dropped_sections_are_those_of_the_config():
    expected = ["Rome is a city.", "It is old.", "None.", "At all."]
    assert sentences(page(), drop_sections=[]) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [("min_characters", 0), ("pattern", ""), ("raw", ""), ("drop_sections", "notes")],
)
def test_knobs_out_of_range_are_refused(key, value):
    with pytest.raises(ConfigError, match=f"{key} is "):
        config(**{key: value})
