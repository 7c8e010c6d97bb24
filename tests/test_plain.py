from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import check
from bert.text.decoding import DecodingError
from bert.text.documents import encode_document
from bert.text.pieces import AFTER_BLANK_LINE, cut_file
from bert.text.plain import Results4Config, list_items, read_item

CONFIG = {"format": "results4", "raw": "a", "pattern": "*", "licence": "CC0-1.0"}


def extract(tmp_path, data):
    (tmp_path / "part").write_bytes(data)
    config = check(Results4Config, CONFIG, where="a test")
    (item,) = list_items([tmp_path / "part"], config)
    documents, counters = read_item(item, config)
    return [document.sentences for document in documents], list(counters)


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
    with pytest.raises(DecodingError, match=r"part, line 2: .*expected UTF-8"):
        extract(tmp_path, b"One.\ncaf\xe9.\n")


def test_documents_are_named_by_file_and_line(tmp_path):
    (tmp_path / "part").write_bytes(b"\xef\xbb\xbfA.\nB.\n\n\n \nC.\r\n\r\nD.")
    config = check(Results4Config, CONFIG, where="a test")
    (item,) = list_items([tmp_path / "part"], config)
    documents, _ = read_item(item, config)
    assert documents == [("part:1", ["A.", "B."]), ("part:6", ["C."]), ("part:8", ["D."])]


line = st.text(st.characters(codec="utf-8", exclude_categories=["Zl", "Zp", "Cc"]), max_size=8)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(line.filter(str.strip), min_size=1, max_size=4), max_size=12), st.data())
def test_a_folder_in_the_text_format_comes_back_byte_for_byte(documents, data):
    documents = [[s.strip("\ufeff ").strip() or "x" for s in d] for d in documents]
    text = b"".join(encode_document(d, first=n == 0) for n, d in enumerate(documents))
    piece_bytes = data.draw(st.integers(1, 80))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "part"
        path.write_bytes(text)
        config = check(Results4Config, CONFIG, where="a test")
        items = cut_file(path, "part", ends=AFTER_BLANK_LINE, piece_bytes=piece_bytes)
        results = [read_item(item, config) for item in items]
    read = [document for found, _ in results for document in found]
    assert [document.sentences for document in read] == documents
    assert [counter for _, found in results for counter in found] == ["files"]
    lines = text.decode().split("\n")
    for document in read:
        assert lines[int(document.name.removeprefix("part:")) - 1] == document.sentences[0]
