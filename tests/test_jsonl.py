import gzip
import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bert.config import ConfigError, check
from bert.text.decoding import remove_invisible
from bert.text.extract import extract
from bert.text.jsonl import (
    BAD,
    COUNTS,
    BadLineError,
    JsonlConfig,
    JsonLinesError,
    check_counts,
    list_items,
    parse_line,
    read_item,
)
from bert.text.pieces import AFTER_LINE, cut_file

CONFIG = {
    "format": "jsonl",
    "raw": "web",
    "pattern": "*",
    "licence": "ODC-By-1.0",
    "text_key": "text",
    "id_key": None,
    "max_bad_share": 0.5,
}
GOOD = b'{"text": "It is so. He left.", "id": "d-1", "meta": {"text": [1, null]}}'


def config_of(**values):
    return check(JsonlConfig, CONFIG | values, where="a test")


def read(tmp_path, data, name="a.jsonl", **values):
    """Documents, and the counters that are not 0."""
    (tmp_path / name).write_bytes(data)
    config = config_of(**values)
    results = [read_item(item, config) for item in list_items([tmp_path / name], config)]
    counts = Counter(name for _, names in results for name in names)
    return [tuple(d) for found, _ in results for d in found], dict(counts)


def test_documents_are_named_by_file_and_line_or_by_id(tmp_path):
    data = b"\xef\xbb\xbf" + GOOD + b'\r\n\n{"id": 7, "text": "a\\nb.\\n\\nC."}'
    sentences = [["It is so.", "He left."], ["a b.", "C."]]
    documents, counts = read(tmp_path, data)
    assert documents == [("a.jsonl:1", sentences[0]), ("a.jsonl:3", sentences[1])]
    assert counts == {"files": 1, "lines": 2, "blank_lines": 1}
    documents, _ = read(tmp_path, data, id_key="id")
    assert documents == [("d-1", sentences[0]), ("7", sentences[1])]


@pytest.mark.parametrize(
    ("line", "kind", "problem"),
    [
        (b'{"text": "caf\xe9"}', "bad_encoding", "is not UTF-8"),
        (b'{"text": "a"', "bad_json", "is not JSON"),
        (b'{"text": "a\nb"}', "bad_json", "is not JSON"),
        (b"<html>", "bad_json", "is not JSON"),
        (b'\0{"text": "a"}', "bad_json", "is not JSON"),
        (b"[" * 100_000, "bad_json", "is not JSON"),
        (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "bad_json", "is not JSON"),
        (b'["text"]', "bad_not_an_object", "holds a list; expected an object"),
        (b'"text"', "bad_not_an_object", "holds text; expected"),
        (b"null", "bad_not_an_object", "holds null; expected"),
        (b'{"text": "a", "text": "b"}', "bad_duplicate_key", "a key twice"),
        (b'{"Text": "a"}', "bad_missing_key", r"has no key 'text' \(it has 'Text'\)"),
        (b"{}", "bad_missing_key", r"has no key 'text' \(it has none\)"),
        (b'{"text": null}', "bad_type", "has null as 'text'; expected text"),
        (b'{"text": ["a"]}', "bad_type", "has a list as 'text'"),
        (b'{"text": 1.5}', "bad_type", "has a number as 'text'"),
    ],
)
def test_what_is_wrong_with_a_line_is_told_and_counted(tmp_path, line, kind, problem):
    with pytest.raises(BadLineError, match=problem) as caught:
        parse_line(line, config_of())
    assert caught.value.kind == kind
    documents, counts = read(tmp_path, GOOD + b"\n" + line.replace(b"\n", b"\r") + b"\n" + GOOD)
    assert [name for name, _ in documents] == ["a.jsonl:1", "a.jsonl:3"]
    assert counts == {"files": 1, "lines": 3, kind: 1}


@pytest.mark.parametrize("text", ["", " \\n\\t", "\\u0000\\u200b", "\\ud800"])
def test_an_empty_text_is_counted(tmp_path, text):
    documents, counts = read(tmp_path, b'{"text": "%s"}\n' % text.encode())
    assert documents == []
    assert counts["bad_empty"] == 1


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"text": "a"}', "bad_missing_key"),
        (b'{"text": "a", "id": true}', "bad_type"),
        (b'{"text": "a", "id": null}', "bad_type"),
        (b'{"text": "a", "id": 1.0}', "bad_type"),
        (b'{"text": "a", "id": " "}', "bad_empty"),
    ],
)
def test_a_line_without_a_name_is_bad_where_names_are_asked_for(tmp_path, line, kind):
    documents, counts = read(tmp_path, line, id_key="id")
    assert (documents, counts[kind]) == ([], 1)


