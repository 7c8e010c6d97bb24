"""Bad data of GLUE: every guard names file and line, and what it leaves out is counted."""

import logging
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bert.tasks.config import task_module
from bert.tasks.glue_tsv import TableError
from tests.test_glue import config_of

HEADER = "index\tsentence1\tsentence2\tlabel\n"
ROWS = "0\tIt rains .\tRain falls .\tentailment\n1\tHe said .\tShe ran .\tnot_entailment\n"
STSB = "index\tsentence1\tsentence2\tscore\n"


def write(folder: Path, text: str | bytes, name: str = "dev.tsv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(file: Path, format: str = "rte", **changes: Any) -> Any:
    return task_module(format).read_examples([file], config_of(format, **changes), role="dev")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_carriage_returns_are_no_text(
    tmp_path: Path, mark: str, end: str
) -> None:
    examples, _ = read(write(tmp_path, (mark + HEADER + ROWS).replace("\n", end)))
    assert [(e.id, e.second, e.label) for e in examples] == [
        ("0", "Rain falls .", 0),
        ("1", "She ran .", 1),
    ]


def test_a_mark_before_a_file_without_header_is_no_text(tmp_path: Path) -> None:
    examples, _ = read(write(tmp_path, "\ufeffgj04\t1\t\tFine.\n"), "cola")
    assert [(e.first, e.label) for e in examples] == [("Fine.", 1)]


def test_quotation_marks_are_text_and_only_a_line_feed_ends_a_row(tmp_path: Path) -> None:
    row = '2\t"one\u2028two\x85\tthree "" four\rfive\tentailment\n'
    examples, _ = read(write(tmp_path, HEADER + ROWS + row))
    assert (examples[2].first, examples[2].second) == ('"one\u2028two\x85', 'three "" four\rfive')


def test_a_last_row_without_a_line_feed_is_read(tmp_path: Path) -> None:
    assert len(read(write(tmp_path, (HEADER + ROWS).rstrip("\n")))[0]) == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("2\tx\tentailment", r"dev\.tsv, line 4 has 3 columns; expected 4"),
        ("2\tx\ty\tz\tentailment", "line 4 has 5 columns"),
        ("", "line 4 has 1 columns"),
        ("2\tx\ty\tneutral", "the label is 'neutral'; expected one of entailment, not_entailment"),
        ("2\tx\ty\tnan", "the label is 'nan'"),
        ("2\tx\ty\t", "the label is ''"),
        ("2\tx\ty\tEntailment", "the label is 'Entailment'"),
        (" \tx\ty\tentailment", "line 4: the id is empty"),
        ("2\t\ty\tentailment", "line 4: the first sentence is empty"),
        ("2\tx\t \tentailment", "line 4: the second sentence is empty"),
        ("1\tx\ty\tentailment", r"the id '1' stands already in .*dev\.tsv, line 3"),
        ("2\tcaf\udce9\ty\tentailment", "line 4: 'utf-8' codec can't decode byte 0xe9"),
    ],
)
def test_a_bad_row_is_refused_with_its_line_or_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, row: str, message: str
) -> None:
    content = (HEADER + ROWS + row + "\n").encode("utf-8", "surrogateescape")
    file = write(tmp_path, content)
    with pytest.raises(TableError, match=message) as error:
        read(file)
    assert "1 of 3 rows" in str(error.value)
    with caplog.at_level(logging.WARNING):
        examples, counts = read(file, max_bad_share=0.4)
    assert [e.id for e in examples] == ["0", "1"]
    assert (counts["rows"], counts["bad_rows"], counts["examples"]) == (3, 1, 2)
    assert "Left out 1 of 3 rows" in caplog.text


def test_more_bad_rows_than_their_share_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path, HEADER + ROWS + "2\tx\n3\ty\n")
    with pytest.raises(TableError, match=r"2 of 4 rows .* share 0\.49 .*line 4 has 2 columns"):
        read(file, max_bad_share=0.49)
    assert read(file, max_bad_share=0.5)[1]["bad_rows"] == 2


def test_rows_keep_their_numbers_when_one_is_left_out(tmp_path: Path) -> None:
    file = write(tmp_path, "sentence\tlabel\ngood\t1\nbroken\nbad\t0\n")
    assert [e.id for e in read(file, "sst2", max_bad_share=0.5)[0]] == ["0", "2"]


@pytest.mark.parametrize("score", ["nan", "inf", "-0.1", "5.01", "", "four", "1,5"])
def test_a_score_off_the_scale_is_refused(tmp_path: Path, score: str) -> None:
    file = write(tmp_path, f"{STSB}0\tx\ty\t5.000\n1\tx\ty\t{score}\n")
    with pytest.raises(TableError, match=rf"line 3: the score is '{score}'; .* from 0 to 5"):
        read(file, "stsb")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"dev\.tsv is empty"),
        (HEADER, r"dev\.tsv has no row below its header"),
        (
            ROWS,
            r"line 1 is \['0', 'It rains .*lacks \['index', 'label', 'sentence1', 'sentence2'\]",
        ),
        ("index\tsentence1\tsentence2\n0\ta\tb\n", r"lacks \['label'\]"),
        ("index\tsentence1\tsentence1\tsentence2\tlabel\n", "names a column twice"),
        (b"\xff\xfei\x00n\x00", "line 1: 'utf-8' codec"),
    ],
)
def test_a_file_that_is_no_table_of_the_task_is_refused(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    with pytest.raises(TableError, match=message):
        read(write(tmp_path, text), max_bad_share=0.9)


def test_an_empty_file_without_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="has no row"):
        read(write(tmp_path, ""), "cola")


def test_a_file_with_not_one_usable_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="2 of 2 rows"):
        read(write(tmp_path, HEADER + "0\tx\n1\ty\n"), max_bad_share=0.99)


def test_a_split_is_known_by_its_file_name(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"has 0 files named 'dev.tsv' \(it has \['rte.tsv'\]\)"):
        read(write(tmp_path, HEADER + ROWS, "rte.tsv"))
    (tmp_path / "more").mkdir()
    files = [write(tmp_path, HEADER), write(tmp_path / "more", HEADER)]
    with pytest.raises(TableError, match="has 2 files named"):
        task_module("rte").read_examples(files, config_of("rte"), role="dev")


def test_a_zip_file_without_the_split_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "RTE.zip", "w") as archive:
        archive.writestr("RTE/train.tsv", HEADER + ROWS)
    with pytest.raises(TableError, match=r"RTE\.zip has 0 files named 'dev.tsv'"):
        read(tmp_path / "RTE.zip")


def test_a_broken_zip_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "whole.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("RTE/dev.tsv", HEADER + ROWS * 50)
    whole = (tmp_path / "whole.zip").read_bytes()
    place = 30 + len("RTE/dev.tsv") + 40  # in the middle of the member's data
    flipped = whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]
    for content in (whole[: len(whole) // 2], flipped, b"<html>404</html>"):
        with pytest.raises(TableError, match="is not a whole zip file"):
            read(write(tmp_path, content, "RTE.zip"), max_bad_share=0.99)
