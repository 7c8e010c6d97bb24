"""The digest of code: a small tree of its own, digested by the same function."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bert import manifest
from bert.manifest import (
    code_digest,
)

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
