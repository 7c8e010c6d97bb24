from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import ConfigError, check
from bert.text.decoding import DecodingError, remove_invisible
from bert.text.extract import extract
from bert.text.pieces import AFTER_ANY_BLANK_LINE, AFTER_ANY_LINE, cut_file
from bert.text.textfiles import TextConfig, list_items, read_item

CONFIG = {
    "format": "text",
    "raw": "a",
    "pattern": "*",
    "licence": "CC0-1.0",
    "documents": "file",
    "sentences": "split",
}
# Odd white space, controls, a surrogate pair in UTF-16, combining marks, both directions, CJK.
ODD = "ab.!? \t\x00\x0b\x0c\x1c\x85\u2028\xa0\u0301e\u05d0\u202e\ufeff\u4e16\u3002\U0001f600"


def config_of(**values):
    return check(TextConfig, CONFIG | values, where="a test")


def read(tmp_path, contents, **values):
    """Documents by name, and the counters, of files by name."""
    for name, data in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    config = config_of(**values)
    files = [tmp_path / name for name in contents]
    results = [read_item(item, config) for item in list_items(files, config)]
    documents = [tuple(d) for found, _ in results for d in found]
    return documents, [name for _, names in results for name in names]


# Whole files


def test_a_file_is_a_document_named_by_its_path(tmp_path):
    contents = {
        "x/a.txt": b"It is so. He\nleft us.\n\nThe end.",
        "x/y/b.txt": "Caf\xe9.".encode("cp1252"),
        "x/c": b" \n",
    }
    documents, counters = read(tmp_path, contents)
    assert documents == [
        ("a.txt", ["It is so.", "He left us.", "The end."]),
        ("y/b.txt", ["Caf\xe9."]),
    ]
    assert sorted(counters) == [
        *("encoding_cp1252", "encoding_utf-8", "encoding_utf-8"),
        *("files", "files", "files", "skipped_empty"),
    ]


def test_lines_are_paragraphs_where_they_end_like_sentences(tmp_path):
    documents, _ = read(tmp_path, {"a": b"One went home.\nTwo stayed\nThree left.\nSo.\nIt is.\n"})
    assert documents[0][1] == ["One went home.", "Two stayed", "Three left.", "So.", "It is."]


def test_each_line_can_be_a_sentence(tmp_path):
    data = b"mr . smith left . he ran\r\n\r\n  and ran  \rto \xe2\x80\x8bsea"
    documents, _ = read(tmp_path, {"a": data}, sentences="line")
    assert documents == [("a", ["mr . smith left . he ran", "and ran", "to sea"])]


def test_a_binary_file_is_refused(tmp_path):
    with pytest.raises(DecodingError, match=r"a\.txt is no text"):
        read(tmp_path, {"a.txt": b"\x89PNG\x00\x00"})


