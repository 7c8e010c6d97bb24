import io
import tarfile

import pytest

from bert.config import ConfigError, check
from bert.text.archives import ArchiveError
from bert.text.books import BooksConfig, list_items, read_item
from bert.text.decoding import DecodingError

CONFIG = {
    "format": "books",
    "raw": "books",
    "pattern": "*.txt",
    "licence": "public domain in the USA",
    "chapters_are_documents": False,
}
HEADER = """The Project Gutenberg eBook of A Book, by N. N.

This eBook is for the use of anyone.

*** START OF THE PROJECT GUTENBERG EBOOK A BOOK ***

Produced by Some Body and
Another Body

"""
FOOTER = """

End of the Project Gutenberg EBook of A Book, by N. N.

*** END OF THE PROJECT GUTENBERG EBOOK A BOOK ***

You may copy it. You may sell it.
"""
BODY = """A BOOK

CONTENTS

CHAPTER I.   The First
CHAPTER II.  The Second

CHAPTER I.
The First

It was the best of times, it was
the worst of times. It was the age
of wisdom.

So it
went on.

CHAPTER II.

The end came. It was
good.
"""
FIRST = [
    "It was the best of times, it was the worst of times.",
    "It was the age of wisdom.",
    "So it went on.",
]
SECOND = ["The end came.", "It was good."]


def book(tmp_path, text, *, chapters=False, encoding="utf-8"):
    (tmp_path / "b.txt").write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    config = check(BooksConfig, CONFIG | {"chapters_are_documents": chapters}, where="a test")
    (item,) = list_items([tmp_path / "b.txt"], config)
    documents, counters = read_item(item, config)
    return [document.sentences for document in documents], counters


def sentences(tmp_path, text):
    (document,), _ = book(tmp_path, text)
    return document


# Whole files


def test_one_file_is_one_document_without_frame_headings_and_contents(tmp_path):
    documents, counters = book(tmp_path, HEADER + BODY + FOOTER)
    assert documents == [FIRST + SECOND]
    assert counters == ("files", "encoding_utf-8", "gutenberg_headers", "gutenberg_footers")


def test_chapters_are_documents_if_wanted(tmp_path):
    documents, _ = book(tmp_path, HEADER + BODY + FOOTER, chapters=True)
    assert documents == [FIRST, SECOND]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_encoding_and_line_ends_do_not_change_the_text(tmp_path, newline, encoding):
    text = BODY.replace("wisdom", "\u201cwisd\u00f6m\u201d")
    documents, counters = book(tmp_path, text.replace("\n", newline), encoding=encoding)
    expected = FIRST + SECOND
    expected[1] = "It was the age of \u201cwisd\u00f6m\u201d."
    assert documents == [expected]
    assert counters == ("files", f"encoding_{encoding.removesuffix('-sig')}")


@pytest.mark.parametrize("text", ["", "\n\n", "CHAPTER I.\n\n* * * * *\n", HEADER + FOOTER])
def test_a_file_without_sentences_is_counted(tmp_path, text):
    documents, counters = book(tmp_path, text)
    assert documents == []
    assert counters[-1] == "skipped_empty"


def test_a_binary_file_is_refused(tmp_path):
    with pytest.raises(DecodingError, match=r"b.txt is no text: .*convert the file to UTF-8"):
        book(tmp_path, b"\x89PNG\x00\x00")


def test_knobs_of_the_wrong_type_are_refused():
    with pytest.raises(ConfigError, match="chapters_are_documents is 1"):
        check(BooksConfig, CONFIG | {"chapters_are_documents": 1}, where="a test")


# Project Gutenberg's frame


def test_who_produced_the_file_is_text_outside_of_the_frame(tmp_path):
    assert sentences(tmp_path, "Produced by Bob, it ran.\n") == ["Produced by Bob, it ran."]
    assert sentences(tmp_path, HEADER + "It ran." + FOOTER) == ["It ran."]


# Paragraphs


def test_hyphens_and_dashes_at_the_end_of_a_line_join_without_a_space(tmp_path):
    text = "He saw the self-\nsame man--\nfar away \u2014\nor so\u2014\nit seemed -\nto him.\n"
    assert sentences(tmp_path, text) == [
        "He saw the self-same man--far away \u2014 or so\u2014it seemed - to him."
    ]


def test_a_file_with_one_sentence_a_line_is_not_joined(tmp_path):
    text = "mr. smith left .\nhe ran .\nno one saw him .\nwho knew ?\n"
    assert sentences(tmp_path, text) == text.strip().split("\n")


def test_long_lines_with_blank_lines_between_are_paragraphs(tmp_path):
    line = "It was so. " * 30
    assert sentences(tmp_path, f"{line}\n\n{line}\n") == ["It was so."] * 60


def test_indented_lines_open_paragraphs_where_no_line_is_blank(tmp_path):
    paragraph = "    It was the best of times\nand the worst of times, with no\nend in sight\n"
    assert (
        sentences(tmp_path, paragraph * 5)
        == ["It was the best of times and the worst of times, with no end in sight"] * 5
    )


