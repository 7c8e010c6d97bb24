import io

import pytest

from bert.text.documents import (
    DocumentWriter,
    TextFormatError,
    encode_document,
    encode_name,
    read_documents,
    write_documents,
)


def test_the_file_holds_one_sentence_a_line_and_one_blank_line_between_documents(tmp_path):
    path = tmp_path / "t"
    writer = write_documents(path, [["A b.", "C."], ["Ö \u4e2d."]])
    assert path.read_bytes() == "A b.\nC.\n\nÖ \u4e2d.\n".encode()
    assert (writer.documents, writer.sentences) == (2, 3)


def test_documents_that_are_written_are_read_back(tmp_path):
    documents = [["One."], ["Two.", "Three | <b>."], ["\u00e9t\u00e9"]]
    write_documents(tmp_path / "t", documents)
    assert list(read_documents(tmp_path / "t")) == documents


def test_nothing_written_reads_as_no_document(tmp_path):
    write_documents(tmp_path / "t", [])
    assert (tmp_path / "t").read_bytes() == b""
    assert list(read_documents(tmp_path / "t")) == []


def test_several_blank_lines_spaces_and_carriage_returns_count_as_one_blank_line(tmp_path):
    (tmp_path / "t").write_bytes(b"\n\nA.\r\n  B.  \r\n\r\n \t\n\nC.")
    assert list(read_documents(tmp_path / "t")) == [["A.", "B."], ["C."]]


def test_only_the_first_document_of_a_stream_has_no_blank_line_before_it():
    stream = io.BytesIO()
    writer = DocumentWriter(stream)
    writer.write(["A."])
    writer.write(["B."])
    assert stream.getvalue() == b"A.\n\nB.\n"
    assert encode_document(["B."], first=False) == b"\nB.\n"


def test_a_document_without_sentences_is_refused():
    with pytest.raises(TextFormatError, match="has no sentence; expected at least one"):
        encode_document([], first=True)


@pytest.mark.parametrize("bad", ["", " ", "a ", " a", "a\nb", "a\u2028b", "a\x0cb", "a\x85b"])
def test_what_is_no_single_line_is_refused_as_a_sentence(bad):
    with pytest.raises(TextFormatError, match="is not a sentence"):
        encode_document(["Good.", bad], first=True)


def test_bytes_that_are_no_utf8_are_refused_with_their_line(tmp_path):
    (tmp_path / "t").write_bytes(b"A.\nB.\ncaf\xe9\n")
    with pytest.raises(TextFormatError, match=r"t, line 3: .*0xe9.*Convert the file to UTF-8"):
        list(read_documents(tmp_path / "t"))


def test_a_name_is_one_line():
    assert encode_name("a/b c.txt#1") == b"a/b c.txt#1\n"
    assert encode_name("\u4e2d") == "\u4e2d\n".encode()


@pytest.mark.parametrize("bad", ["", " ", "a ", " a", "a\nb", "a\u2028b", "a\x0cb", "a\rb"])
def test_what_is_no_single_line_is_refused_as_a_name(bad):
    with pytest.raises(TextFormatError, match="is no name of a document"):
        encode_name(bad)
