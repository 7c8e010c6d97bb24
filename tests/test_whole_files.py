"""Files and folders that appear only when they are whole."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bert.manifest import (
    atomic_directory,
    atomic_file,
    write_json,
)
from tests.dying import StopError

# Whole files


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "f"
    with atomic_file(target) as temporary:
        temporary.write_text("text")
        assert not target.exists()
        assert temporary.parent == target.parent
    assert target.read_text() == "text"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("old")

    def write() -> None:
        with atomic_file(tmp_path / "f") as temporary:
            temporary.write_text("half")
            raise StopError

    with pytest.raises(StopError):
        write()
    assert (tmp_path / "f").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "f"]


def test_a_writer_that_writes_nothing_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "f"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_never_part_of_the_next(tmp_path: Path) -> None:
    (tmp_path / ".f.tmp").write_text("left over")
    with atomic_file(tmp_path / "f") as temporary:
        assert not temporary.exists()
        temporary.write_text("new")
    (tmp_path / ".d.tmp").mkdir()
    (tmp_path / ".d.tmp" / "left").touch()
    (tmp_path / ".d.old").mkdir()
    with atomic_directory(tmp_path / "d") as folder:
        assert list(folder.iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d", "f"]


def test_a_folder_appears_only_when_it_is_whole_and_replaces_the_old(tmp_path: Path) -> None:
    target = tmp_path / "d"
    target.mkdir()
    (target / "old").touch()
    with atomic_directory(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "new").write_text("new")
        assert (target / "old").exists()
    assert [p.relative_to(target).as_posix() for p in sorted(target.rglob("*"))] == [
        "sub",
        "sub/new",
    ]
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_folder_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "old").touch()

    def write() -> None:
        with atomic_directory(tmp_path / "d") as folder:
            (folder / "half").touch()
            raise StopError

    with pytest.raises(StopError):
        write()
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [tmp_path / "d"]


def run_and_die(write: Callable[[], None], event_number: int) -> bool:
    """Runs `write` in a child that is killed before its n-th file operation; True if it was."""
    watched = {"open", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}
    child = os.fork()
    if child == 0:
        left = iter(range(event_number, -1, -1))

        def die(event: str, _: tuple[object, ...]) -> None:
            if event in watched and next(left, 0) == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(die)
        write()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_a_kill_at_any_file_operation_leaves_one_whole_folder_or_none(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_directory(tmp_path / "d") as folder:
            for name in ("a", "b", "c"):
                (folder / name).write_text("new")

    seen = set()
    for event_number in range(200):
        shutil.rmtree(tmp_path / "d", ignore_errors=True)
        (tmp_path / "d").mkdir()
        for name in ("a", "b", "c"):
            (tmp_path / "d" / name).write_text("old")
        killed = run_and_die(write, event_number)
        seen.add("".join(sorted(p.read_text() for p in (tmp_path / "d").glob("*"))))
        if not killed:
            break
    assert event_number > 10
    assert seen == {"oldoldold", "", "newnewnew"}


def test_a_kill_at_any_file_operation_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_file(tmp_path / "f") as temporary:
            temporary.write_text("new")

    seen = set()
    for event_number in range(50):
        (tmp_path / "f").write_text("old")
        killed = run_and_die(write, event_number)
        seen.add((tmp_path / "f").read_text())
        if not killed:
            break
    assert event_number > 3
    assert seen == {"old", "new"}


def test_json_is_indented_utf8_and_refuses_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "f.json", {"b": "é", "a": 1})
    assert (tmp_path / "f.json").read_bytes() == '{\n  "b": "é",\n  "a": 1\n}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "f.json", float("nan"))
    assert json.loads((tmp_path / "f.json").read_text())["a"] == 1