def test_marks_of_emphasis_footnotes_and_proofreaders_are_removed(tmp_path):
    text = (
        "_He_ saw _Moby Dick_ and snake_case.[12] M^{r.} B____ left[*] now.{3}\n\n"
        "*A note on this.\n\n/* NIND \u201cMy dear Sir, it is so.\u201d */\n"
    )
    assert sentences(tmp_path, text) == [
        "He saw Moby Dick and snake_case.",
        "Mr. B left now.",
        "A note on this.",
        "\u201cMy dear Sir, it is so.\u201d",
    ]


def test_illustrations_are_removed_also_from_the_middle_of_a_paragraph(tmp_path):
    text = (
        "[Illustration]\n\nHe went to the old\n\n[Illustration: A house.\n\n"
        "[_Copyright 1894._]]\n\nhouse by the sea.\n\n[Illustration:\n\n  A. B.\n  ]\n\n"
        "de Vere fell.\n"
    )
    assert sentences(tmp_path, text) == ["He went to the old house by the sea.", "de Vere fell."]


def test_blocks_that_are_no_text_are_dropped(tmp_path):
    text = (
        "THE OLD HOUSE.\n\nby Jane Austen\n\n* * * * *\n\nList of Prints      12\n\n1894\n\n"
        "It stood.\n\n\u201cNO!\u201d\n\nTHE END\n"
    )
    assert sentences(tmp_path, text) == ["It stood.", "\u201cNO!\u201d"]


@pytest.mark.parametrize(
    "heading",
    ["CHAPTER I.", "Chapter 12. The Sea", "BOOK THE FIRST", "Part Two", "Letter XIV", "STAVE ONE"],
)
def test_headings_of_chapters_are_recognised(tmp_path, heading):
    documents, _ = book(tmp_path, f"A lot was so.\n\n{heading}\n\nB was so.\n", chapters=True)
    assert documents == [["A lot was so."], ["B was so."]]


@pytest.mark.parametrize(
    "text", ["Part of it was mild.", "Book it now.", "The chapter I read.", "Act as one."]
)
def test_sentences_about_chapters_are_no_headings(tmp_path, text):
    documents, _ = book(tmp_path, f"A lot was so.\n\n{text}\n\nB was so.\n", chapters=True)
    assert documents == [["A lot was so.", text, "B was so."]]


def test_a_heading_without_a_blank_line_below_keeps_its_paragraph(tmp_path):
    text = "CHAPTER I\nIt was the best of\ntimes and it\nwas the worst of\ntimes.\n"
    assert sentences(tmp_path, text) == ["It was the best of times and it was the worst of times."]


def test_what_stands_before_the_first_chapter_loses_titles_and_tables(tmp_path):
    front = (
        "A BOOK\n\nby Some Body and Another Body\n\nORDER    TITLE    YEAR\n1    One    1840\n\n"
        "A note on the text of this book,\nwhich is old.\n\nor, THE WHALE.\n\n"
    )
    text = HEADER + front + "CHAPTER I.\n\nIt was.\n" + FOOTER
    documents, _ = book(tmp_path, text, chapters=True)
    assert documents == [["A note on the text of this book, which is old."], ["It was."]]


def test_a_chapter_heading_inside_an_illustration_is_a_heading(tmp_path):
    text = "A note is here.\n\n[Illustration: ·A BOOK·\n\nChapter I.]\n\nIt was so.\n"
    documents, _ = book(tmp_path, text, chapters=True)
    assert documents == [["A note is here."], ["It was so."]]


def test_illustrations_that_follow_each_other_are_removed(tmp_path):
    text = (
        "It was.\n\n  [Illustration:\n  A. ]\n\n   [Illustration:\n  _B._  _Chap 3._ ]\n\nIt is.\n"
    )
    assert sentences(tmp_path, text) == ["It was.", "It is."]


# Archives


def tar(members, mode):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_an_archive_of_books_is_read_like_a_folder(tmp_path, mode):
    members = {"b/two.txt": b"It was B.", "b/one.txt": b"caf\xe9 was A.", "b/cover.jpg": b"\xff"}
    (tmp_path / "books.tar").write_bytes(tar(members, mode))
    config = check(BooksConfig, CONFIG, where="a test")
    results = [read_item(item, config) for item in list_items([tmp_path / "books.tar"], config)]
    assert [document for documents, _ in results for document in documents] == [
        ("books.tar/b/two.txt", ["It was B."]),
        ("books.tar/b/one.txt", ["caf\xe9 was A."]),
    ]
    assert sorted(name for _, names in results for name in names) == [
        *("encoding_cp1252", "encoding_utf-8", "files", "files", "skipped_not_text")
    ]


def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path):
    (tmp_path / "books.tar").write_bytes(tar({"../a.txt": b"It was."}, "w"))
    config = check(BooksConfig, CONFIG, where="a test")
    with pytest.raises(ArchiveError, match=r"books.tar.*\.\./a.txt"):
        list(list_items([tmp_path / "books.tar"], config))


def test_chapters_are_named_by_file_and_number(tmp_path):
    (tmp_path / "b.txt").write_text(BODY)
    config = check(BooksConfig, CONFIG | {"chapters_are_documents": True}, where="a test")
    (item,) = list_items([tmp_path / "b.txt"], config)
    assert [name for name, _ in read_item(item, config)[0]] == ["b.txt#1", "b.txt#2"]
