import pytest

from bert.text.gutenberg import is_credit, strip_gutenberg

BODY = "A BOOK\n\nIt was *** the End of a project.\n\nThe Project Gutenberg is named.\n"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (
            "*** START OF THE PROJECT GUTENBERG EBOOK A ***",
            "*** END OF THE PROJECT GUTENBERG EBOOK A ***",
        ),
        (
            "***START OF THIS PROJECT GUTENBERG EBOOK A\nLONG TITLE***",
            "***END OF THIS PROJECT GUTENBERG EBOOK A",
        ),
        (
            "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
            "End of Project Gutenberg's A, by B",
        ),
        (
            "*** START OF THE PROJECT GUTENBERG ETEXT A ***",
            "End of The Project Gutenberg Etext of A",
        ),
    ],
)
def test_header_and_licence_of_every_age_are_cut_off(start, end):
    text = f"Licence.\n{start}\nText *** here.\n{end}\nLicence." + "\nMore." * 9
    found = ("gutenberg_headers", "gutenberg_footers")
    assert strip_gutenberg(text) == ("\nText *** here.\n", found)


def test_text_without_markers_is_left_alone():
    assert strip_gutenberg(BODY) == (BODY, ())


def test_a_single_marker_cuts_one_side():
    start = "*** START OF THE PROJECT GUTENBERG EBOOK A ***"
    assert strip_gutenberg(f"a\n{start}\nb") == ("\nb", ("gutenberg_headers",))
    assert strip_gutenberg("a\n*** END OF THE PROJECT GUTENBERG EBOOK A ***\nb") == (
        "a\n",
        ("gutenberg_footers",),
    )


@pytest.mark.parametrize(
    "line",
    ["Produced by A. B.", "E-text prepared by A", "This etext was prepared by A", "PRODUCED BY A"],
)
def test_who_made_the_file_is_recognised(line):
    assert is_credit(line)
    assert not is_credit(f"It was {line}")
