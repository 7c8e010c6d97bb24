import json

import pytest

from bert.data.work_folder import finish_units, work_folder
from bert.manifest import atomic_file


def write_unit(unit, folder):
    """Writes a file, and a mark outside that tells that it was run; `None` fails."""
    text, marks = unit
    if text is None:
        raise OSError("the disk is full")
    file = folder / f"{text}.txt"
    with atomic_file(file) as temporary:
        temporary.write_text(text)
    with (marks / text).open("a") as mark:
        mark.write("x")
    return [file], {"length": len(text)}


def run(output, marks, texts, *, identity=1, workers=1):
    marks.mkdir(exist_ok=True)
    with work_folder(output, identity) as folder:
        units = {str(n): (text, marks) for n, text in enumerate(texts)}
        return finish_units(folder, units, write_unit, workers=workers)


def times(marks):
    return {mark.name: len(mark.read_text()) for mark in marks.iterdir()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_all_units_are_done_once_and_only_their_files_are_left(tmp_path):
    results = run(tmp_path / "out", tmp_path / "marks", ["a", "bb"])

    assert results == [{"length": 1}, {"length": 2}]
    assert names(tmp_path) == ["marks", "out"]
    assert names(tmp_path / "out") == ["a.txt", "bb.txt"]


def test_after_a_failure_only_what_is_missing_is_done(tmp_path):
    out, marks = tmp_path / "out", tmp_path / "marks"
    with pytest.raises(OSError, match="disk is full"):
        run(out, marks, ["a", "bb", None, "ccc"])
    assert not out.exists()

    results = run(out, marks, ["a", "bb", "dddd", "ccc"])

    assert [result["length"] for result in results] == [1, 2, 4, 3]
    assert times(marks) == {"a": 1, "bb": 1, "dddd": 1, "ccc": 1}
    assert names(tmp_path) == ["marks", "out"]


@pytest.mark.parametrize("damage", ["change", "delete", "receipt"])
def test_a_unit_that_is_not_whole_is_done_again(tmp_path, damage):
    out, marks = tmp_path / "out", tmp_path / "marks"
    with pytest.raises(OSError, match="disk is full"):
        run(out, marks, ["a", "bb", None])
    (work,) = tmp_path.glob(".out.*.work")
    if damage == "change":
        (work / "a.txt").write_text("b")
    elif damage == "delete":
        (work / "a.txt").unlink()
    else:
        (work / ".receipts" / "0.json").unlink()

    run(out, marks, ["a", "bb", "c"])

    assert times(marks) == {"a": 2, "bb": 1, "c": 1}
    assert (out / "a.txt").read_text() == "a"


def test_work_of_another_identity_is_thrown_away(tmp_path):
    out, marks = tmp_path / "out", tmp_path / "marks"
    with pytest.raises(OSError, match="disk is full"):
        run(out, marks, ["a", None], identity={"seed": 1})

    run(out, marks, ["a", "b"], identity={"seed": 2})

    assert times(marks) == {"a": 2, "b": 1}
    assert names(tmp_path) == ["marks", "out"]


def test_rests_of_a_killed_unit_do_not_get_into_the_output(tmp_path):
    out, marks = tmp_path / "out", tmp_path / "marks"
    with pytest.raises(OSError, match="disk is full"):
        run(out, marks, ["a", None])
    (work,) = tmp_path.glob(".out.*.work")
    (work / ".b.txt.tmp").write_text("half")

    run(out, marks, ["a", "c"])

    assert names(out) == ["a.txt", "c.txt"]


def test_an_output_that_is_there_is_replaced_as_a_whole(tmp_path):
    out, marks = tmp_path / "out", tmp_path / "marks"
    run(out, marks, ["a", "b"])

    run(out, marks, ["c"])

    assert names(out) == ["c.txt"]


def test_receipts_hold_plain_data(tmp_path):
    with pytest.raises(OSError, match="disk is full"):
        run(tmp_path / "out", tmp_path / "marks", ["a", None])

    (receipt,) = tmp_path.glob(".out.*.work/.receipts/*.json")
    assert json.loads(receipt.read_text())["result"] == {"length": 1}
