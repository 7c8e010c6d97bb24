import random
import time

import pytest

from bert.text.sentences import split_sentences

# Each case is written with | where a sentence ends.
CASES = [
    # plain marks
    "He left.|She stayed.|Who knew?|Nobody!|It ended",
    "Really?!|Yes!!!|What?|No.",
    "He paid 3.14 dollars.|In 1990, it was 1,000.50.|Version 2.0 came.",
    "It began in 1990.|42 men came.|$5 was the price.",
    "See example.com for more.|Then go.",
    # lower case after a mark
    "Yahoo! is a company.|The end.",
    '"Who?" he asked.|"Me," she said.',
    # quotes and brackets
    '"I know."|He left.|\u201cYes.\u201d|\u2018No.\u2019|Good.',
    "(He was late.)|Then he came.|[Laughter.]|The end.",
    'He said: "Go."|"Why?"|(No answer.)',
    "\u00abOui.\u00bb|\u00bfQu\u00e9?|\u00a1Hola!|Bien.",
    # ellipses
    "Well... maybe.|So it is...|The end\u2026|Then nothing.",
    "I wish... I could go.|And . . . I'm sure . . . so be it.",
    # titles and other abbreviations that lead on
    "Mr. Smith, Mrs. Jones and Dr. Who met Prof. X.|They left.",
    "Brig. Gen. Simon Buckner wrote to Lt. Col. Brown.|He answered.",
    "Some cats (e.g. Siamese) bite, i.e. They hurt, cf. Smith vs. Jones.",
    # abbreviations that count
    "See Fig. 3, No. 5, pp. 10 and vol. 2 of Jan. 5.|The rest is lost.",
    "He said no.|Then he left.|I like art.|Bob does not.",
    "It is old (Hdt. 1.32; 7th Cir. 1998).|1998 was later.",
    # abbreviations that may close a sentence
    "Apple Inc. CEO Tim Cook works at Apple Inc.|The firm is big.",
    "Martin Luther King Jr. Day is named for King Jr.|He spoke.",
    "The U.S. Army left the U.S.|In Washington, D.C. Mayor Bowser rules.|However, no.",
    "They met at 5 p.m. Eastern time and left at 9 p.m.|It was late.",
    "He has a Ph.D. in law and an M.D.|She has none.",
    "Knives, forks, etc. are tools.|Spoons, etc.|Toilets are not.",
    "St. Louis and Mt. Everest are far.|They met Smith et al. (2003).",
    # initials
    "J. R. R. Tolkien met C. S. Lewis and George W. Bush.|They talked.",
    "Take vitamin C.|However, not too much.|It was by A. A. Milne.",
    "Hepatitis B. A. Milne had it.",
    # numbers that lead a list
    "1. Mix the eggs.|2. Bake the cake.",
    # nothing was said yet
    "? is a film.|It ended.",
    "... Then it ended.|Good.",
    ". And so.|Good.",
]


@pytest.mark.parametrize("case", CASES)
def test_sentences_end_where_a_reader_would_end_them(case):
    assert split_sentences(case.replace("|", " ")) == case.split("|")


@pytest.mark.parametrize(
    "case",
    [
        "\u5979\u8d70\u4e86\u3002|\u4ed6\u6765\u4e86\uff01\uff1f|\u4e3a\u4ec0\u4e48\uff1f",
        "\u300c\u8d70\u3002\u300d\u3068\u8a00\u3063\u305f\u3002|\u6765\u305f",
        "\u4e16\u754c\u3002\u3001\u4ed6",  # a mark that goes on
        "\u3002\u4ed6",  # nothing was said yet
    ],
)
def test_chinese_and_japanese_sentences_end_without_a_space(case):
    assert split_sentences(case.replace("|", "")) == case.split("|")
    spaced = case.replace("|", " ")
    assert split_sentences(spaced) == case.split("|")


@pytest.mark.parametrize("blank", ["", " ", "\n\t \u00a0"])
def test_blank_text_has_no_sentence(blank):
    assert split_sentences(blank) == []


def test_line_breaks_and_odd_spaces_become_single_spaces():
    assert split_sentences(" One\ntwo.\u2028Three\u00a0\u00a0four.\x0c") == [
        "One two.",
        "Three four.",
    ]


def test_no_character_is_lost_or_moved_on_random_text():
    rng = random.Random(5)
    pieces = ["Mr.", "a", "B.", "...", "?!", '"', "(", ")", "U.S.", "The", "5", ".", " ", "\n", "é"]
    wide = ["\u3002", "\uff1f", "\u4ed6", "\u300d"]
    for _ in range(300):
        text = "".join(rng.choices(pieces, k=60))
        sentences = split_sentences(text)
        assert " ".join(sentences) == " ".join(text.split())
        assert all(s and s == s.strip() for s in sentences)
    for _ in range(300):
        text = "".join(rng.choices(pieces + wide, k=60))
        sentences = split_sentences(text)
        assert "".join(sentences).replace(" ", "") == "".join(text.split())
        assert all(s and s == s.strip() for s in sentences)


@pytest.mark.parametrize(
    "unit",
    [
        ".",
        ". ",
        "a.",
        "A. ",
        "( ",
        '."',
        "?! ",
        "1. ",
        "U.S.",
        "((",
        ". (",
        "\u3002",
        "\u4ed6\u3002",
        "\u3002)",
    ],
)
def test_the_time_is_linear_in_the_length_of_a_line(unit):
    def seconds(length):
        text = unit * (length // len(unit))
        start = time.process_time()
        split_sentences(text)
        return time.process_time() - start

    # Quadratic time would be 64 times as long, and minutes for the larger one.
    assert seconds(800_000) < 24 * max(seconds(100_000), 0.02)


def test_a_line_of_ten_megabytes_is_split():
    sentence = "Mr. Brown of the U.S. Army " + "and another man " * 30 + "paid 3.5 dollars. "
    assert split_sentences(sentence * 20_000) == [sentence.strip()] * 20_000
