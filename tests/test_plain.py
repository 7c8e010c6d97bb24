import pytest

from bert.text.documents import TextFormatError
from bert.text.plain import extract_file


def extract(tmp_path, data):
    (tmp_path / "part").write_bytes(data)
    documents, counters = zip(*extract_file(tmp_path / "part"), strict=True)
    return [d for group in documents for d in group], [c for group in counters for c in group]


def test_documents_pass_through(tmp_path):
    data = b"One | {{is}} [[so]].\nTwo  spaces.\n\nMr.\n"
    assert extract(tmp_path, data) == (
        [["One | {{is}} [[so]].", "Two  spaces."], ["Mr."]],
        ["files"],
    )


def test_line_breaks_inside_a_sentence_become_spaces_and_are_counted(tmp_path):
    data = "One\u2028two\x0cthree.\nFour.\n\nFive\x85six.\n".encode()
    documents, counters = extract(tmp_path, data)
    assert documents == [["One two three.", "Four."], ["Five six."]]
    assert counters == ["files", "line_breaks_in_sentences", "line_breaks_in_sentences"]


@pytest.mark.parametrize("data", ["\ufeffOne.\n\nTwo.\n", "\ufeff\nOne.\n\nTwo.\n"])
def test_a_byte_order_mark_is_no_text(tmp_path, data):
    assert extract(tmp_path, data.encode())[0] == [["One."], ["Two."]]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_text_gives_no_document(tmp_path, data):
    assert extract(tmp_path, data) == ([], ["files"])


def test_text_that_is_no_utf8_is_refused(tmp_path):
    with pytest.raises(TextFormatError, match=r"part, line 2: .*expected UTF-8"):
        extract(tmp_path, b"One.\ncaf\xe9.\n")
