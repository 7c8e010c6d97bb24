import pytest

from bert.text.chapters import split_chapters
from bert.text.paragraphs import split_paragraphs


def chapters(text):
    blocks = list(split_paragraphs(text.split("\n")))
    return [["/".join(block) for block in chapter] for chapter in split_chapters(blocks)]


TALES = """A BOOK OF TALES

A note on the text, which is older
than the book.

CONTENTS:

  THE GOLDEN BIRD
  Clever Hans ........ 12
  THE FOX

A BOOK OF TALES

THE GOLDEN BIRD

A king had a garden. It was
large.

CLEVER HANS

His mother asked him where he
went.

the fox

was what they
called him.

THE FOX
It ran from
here to
there and it never came
back.
"""


def test_headings_are_the_lines_of_the_table_of_contents_that_come_again():
    front, *tales = chapters(TALES)
    assert front == [
        "A BOOK OF TALES",
        "A note on the text, which is older/than the book.",
    ]
    assert [tale for tale in tales if tale] == [
        ["A king had a garden. It was/large."],
        ["His mother asked him where he/went.", "the fox", "was what they/called him."],
        ["It ran from/here to/there and it never came/back."],
    ]


MELVILLE = """CONTENTS

CHAPTER 1. The Talk of One and
the Other.

CHAPTER 2. The End

Epilogue

Chapter 1. The Talk of One and
the Other.

A first paragraph is
here.

BOOK I. (_Folio_), CHAPTER I. (_Whale_).--This whale
is one of the old ones.

Chapter 2. A Title That Differs

A second paragraph is
here.

Epilogue

It is over.
"""


def test_what_only_looks_like_a_heading_is_text_where_there_is_a_table_of_contents():
    assert [chapter for chapter in chapters(MELVILLE) if chapter] == [
        [
            "A first paragraph is/here.",
            "BOOK I. (_Folio_), CHAPTER I. (_Whale_).--This whale/is one of the old ones.",
        ],
        ["A second paragraph is/here."],
        ["It is over."],
    ]


@pytest.mark.parametrize(
    "contents", ["CONTENTS\n\nTHE ONE\n\nTHE TWO\n\n", "CONTENTS\n\n", "Contents of this\n\n", ""]
)
def test_without_a_table_that_fits_headings_are_what_begins_like_one(contents):
    text = f"{contents}CHAPTER I\n\nIt is.\n\nChapter the Second\nof this\n\nIt was.\n"
    assert [c for c in chapters(text) if c][-2:] == [["It is."], ["It was."]]


def test_a_title_below_the_number_of_a_chapter_belongs_to_the_heading():
    text = "CHAPTER I\n\nIn Which He\nleaves\n\nMy dear Sir,\n\nSo it\nwas.\n\nA line\n"
    assert chapters(text) == [[], ["My dear Sir,", "So it/was.", "A line"]]


def test_a_paragraph_that_begins_like_a_heading_is_text():
    text = "Part two of the plan was to walk all the way\nto the\nsea and to swim\nback.\n"
    assert chapters(text) == [["/".join(text.strip().split("\n"))]]


def test_page_numbers_are_no_text():
    assert chapters("List of Prints .... 12\n\nIt is.") == [["It is."]]
