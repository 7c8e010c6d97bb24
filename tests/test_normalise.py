import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.text.normalise import document_words, normal_words, text_digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The Cat's 2nd hat!", "the cat s 2nd hat"),
        ("The caf\u00e9's 2nd hat!", "the caf\u00e9 s 2nd hat"),
        ("Cafe\u0301 CAF\u00c9", "caf\u00e9 caf\u00e9"),  # composed and decomposed are the same
        ("\uff21\uff22\uff23 \ufb01ne", "abc fine"),  # full width, ligature
        ("Stra\u00dfe STRASSE", "strasse strasse"),
        ("one\u2014two\u00a0three\u201cfour\u201d", "one two three four"),
        ("snake_case\tline\nbreak", "snake case line break"),
        ("\u0915\u093f \u0915\u093e", "\u0915\u093f \u0915\u093e"),  # Hindi vowel signs stay
        ("\u6f22\u5b57\u3002\u6f22\u5b57", "\u6f22\u5b57 \u6f22\u5b57"),
        ("... \u2026 \u00b6 + =", ""),
        ("", ""),
    ],
)
def test_words_by_hand(text: str, words: str) -> None:
    assert b" ".join(normal_words(text.encode())).decode() == words


def test_bytes_that_are_not_utf8_separate_words() -> None:
    assert normal_words(b"one\xfftwo") == [b"one", b"two"]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text())
def test_the_normal_form_is_its_own_normal_form(text: str) -> None:
    words = normal_words(text.encode("utf-8"))
    again = normal_words(b" ".join(words))
    # Composing after case folding can need a second pass; from then on nothing changes.
    assert normal_words(b" ".join(again)) == again
    assert all(unicodedata.category(c)[0] in "LMN" for word in words for c in word.decode())


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.text(min_size=1)))
def test_lines_are_normalised_one_by_one_or_together(lines: list[str]) -> None:
    encoded = [line.encode("utf-8") for line in lines]
    apart = [word for line in encoded for word in normal_words(line)]
    assert normal_words(b"\n".join(encoded)) == apart


def test_digests_are_those_of_the_words() -> None:
    def digest(text: str) -> bytes:
        return text_digest(document_words(text.encode()))

    assert digest("A cat.\nA hat.") == digest("a CAT a hat")
    assert digest("a cat") != digest("ac at")
    assert digest("...") != digest("!!!")  # without words, by their bytes
    assert digest("...") == digest("...")
    assert len(digest("a")) == 16
