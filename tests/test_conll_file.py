"""Files in the style of CoNLL-2003 are read whole, or refused with file and line."""

from pathlib import Path

import pytest

from bert.tasks.conll_file import Columns, ConllError, ConllExample, read_conll

COLUMNS = Columns(0, 3, "iob1", ("PER", "ORG", "LOC", "MISC"))
TEXT = """-DOCSTART- -X- -X- O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
Dutch JJ I-NP B-MISC
. . O O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- O O

BRUSSELS NNP I-NP I-LOC
"""
EXAMPLES = [
    ConllExample(
        "1",
        ("EU", "rejects", "German", "Dutch", "."),
        ("B-ORG", "O", "B-MISC", "B-MISC", "O"),
    ),
    ConllExample("2", ("Peter", "Blackburn"), ("B-PER", "I-PER")),
    ConllExample("3", ("BRUSSELS",), ("B-LOC",)),
]
COUNTS = {"documents": 2, "sentences": 3, "words": 8}


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode("utf-8"))
    return path


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("between", [" ", "\t", "  "], ids=["space", "tab", "spaces"])
def test_marks_line_ends_and_separators_do_not_matter(
    tmp_path: Path, mark: str, end: str, between: str
) -> None:
    text = mark + TEXT.replace(" ", between).replace("\n", end)
    assert read_conll([write(tmp_path / "eng.train", text)], COLUMNS) == (EXAMPLES, COUNTS)


@pytest.mark.parametrize(
    "text",
    [TEXT.rstrip("\n"), TEXT + "\n\n \t\n", TEXT.replace("\n\n-DOC", "\n-DOC"), "\n" + TEXT],
    ids=["no last line feed", "blank lines at the end", "no blank before a document", "at start"],
)
def test_blank_lines_only_part_sentences(tmp_path: Path, text: str) -> None:
    assert read_conll([write(tmp_path / "eng.train", text)], COLUMNS) == (EXAMPLES, COUNTS)


def test_sentences_of_several_files_are_numbered_on(tmp_path: Path) -> None:
    files = [write(tmp_path / name, TEXT) for name in ("a", "b")]
    examples, counts = read_conll(files, COLUMNS)
    assert [e.id for e in examples] == ["1", "2", "3", "4", "5", "6"]
    assert counts == {name: 2 * count for name, count in COUNTS.items()}


def test_other_white_space_is_part_of_a_word(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "10\u00a0000 O\nline\u2028two O\n\n-- O\n")
    examples, _ = read_conll([file], COLUMNS._replace(tag=1))
    assert [e.words for e in examples] == [("10\u00a0000", "line\u2028two"), ("--",)]
    file = write(tmp_path / "b", "New York\tI-LOC\n")
    examples, _ = read_conll([file], COLUMNS._replace(tag=1))
    assert examples[0].words == ("New York",)


def test_any_columns_can_hold_word_and_tag(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "1 B-LOC x Rome\n2 I-LOC y Termini\n")
    examples, _ = read_conll([file], Columns(3, 1, "bio", ("LOC",)))
    assert examples == [ConllExample("1", ("Rome", "Termini"), ("B-LOC", "I-LOC"))]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a x y O\nb x O\n", r"eng, line 2 has 3 columns, the first sentence's first line 4"),
        ("a x y O\n\nb x y O z\n", "line 3 has 5 columns"),
        ("a O\n", r"line 1 has 2 columns; expected a word in column 0 and a tag in column 3"),
        ("a x y I-DATE\n", "line 1: the tag is 'I-DATE'; expected O, .* of PER, ORG, LOC, MISC"),
        ("a x y o\n", "line 1: the tag is 'o'"),
        ("a x y B\n", "line 1: the tag is 'B'"),
        ("a x y I-PER\nb x y O\nc x y B-PER\n", "line 3: the tag B-PER follows O; in scheme iob1"),
        ("\tx\ty\tO\n", "line 1: the first column is empty"),
        ("", "eng has no sentence"),
        ("\n\n", "eng has no sentence"),
        ("-DOCSTART- -X- -X- O\n", "eng has no sentence"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConllError, match=message):
        read_conll([write(tmp_path / "eng", text)], COLUMNS)


def test_an_entity_does_not_go_on_in_the_next_sentence(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "Rome x y B-LOC\n\nTermini x y I-LOC\n")
    with pytest.raises(ConllError, match=r"line 3: the tag I-LOC follows O; .* iob1"):
        read_conll([file], COLUMNS._replace(scheme="bio"))


def test_an_empty_word_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "a", "1\t\tO\n")
    with pytest.raises(ConllError, match="line 1: the word is empty"):
        read_conll([file], Columns(1, 2, "bio", ("LOC",)))


def test_one_empty_file_of_two_is_refused(tmp_path: Path) -> None:
    files = [write(tmp_path / "a", TEXT), write(tmp_path / "b", "")]
    with pytest.raises(ConllError, match="b has no sentence"):
        read_conll(files, COLUMNS)


def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "deu.train"
    file.write_bytes("a x y O\n\nBär x y O\n".encode("latin-1"))
    with pytest.raises(ConllError, match=r"deu\.train, line 3: 'utf-8' codec"):
        read_conll([file], COLUMNS)