def test_half_a_surrogate_pair_is_dropped_and_counted_and_a_whole_one_stays(tmp_path):
    data = b'{"text": "a\\ud83d b\\ude00 c\\ud83d\\ude00"}'
    documents, counts = read(tmp_path, data)
    assert documents == [("a.jsonl:1", ["a b c\U0001f600"])]
    assert counts["lone_surrogates"] == 1


@pytest.mark.parametrize(
    ("name", "pack"), [("a.jsonl.gz", gzip.compress), ("a.jsonl.zst", zstandard.compress)]
)
def test_compressed_files_are_read_like_plain_ones(tmp_path, name, pack):
    line = b'{"text": "It is %d.", "id": %d, "more": "' + b"x" * 4000 + b'"}'
    data = b"\n".join(line % (n, n) for n in range(1500))
    plain, counts = read(tmp_path, data, "a.jsonl", id_key="id")
    packed, packed_counts = read(tmp_path, pack(data), name, id_key="id")
    assert len(plain) == 1500
    assert (packed, packed_counts) == (plain, counts)


# The share of bad lines


def run(folder, data, workers=1, **values):
    (folder / "a.jsonl").write_bytes(data)
    return extract(config_of(**values), [folder / "a.jsonl"], folder, workers=workers)


PADDED = GOOD + b" " * 4000
LINES = [PADDED + b'\n{"text": 1}\n' + PADDED + b"\n{}\n"] * 400
FIRST_BAD = r"The first: a.jsonl, line 2, has a number as 'text'; expected text\. Mend"


@pytest.mark.parametrize("workers", [1, 2])
def test_the_share_of_bad_lines_is_that_of_all_workers(tmp_path, workers):
    counts = run(tmp_path, b"".join(LINES), workers, max_bad_share=0.5)
    assert (counts["lines"], counts["documents"]) == (1600, 800)
    assert {kind: counts[kind] for kind in BAD if counts[kind]} == {
        "bad_missing_key": 400,
        "bad_type": 400,
    }
    message = (
        r"801 of 1601 lines of 'web' are bad \(bad_json 1, bad_missing_key 400, bad_type "
        r"400\), more than max_bad_share 0.5 allows\. " + FIRST_BAD
    )
    with pytest.raises(JsonLinesError, match=message):
        run(tmp_path, b"".join([*LINES, b"x\n"]), workers, max_bad_share=0.5)


def test_no_bad_line_is_allowed_where_the_share_is_0(tmp_path):
    assert run(tmp_path, GOOD, max_bad_share=0.0)["documents"] == 1
    with pytest.raises(JsonLinesError, match=r"line 2, has an empty 'text'; expected text\. Mend"):
        run(tmp_path, GOOD + b'\n{"text": " "}\n', max_bad_share=0.0)


def test_files_that_were_mended_meanwhile_are_told(tmp_path):
    (tmp_path / "a").write_bytes(GOOD)
    counts = dict.fromkeys(COUNTS, 0) | {"lines": 1, "bad_json": 1}
    with pytest.raises(JsonLinesError, match="none is left; the files have changed"):
        check_counts(counts, [tmp_path / "a"], config_of())


# Laws


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(
            st.builds(
                lambda text: json.dumps({"text": text}).encode(),
                st.text(alphabet="ab. \n\r\t\x00\u0301\u05d0\u4e16\u3002\u2028\ud800", max_size=20),
            ),
            st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"")),
        ),
        max_size=12,
    ),
    st.integers(1, 60),
)
def test_every_line_is_a_document_or_is_counted_wherever_a_file_is_cut(lines, piece_bytes):
    config = config_of()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "f"
        path.write_bytes(b"\n".join(lines))
        cut = cut_file(path, "f", ends=AFTER_LINE, piece_bytes=piece_bytes)
        results = [read_item(item, config) for item in cut]
        whole = [read_item(item, config) for item in list_items([path], config)]
    documents = [d for found, _ in results for d in found]
    counts = Counter(name for _, names in results for name in names)
    assert documents == [d for found, _ in whole for d in found]
    assert counts == Counter(name for _, names in whole for name in names)
    assert counts["lines"] == len(documents) + sum(counts[kind] for kind in BAD)
    for name, sentences in documents:
        text = json.loads(lines[int(name.removeprefix("f:")) - 1])["text"].replace("\ud800", "")
        assert "".join("".join(sentences).split()) == "".join(remove_invisible(text).split())


@pytest.mark.parametrize("values", [{"max_bad_share": 1.5}, {"text_key": ""}, {"id_key": ""}])
def test_wrong_knobs_are_refused(values):
    with pytest.raises(ConfigError):
        config_of(**values)
