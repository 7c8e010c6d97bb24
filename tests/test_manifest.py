import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bert import manifest
from bert.manifest import (
    ManifestError,
    atomic_directory,
    atomic_file,
    code_digest,
    git_commit,
    listed_files,
    read_manifest,
    sha256_file,
    sha256_json,
    versions,
    write_json,
    write_manifest,
)


class StopError(Exception):
    """Stands for any failure in the middle of writing."""


# Digests


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = b"x" * 3_000_000
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_sha256_of_plain_data_ignores_the_order_of_keys_and_nothing_else() -> None:
    known = hashlib.sha256('{"a":[1,"é"],"b":null}'.encode()).hexdigest()
    assert sha256_json({"b": None, "a": [1, "é"]}) == known
    assert sha256_json({"b": None, "a": ["é", 1]}) != known


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


# Manifests


def write(folder: Path, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "b.txt").write_text("bb")
    (folder / "a.txt").write_text("a")
    write_manifest(
        folder / "manifest.json",
        stage="fetch",
        config={"x": 1},
        inputs={"z": "2", "y": "1"},
        counts={"documents": 3},
        outputs=[folder / "b.txt", folder / "a.txt"],
        **more,
    )
    return folder / "manifest.json"


def test_a_manifest_lists_what_it_was_given_sorted(tmp_path: Path) -> None:
    receipt = read_manifest(write(tmp_path / "s", extra=[1]), stage="fetch")
    assert receipt["config"] == {"x": 1}
    assert list(receipt["inputs"]) == ["y", "z"]
    assert receipt["counts"] == {"documents": 3}
    assert list(receipt["outputs"]) == ["a.txt", "b.txt"]
    assert receipt["outputs"]["b.txt"] == {
        "sha256": hashlib.sha256(b"bb").hexdigest(),
        "bytes": 2,
    }
    assert receipt["extra"] == [1]
    assert receipt["code"] == code_digest("fetch")
    assert receipt["versions"]["python"] == sys.version.split()[0]


def test_equal_work_gives_an_equal_manifest_wherever_it_stands(tmp_path: Path) -> None:
    first, second = write(tmp_path / "here"), write(tmp_path / "there")
    assert first.read_bytes() == second.read_bytes()
    assert str(tmp_path) not in first.read_text()


def test_a_missing_output_leaves_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_manifest(
            tmp_path / "m.json",
            stage="fetch",
            config={},
            inputs={},
            counts={},
            outputs=[tmp_path / "nowhere"],
        )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_manifest_names_the_rule(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the rule `split` writes it"):
        read_manifest(tmp_path / "manifest.json", stage="split")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON"),
        (b"\xff\xfe\xfa", "is not JSON"),
        (b"[1]", "is not a manifest"),
        (b"{}", r"\(None, None, None\); expected \('bert-manifest', 1, 'fetch'\)"),
        (b'{"format": "bert-manifest", "version": 2, "stage": "fetch"}', "2, 'fetch'"),
        (b'{"format": "bert-manifest", "version": 1, "stage": "split"}', "1, 'split'"),
    ],
)
def test_another_file_is_not_taken_for_a_manifest(
    tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(tmp_path / "m.json", stage="fetch")


def test_listed_files_exist_and_have_their_size(tmp_path: Path) -> None:
    path = write(tmp_path / "s")
    assert listed_files(path, stage="fetch") == [
        (tmp_path / "s" / "a.txt", hashlib.sha256(b"a").hexdigest()),
        (tmp_path / "s" / "b.txt", hashlib.sha256(b"bb").hexdigest()),
    ]
    (tmp_path / "s" / "b.txt").write_text("bbb")
    with pytest.raises(ManifestError, match=r"has 3 bytes; .* states 2"):
        listed_files(path, stage="fetch")
    (tmp_path / "s" / "b.txt").unlink()
    with pytest.raises(ManifestError, match=r"has no bytes; .* states 2"):
        listed_files(path, stage="fetch")


def test_versions_name_the_libraries_that_make_numbers() -> None:
    assert {"python", "numpy", "tokenizers"} <= versions().keys()


def test_the_commit_is_that_of_the_repository_or_null(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "ROOT", tmp_path)
    assert git_commit.__wrapped__() is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "m"], check=True)
    commit = git_commit.__wrapped__()
    assert commit is not None
    assert len(commit) == 40


