import pytest

from bert.text.paragraphs import (
    ends_like_sentence,
    is_running_text,
    split_paragraphs,
    text_sentences,
)


def paragraphs(text):
    return [" ".join(lines) for lines in split_paragraphs(text.split("\n"))]


def test_lines_of_hard_wrapped_text_are_joined_up_to_a_blank_line():
    assert paragraphs("One of\nthem left\nus.\n\nTwo of\nthem.") == [
        "One of them left us.",
        "Two of them.",
    ]


def test_lines_that_end_like_sentences_are_paragraphs():
    assert paragraphs("One left.\nTwo\nThree left.\nFour left.") == [
        *("One left.", "Two", "Three left.", "Four left.")
    ]


def test_an_indented_line_opens_a_paragraph_where_no_line_is_blank():
    assert paragraphs("  One of\nthem\n  Two of\nthem") == ["One of them", "Two of them"]


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_blank_text_has_no_paragraph(text):
    assert paragraphs(text) == text_sentences(text) == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\u2028", "\x85"])
def test_every_kind_of_line_end_ends_a_line(end):
    text = "One left.\nTwo left us. Three.\n\nFour".replace("\n", end)
    assert text_sentences(text) == ["One left.", "Two left us.", "Three.", "Four"]


def test_letters_stay_as_they_are_composed():
    text = "Cafe\u0301 and caf\xe9. \u05e9\u05dc\u05d5\u05dd. \u4f60\u597d\u3002\u4e16\u754c\u3002"
    assert text_sentences(text) == [
        *("Cafe\u0301 and caf\xe9.", "\u05e9\u05dc\u05d5\u05dd."),
        *("\u4f60\u597d\u3002", "\u4e16\u754c\u3002"),
    ]


@pytest.mark.parametrize(
    "text", ["So.", "So?!", "So\u2026", 'He said "so."', "(So.)", "So:", "\u597d\u3002", "So. "]
)
def test_text_that_ends_like_a_sentence(text):
    assert ends_like_sentence(text)
    assert not ends_like_sentence(text + "a")


@pytest.mark.parametrize(
    ("text", "is_text"),
    [
        *(("History", False), ("A list of four", False), ("A list of five words", True)),
        *(("So.", True), ("1990.", False), ("* * * * * *", False), ("", False)),
    ],
)
def test_headings_and_rules_are_no_running_text(text, is_text):
    assert is_running_text(text) == is_text
