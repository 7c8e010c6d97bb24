"""Receipts and whole files: manifests, digests, and writing so that nothing partial looks whole.

Manifest format, version 1 (JSON, one a stage folder):

| key        | meaning                                                                          |
|------------|----------------------------------------------------------------------------------|
| format     | "bert-manifest"                                                                  |
| version    | 1                                                                                |
| stage      | name of the stage that wrote it                                                  |
| config     | the resolved section the stage read                                              |
| code       | digest of the script and the `bert` modules it imports, see `code_digest`        |
| git_commit | commit of the repository, or null outside one                                    |
| versions   | Python and library versions                                                      |
| inputs     | name -> sha256 of each input                                                     |
| counts     | name -> number (documents, sentences, instances, skipped items, ...)             |
| outputs    | path relative to the manifest's folder -> {"sha256", "bytes"}                    |

It holds no clock reading, host name or absolute path, so equal work gives an equal manifest.
"""

import ast
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_LIBRARIES = (
    "charset-normalizer",
    "h5py",
    "numpy",
    "rensa",
    "safetensors",
    "tokenizers",
    "torch",
    "blingfire",
    "mwparserfromhell",
)


class ManifestError(ValueError):
    """A manifest that is missing a key, of another version, or of another stage."""


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, read in 1 MiB pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex sha256 of plain data in canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def fsync_directory(path: Path) -> None:
    """Makes a rename inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it is fsynced and renamed to `path`.

    On an exception the temporary file is removed and `path` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        _fsync_file(temporary)
        temporary.replace(path)
        fsync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder beside `path`; on success it takes the place of `path`.

    Every file in it is fsynced before the rename. An existing `path` is moved away whole before
    it is deleted: a kill while it is being deleted must not leave half of it under its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, replaced = path.with_name(f".{path.name}.tmp"), path.with_name(f".{path.name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.rmtree(replaced, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(p for p in temporary.rglob("*") if p.is_file()):
            _fsync_file(file)
        for folder in [*(p for p in temporary.rglob("*") if p.is_dir()), temporary]:
            fsync_directory(folder)
        if path.exists():
            path.rename(replaced)
        temporary.rename(path)
        fsync_directory(path.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_json(path: Path, value: Any) -> None:
    """Writes plain data as indented JSON, whole or not at all."""
    with atomic_file(path) as temporary:
        text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", "utf-8")


def write_manifest(
    path: Path,
    *,
    stage: str,
    config: Any,
    inputs: Mapping[str, str],
    counts: Mapping[str, float],
    outputs: Iterable[Path],
    **more: Any,
) -> None:
    """Writes the receipt of a stage; see the module's table. `more` adds stage-specific keys.

    Args:
        path: The manifest file; output names are relative to its folder.
        stage: Name of the stage, which is also the name of its script.
        config: The resolved section as plain data.
        inputs: Name to sha256.
        counts: Name to number.
        outputs: Files to list with digest and size.
        more: Further keys, plain data.
    """
    listed = {
        os.path.relpath(file, path.parent): {
            "sha256": sha256_file(file),
            "bytes": file.stat().st_size,
        }
        for file in sorted(outputs)
    }
    receipt = {
        "format": "bert-manifest",
        "version": 1,
        "stage": stage,
        "config": config,
        "code": code_digest(stage),
        "git_commit": git_commit(),
        "versions": versions(),
        "inputs": dict(sorted(inputs.items())),
        "counts": dict(counts),
        "outputs": listed,
    }
    write_json(path, receipt | more)


def read_manifest(path: Path, *, stage: str) -> dict[str, Any]:
    """Reads and checks the receipt of a stage.

    Raises:
        FileNotFoundError: No manifest; names the rule that makes it.
        ManifestError: Not a manifest of this format, version and stage.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing; the rule `{stage}` writes it.")
    try:
        receipt: dict[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise ManifestError(f"{path} is not JSON ({error}); delete it and run again.") from None
    if not isinstance(receipt, dict):
        raise ManifestError(f"{path} is not a manifest; delete it and run again.")
    found = receipt.get("format"), receipt.get("version"), receipt.get("stage")
    if found != ("bert-manifest", 1, stage):
        raise ManifestError(
            f"{path} is {found}; expected ('bert-manifest', 1, '{stage}'). "
            f"Delete it and run the rule `{stage}` again."
        )
    return receipt


def listed_files(path: Path, *, stage: str) -> list[tuple[Path, str]]:
    """The files that a manifest lists, with their sha256; refuses a missing or resized one.

    Raises:
        ManifestError: A listed file is missing or of another size.
    """
    files = []
    for name, entry in read_manifest(path, stage=stage)["outputs"].items():
        file = path.parent / name
        found = file.stat().st_size if file.exists() else None
        if found != entry["bytes"]:
            raise ManifestError(
                f"{file} has {found if found is not None else 'no'} bytes; {path} states "
                f"{entry['bytes']}. Delete the manifest and run the rule `{stage}` again."
            )
        files.append((file, str(entry["sha256"])))
    return files


@cache
def git_commit() -> str | None:
    """Commit of the repository this code stands in; None outside a repository."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change an output."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def code_digest(stage: str) -> str:
    """Digest of `scripts/<stage>.py` and of every `bert` module that it imports, at any depth.

    Comments, formatting and docstrings do not count: the digest is taken of the syntax trees
    without docstrings. C++ sources count as they are. Snakemake sees only the text of a rule; this
    is what makes an edit of an imported module rerun the stages that use it, and no other.
    """
    script = ROOT / "scripts" / f"{stage}.py"
    seen: dict[str, str] = {}
    queue = [script]
    while queue:
        file = queue.pop()
        name = file.relative_to(ROOT).as_posix()
        if name in seen:
            continue
        tree = ast.parse(file.read_text("utf-8"))
        queue += _imported_files(tree)
        seen[name] = hashlib.sha256(ast.dump(_without_docstrings(tree)).encode()).hexdigest()
    return sha256_json([sys.version_info[:2], seen, _native_sources(list(seen))])


def _imported_files(tree: ast.AST) -> list[Path]:
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    parts = [name.split(".") for name in names if name.split(".")[0] == "bert"]
    # Importing bert.text.books also runs bert/__init__.py and bert/text/__init__.py.
    modules = {ROOT.joinpath(*part[:depth]) for part in parts for depth in range(1, len(part) + 1)}
    files = [f for m in sorted(modules) for f in (m.with_suffix(".py"), m / "__init__.py")]
    return [file for file in files if file.exists()]


def _native_sources(modules: Iterable[str]) -> dict[str, str]:
    """Digests of the C++ sources that lie in folders beside the modules, comments included."""
    packages = {(ROOT / name).parent for name in modules}
    files = [file for package in packages for file in package.glob("source/*") if file.is_file()]
    return {f.relative_to(ROOT).as_posix(): sha256_file(f) for f in sorted(files)}


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if (
            isinstance(first, ast.Expr)
            and isinstance(first.value, ast.Constant)
            and isinstance(first.value.value, str)
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return tree
