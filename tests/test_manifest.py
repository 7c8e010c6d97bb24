"""Digests and manifests."""

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bert import manifest
from bert.manifest import (
    ManifestError,
    code_digest,
    git_commit,
    listed_files,
    read_manifest,
    sha256_file,
    sha256_json,
    versions,
    write_manifest,
)

# Digests


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = b"x" * 3_000_000
    (tmp_path / "f").write_bytes(data)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(data).hexdigest()


def test_sha256_of_plain_data_ignores_the_order_of_keys_and_nothing_else() -> None:
    known = hashlib.sha256('{"a":[1,"é"],"b":null}'.encode()).hexdigest()
    assert sha256_json({"b": None, "a": [1, "é"]}) == known
    assert sha256_json({"b": None, "a": ["é", 1]}) != known


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
