"""Extracted sources on disk, for the tests of the stages that read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bert.manifest import write_manifest
from bert.text.documents import Document, write_documents
from bert.text.extracted import Source, load_sources


def write_source(
    folder: Path, name: str, documents: Sequence[Document], names: Sequence[str] | None = None
) -> Path:
    """Writes what `extract` writes for a source, and returns its manifest."""
    home = folder / "extract" / name
    home.mkdir(parents=True)
    written = write_documents(home / "documents.txt", documents)
    lines = names or [f"{name}-{number}" for number in range(len(documents))]
    (home / "names.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    write_manifest(
        home / "manifest.json",
        stage="extract",
        config={},
        inputs={},
        counts={"documents": written.documents, "sentences": written.sentences},
        outputs=[home / "documents.txt", home / "names.txt"],
        statistics={"licence": "CC0-1.0"},
    )
    return home / "manifest.json"


def write_sources(folder: Path, sources: Mapping[str, Sequence[Document]]) -> list[Source]:
    """Writes several sources and loads them."""
    return load_sources([write_source(folder, name, docs) for name, docs in sources.items()])


def content(folder: Path) -> dict[str, bytes]:
    """Path in a folder to the bytes of the file, for all files."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