# Many documents in a file


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_blank_lines_separate_documents_named_by_file_and_line(tmp_path, end):
    data = b"\n\nA is. B\nis.\n \t\n\n\nC is.\n".replace(b"\n", end)
    documents, counters = read(tmp_path, {"a": data}, documents="blank_line")
    assert documents == [("a:3", ["A is.", "B is."]), ("a:8", ["C is."])]
    assert counters == ["files"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_line_is_a_document_and_blank_lines_are_counted(tmp_path, end):
    data = b"\xef\xbb\xbfA is. B is.\n\nC is.".replace(b"\n", end)
    documents, counters = read(tmp_path, {"a": data}, documents="line")
    assert documents == [("a:1", ["A is.", "B is."]), ("a:3", ["C is."])]
    assert counters == ["files", "skipped_empty"]


@pytest.mark.parametrize("documents", ["line", "blank_line"])
def test_text_that_is_no_utf8_is_refused_with_its_line(tmp_path, documents):
    data = (b"A" * 4000 + b"\n\n") * 800 + b"caf\xe9.\n"
    with pytest.raises(DecodingError, match=r"a, line 1601: .*expected UTF-8"):
        read(tmp_path, {"a": data}, documents=documents)


@pytest.mark.parametrize("documents", ["file", "line", "blank_line"])
def test_an_empty_file_is_counted_and_has_no_document(tmp_path, documents):
    found, counters = read(tmp_path, {"a": b"", "b": b"\xef\xbb\xbf"}, documents=documents)
    assert found == []
    assert counters.count("files") == 2


def test_a_file_of_65536_documents_is_read(tmp_path):
    data = b"".join(b"Document %d is here.\n\n" % n for n in range(65_536))
    documents, _ = read(tmp_path, {"a": data}, documents="blank_line")
    assert len({name for name, _ in documents}) == 65_536
    assert documents[-1] == ("a:131071", ["Document 65535 is here."])


@pytest.mark.parametrize("documents", ["file", "line"])
def test_a_line_of_ten_megabytes_is_read(tmp_path, documents):
    data = b"It was a line without an end. " * 350_000
    (found,), _ = read(tmp_path, {"a": data}, documents=documents)
    assert found[1] == ["It was a line without an end."] * 350_000


# Laws


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.text(alphabet=ODD + "\r\n\n", max_size=120),
    st.sampled_from(["line", "blank_line"]),
    st.sampled_from(["split", "line"]),
    st.integers(1, 50),
)
def test_documents_do_not_depend_on_where_a_file_is_cut(text, documents, sentences, piece_bytes):
    config = config_of(documents=documents, sentences=sentences)
    ends = AFTER_ANY_LINE if documents == "line" else AFTER_ANY_BLANK_LINE
    with TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        path.write_bytes(text.encode())
        results = [
            [read_item(item, config) for item in cut_file(path, "f", ends=ends, piece_bytes=size)]
            for size in (piece_bytes, 1 << 20)
        ]
    cut, whole = ([d for found, _ in result for d in found] for result in results)
    assert cut == whole
    cut, whole = (sorted(c for _, names in result for c in names) for result in results)
    assert cut == whole


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.text(alphabet=ODD + "\r\n", max_size=120).filter(lambda t: "\0" not in t),
    st.sampled_from(["file", "line", "blank_line"]),
    st.sampled_from(["split", "line"]),
)
def test_no_character_that_shows_is_lost_added_or_moved(text, documents, sentences):
    with TemporaryDirectory() as folder:
        found, _ = read(
            Path(folder), {"f": text.encode()}, documents=documents, sentences=sentences
        )
    lines = [sentence for _, document in found for sentence in document]
    assert "".join("".join(lines).split()) == "".join(remove_invisible(text).split())
    assert all(s == " ".join(s.split()) != "" for s in lines)


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path):
    line = b"It is line %d. " + b"x" * 4000 + b"\r\n\r\n"
    (tmp_path / "f.txt").write_bytes(b"".join(line % n for n in range(1500)))
    (tmp_path / "g.txt").write_bytes(b"One more is here.")
    files = [tmp_path / "f.txt", tmp_path / "g.txt"]
    outputs = []
    for workers in (1, 3):
        config = config_of(documents="blank_line")
        counts = extract(config, files, tmp_path, workers=workers)
        written = [(tmp_path / name).read_bytes() for name in ("documents.txt", "names.txt")]
        outputs.append((counts, written))
    assert outputs[0] == outputs[1]
    assert outputs[0][0]["documents"] == 1501
    assert outputs[0][1][1].endswith(b"f.txt:2999\ng.txt:1\n")


def test_items_of_a_large_file_are_small(tmp_path):
    (tmp_path / "f").write_bytes(b"It is a line.\n" * 700_000)
    items = list(list_items([tmp_path / "f"], config_of(documents="line")))
    assert len(items) > 3
    assert max(item.size for item in items) < 3 << 20


@pytest.mark.parametrize(
    "values", [{"documents": "page"}, {"sentences": None}, {"licence": ""}, {"encoding": "utf-8"}]
)
def test_wrong_knobs_are_refused(values):
    with pytest.raises(ConfigError):
        config_of(**values)
