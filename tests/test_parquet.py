from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import ConfigError, check
from bert.text import parquet
from bert.text.extract import extract
from bert.text.parquet import ParquetConfig, ParquetError, list_items, read_item

CONFIG = {
    "format": "parquet",
    "raw": "a",
    "pattern": "*.parquet",
    "licence": "CC-BY-SA-3.0",
    "text_column": "text",
    "id_column": "id",
}
ROWS = {
    "id": ["12", "13", "14", "15"],
    "url": ["u"] * 4,
    "title": ["A", "B", "C", "D"],
    "text": ["A (; born 1942) is one. He left.\n\nHistory\nIt was so.", None, "Left", "D is so."],
}


def config_of(**values):
    return check(ParquetConfig, CONFIG | values, where="a test")


def write(path, columns=ROWS, rows=2):
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def read(path, config):
    items = list(list_items([path], config))
    results = [read_item(item, config) for item in items]
    counts = Counter(name for _, names in results for name in names)
    return [tuple(d) for found, _ in results for d in found], dict(counts)


SENTENCES = [["A (born 1942) is one.", "He left.", "It was so."], ["D is so."]]


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_rows_become_documents_named_by_their_id(tmp_path, rows):
    documents, counts = read(write(tmp_path / "a.parquet", rows=rows), config_of())
    assert documents == [("12", SENTENCES[0]), ("15", SENTENCES[1])]
    assert counts == {"files": 1, "rows": 4, "skipped_null": 1, "skipped_empty": 1}


def test_rows_without_an_id_are_named_by_file_and_row(tmp_path):
    path = write(tmp_path / "a.parquet", rows=3)
    assert [n for n, _ in read(path, config_of(id_column=None))[0]] == [
        "a.parquet:0",
        "a.parquet:3",
    ]
    columns = ROWS | {"id": pa.array([None, 1, 2, 1 << 60])}
    assert [n for n, _ in read(write(path, columns), config_of())[0]] == [
        "a.parquet:0",
        str(1 << 60),
    ]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_other_names_and_kinds_of_columns_are_read(tmp_path, kind):
    path = write(tmp_path / "a.parquet", {"body": pa.array(["It is so."], kind), "n": [7]})
    documents, _ = read(path, config_of(text_column="body", id_column="n"))
    assert documents == [("7", ["It is so."])]


def test_a_file_without_rows_has_no_document(tmp_path):
    path = write(
        tmp_path / "a.parquet", {"id": pa.array([], "string"), "text": pa.array([], "string")}
    )
    assert read(path, config_of()) == ([], {"files": 1})


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(st.text(alphabet="ab. \n\u4e16", max_size=12) | st.none(), min_size=1, max_size=30),
    st.integers(1, 8),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_documents_do_not_depend_on_row_groups_or_how_they_are_cut(texts, rows, item, largest):
    columns = {"id": list(map(str, range(len(texts)))), "text": pa.array(texts, pa.string())}
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = write(Path(folder) / "a.parquet", columns, len(texts))
        whole = read(path, config_of())
        patch.setattr(parquet, "_ITEM_BYTES", item)
        patch.setattr(parquet, "_LARGEST_GROUP", largest)
        patch.setattr(parquet, "_ROWS_AT_ONCE", 2)
        assert read(write(path, columns, rows), config_of()) == whole
    documents, counts = whole
    skipped = counts.get("skipped_null", 0) + counts.get("skipped_empty", 0)
    assert len(documents) + skipped == counts["rows"] == len(texts)


def test_items_are_small_whether_row_groups_are_small_or_large(tmp_path):
    text = "It is a line of text that goes on and on. %d" + " And on." * 500
    columns = {"text": [text % n for n in range(6000)]}
    config = config_of(id_column=None)
    for rows, carried in ((100, False), (6000, True)):
        path = write(tmp_path / "a.parquet", columns, rows)
        items = list(list_items([path], config))
        assert len(items) > 8
        assert max(item.size for item in items) < 3 << 20
        assert {item.rows is not None for item in items} == {carried}


def test_the_bytes_do_not_depend_on_the_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_LARGEST_GROUP", 3 << 20)
    texts = [f"It is row {n}. " + "x" * 4000 for n in range(2000)]
    write(tmp_path / "a.parquet", {"text": texts[:1000]}, 100)
    write(tmp_path / "b.parquet", {"text": texts[1000:]}, 1000)  # one large row group
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    outputs = []
    for workers in (1, 2):
        counts = extract(config_of(id_column=None), files, tmp_path, workers=workers)
        written = [(tmp_path / name).read_bytes() for name in ("documents.txt", "names.txt")]
        outputs.append((counts, written))
    assert outputs[0] == outputs[1]
    assert outputs[0][0]["documents"] == outputs[0][0]["rows"] == 2000


# Guards


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"text_column": "Text"}, r"has no column 'Text' \(it has id, url, title, text\).*`text_c"),
        ({"id_column": "page"}, r"has no column 'page'.*correct `id_column`"),
        ({"text_column": "n"}, "column 'n' holds int64; expected text. Correct"),
        ({"id_column": "f"}, "column 'f' holds double; expected text or whole numbers"),
    ],
)
def test_wrong_columns_are_refused(tmp_path, values, problem):
    columns = ROWS | (
        {"n": [1] * 4, "f": [0.5] * 4} if "int" in problem or "dou" in problem else {}
    )
    with pytest.raises(ParquetError, match=problem):
        read(write(tmp_path / "a.parquet", columns), config_of(**values))


def test_files_that_are_no_whole_parquet_are_refused(tmp_path):
    path = write(tmp_path / "a.parquet")
    data = path.read_bytes()
    for damaged in (b"", b"<html>", data[:-20], data[:200]):
        path.write_bytes(damaged)
        with pytest.raises(ParquetError, match=r"a.parquet is no whole Parquet file.*Fetch it"):
            read(path, config_of())


def test_text_that_is_no_utf8_is_refused(tmp_path):
    bad = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xff")]
    )
    path = write(tmp_path / "a.parquet", {"id": ["1"], "text": bad})
    with pytest.raises(ParquetError, match="utf-8"):
        read(path, config_of())


def test_a_missing_file_is_not_taken_for_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.parquet", config_of())


@pytest.mark.parametrize("values", [{"text_column": ""}, {"id_column": ""}, {"columns": []}])
def test_wrong_knobs_are_refused(values):
    with pytest.raises(ConfigError):
        config_of(**values)