# Code digest: a small tree of its own, digested by the same function

SCRIPT = '''"""Runs the stage."""
from bert.text.books import read

def main() -> None:
    """Starts."""
    read()
'''
BOOKS = '''"""Books."""
from bert import config

def read() -> int:
    # a comment
    return config.VALUE + later()

def later() -> int:
    from bert.model.bert import VALUE
    return VALUE
'''


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {
        "scripts/stage.py": SCRIPT,
        "scripts/other.py": "import bert.other\n",
        "bert/__init__.py": '"""The package."""\n',
        "bert/config.py": "VALUE = 1\n",
        "bert/other.py": "VALUE = 1\n",
        "bert/text/__init__.py": "",
        "bert/text/books.py": BOOKS,
        "bert/model/__init__.py": "",
        "bert/model/bert.py": "VALUE = 2\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(manifest, "ROOT", tmp_path)
    return tmp_path


def digest(stage: str = "stage") -> str:
    return code_digest.__wrapped__(stage)


def replace(old: str, new: str) -> Callable[[str], str]:
    def edit(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return edit


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("scripts/stage.py", replace('"""Runs the stage."""', '"""Does."""')),
        ("scripts/stage.py", replace('    """Starts."""\n', "")),
        ("bert/text/books.py", replace("# a comment", "# another")),
        ("bert/text/books.py", replace("    return config", "\n\n    return  config")),
        ("bert/text/books.py", replace('"""Books."""\n', "")),
        ("bert/__init__.py", replace("The package", "Another")),
        ("bert/other.py", replace("1", "2")),
        ("scripts/other.py", replace("bert.other", "bert.config")),
    ],
)
def test_comments_docstrings_layout_and_foreign_modules_do_not_change_the_digest(
    tree: Path, file: str, edit: Callable[[str], str]
) -> None:
    before = digest()
    (tree / file).write_text(edit((tree / file).read_text()))
    assert digest() == before


@pytest.mark.parametrize(
    ("file", "edit"),
    [
        ("scripts/stage.py", replace("    read()", "    read(); read()")),
        ("bert/text/books.py", replace("+ later()", "- later()")),
        ("bert/config.py", replace("1", "2")),
        ("bert/model/bert.py", replace("2", "3")),
        ("bert/__init__.py", lambda text: text + "import os\n"),
        ("bert/text/__init__.py", lambda text: text + "VALUE = 1\n"),
    ],
)
def test_code_of_the_script_and_of_every_imported_module_changes_the_digest(
    tree: Path, file: str, edit: Callable[[str], str]
) -> None:
    before = digest()
    (tree / file).write_text(edit((tree / file).read_text()))
    assert digest() != before


def test_the_digest_follows_every_form_of_import(tree: Path) -> None:
    forms = ["import bert.other", "from bert import other", "from bert.other import VALUE"]
    for form in [*forms, "import bert.other as o", "def f():\n    import bert.other"]:
        (tree / "scripts" / "stage.py").write_text(form + "\n")
        (tree / "bert" / "other.py").write_text("VALUE = 1\n")
        before = digest()
        (tree / "bert" / "other.py").write_text("VALUE = 5\n")
        assert digest() != before, form


def test_the_digest_does_not_depend_on_the_place_of_the_tree_and_survives_import_circles(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "bert" / "config.py").write_text("import bert.text.books\nVALUE = 1\n")
    before = digest()
    moved = tree.parent / "moved"
    tree.rename(moved)
    monkeypatch.setattr(manifest, "ROOT", moved)
    assert digest() == before


def test_moving_code_from_one_module_to_another_changes_the_digest(tree: Path) -> None:
    before = digest()
    (tree / "bert" / "config.py").write_text("VALUE = 2\n")
    (tree / "bert" / "model" / "bert.py").write_text("VALUE = 1\n")
    assert digest() != before


def test_native_sources_beside_an_imported_module_change_the_digest(tree: Path) -> None:
    for package in ("model", "unused"):
        (tree / "bert" / package / "source").mkdir(parents=True)
        (tree / "bert" / package / "source" / "kernel.cpp").write_text("// one")
    before = digest()
    (tree / "bert" / "unused" / "source" / "kernel.cpp").write_text("// two")
    assert digest() == before
    (tree / "bert" / "model" / "source" / "kernel.cpp").write_text("// two")
    assert digest() != before
